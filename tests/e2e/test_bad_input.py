"""What is no film ends quickly, with a reason, and leaves neither a trace nor a process."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread

import psutil
import pytest
from PIL import Image

from farm import running
from farm.client import Video
from farm.errors import RefusedError
from media.binaries import Tools
from tests.e2e.farm_process import Farm, eventually
from tests.e2e.playlists import multivariant

#: Seconds within which each is over, on a machine with other things to do.
SOON = 15.0

Ffmpeg = Callable[..., Path]


@pytest.fixture
def ffmpeg(tools: Tools, tmp_path: Path) -> Ffmpeg:
    """Makes a file of one second: ``ffmpeg("a.mp4", *inputs_and_options)``."""

    def make(name: str, *arguments: str) -> Path:
        path = tmp_path / name
        subprocess.run((tools.ffmpeg, "-v", "error", "-y", *arguments, path), check=True)
        return path

    return make


@pytest.fixture(autouse=True)
def nothing_left(farm: Farm) -> Iterator[None]:
    """No exception in any log, no media process, nothing on its way."""
    before = farm.log.stat().st_size
    yield
    with farm.log.open("rb") as log:
        log.seek(before)
        said = log.read().decode(errors="replace")
    complaints = [line for line in said.splitlines() if _complains(line)]
    assert not complaints, "\n".join(complaints)
    eventually(lambda: not media_processes(farm), 2.0, lambda: media_processes(farm))


def _complains(line: str) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return bool(line.strip())
    return "exception" in entry or "Traceback" in line


def media_processes(farm: Farm) -> list[str]:
    """The ffmpegs and ffprobes of the farm."""
    note = running.find(farm.log.parent / "data")
    assert note is not None
    names = []
    for child in psutil.Process(note.pid).children(recursive=True):
        try:
            names.append(child.name())
        except psutil.NoSuchProcess:
            continue
    return [name for name in names if name.startswith("ff")]


def outcome(farm: Farm, file: Path) -> Video:
    """What became of the file, which did not take long."""
    began = time.monotonic()
    video = farm.ended(farm.client.upload(file)["id"])
    assert time.monotonic() - began < SOON
    return video


def assert_errored(video: Video, *codes: str) -> None:
    """It says what happened and what to do, to somebody who knows nothing of the farm's inside."""
    assert video["status"] == "errored"
    error = video["error"]
    assert error["code"] in codes
    assert len(error["message"]) > 10
    assert len(error["hint"]) > 10
    assert "http://" not in error["message"], "the storage's address is nobody's business"
    assert "0x" not in error["message"], "ffmpeg's own words belong in the log"
    assert not video["playable"]


def test_a_text_file(farm: Farm, tmp_path: Path) -> None:
    file = tmp_path / "film.mp4"
    file.write_text("This is no film.\n" * 1000)
    assert_errored(outcome(farm, file), "unsupported_media")


def test_random_bytes(farm: Farm, tmp_path: Path) -> None:
    file = tmp_path / "film.mkv"
    file.write_bytes(bytes(order * 7919 % 251 for order in range(200_000)))
    assert_errored(outcome(farm, file), "unsupported_media")


def test_an_empty_file_is_refused_at_once(farm: Farm, tmp_path: Path) -> None:
    file = tmp_path / "film.mp4"
    file.touch()
    with pytest.raises(RefusedError) as refused:
        farm.client.upload(file)
    assert refused.value.code == "empty_upload"


def test_an_mp4_cut_off_before_its_index(farm: Farm, ffmpeg: Ffmpeg) -> None:
    whole = ffmpeg("whole.mp4", *_film(3))
    cut = whole.with_name("cut.mp4")
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert b"moov" not in cut.read_bytes()
    assert_errored(outcome(farm, cut), "unsupported_media")


@pytest.mark.parametrize("seconds", [3, 6])
def test_an_mp4_cut_off_after_its_index_is_saved_as_far_as_it_goes(
    farm: Farm, tools: Tools, ffmpeg: Ffmpeg, seconds: int
) -> None:
    """The break lies in the last chunk of the short film, and before that of the long one."""
    whole = ffmpeg("whole.mp4", *_film(seconds), "-movflags", "+faststart")
    cut = whole.with_name("cut.mp4")
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    video = outcome(farm, cut)
    assert video["status"] == "ready", video["error"]
    assert seconds / 4 < _decoded_seconds(farm, tools, video) < seconds * 3 / 4 + 0.5
    assert {warning["code"] for warning in video["warnings"]} == {"cut_short"}


def test_sound_alone_becomes_sound(farm: Farm, tools: Tools, ffmpeg: Ffmpeg) -> None:
    file = ffmpeg("sound.m4a", "-f", "lavfi", "-i", "sine=duration=5", "-c:a", "aac")
    video = outcome(farm, file)
    assert video["status"] == "ready", video["error"]
    assert [(r["name"], r["codec"], r["width"]) for r in video["renditions"]] == [
        ("audio-0", "aac", None)
    ]
    assert video["playback"]["poster"] is None
    assert _decoded_seconds(farm, tools, video) == pytest.approx(5.0, abs=0.05)


def test_a_picture_of_one_pixel(farm: Farm, ffmpeg: Ffmpeg) -> None:
    one = ("-f", "lavfi", "-i", "color=size=1x1:duration=1:rate=25", "-c:v", "ffv1")
    assert_errored(outcome(farm, ffmpeg("dot.mkv", *one)), "unsupported_media")


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif"])
def test_a_picture_is_no_film(farm: Farm, tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"film.{kind}"
    Image.new("RGB", (640, 360), "teal").save(file)
    assert_errored(outcome(farm, file), "unsupported_media")


@dataclass
class Canary:
    """A port on which nobody has any business."""

    port: int
    visits: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/secret.ts"


@contextmanager
def canary() -> Iterator[Canary]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Canary(server.getsockname()[1])

        def watch() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(1.0)
                    found.visits.append(connection.recv(1000))

        watcher = Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield found
        finally:
            server.shutdown(socket.SHUT_RDWR)
            watcher.join(2.0)


_PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{target}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {target}\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT5S"><Period><AdaptationSet mimeType="video/mp4">'
    '<Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n"
    "m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:{target}\n",
}


@pytest.mark.parametrize("disguise", ["mp4", "ts"])
@pytest.mark.parametrize("kind", sorted(_PLAYLISTS))
def test_a_playlist_in_disguise_reaches_nothing(
    farm: Farm, tmp_path: Path, kind: str, disguise: str
) -> None:
    secret = tmp_path / "secret.ts"
    with canary() as bird:
        for target in (bird.url, "file:///etc/passwd", str(secret)):
            file = tmp_path / f"film.{disguise}"
            file.write_text(_PLAYLISTS[kind].format(target=target, port=bird.port))
            assert_errored(outcome(farm, file), "unsupported_media")
    assert not bird.visits


def test_the_canary_sings() -> None:
    with canary() as bird, socket.create_connection(("127.0.0.1", bird.port)) as visitor:
        visitor.sendall(b"GET /")
        eventually(lambda: bird.visits, 2.0)


def _film(seconds: int) -> tuple[str, ...]:
    picture = f"testsrc2=size=320x180:rate=25:duration={seconds}"
    sound = f"sine=duration={seconds}"
    codecs = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-c:a", "aac")
    return ("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *codecs)


def _decoded_seconds(farm: Farm, tools: Tools, video: Video) -> float:
    """Seconds that ffmpeg plays of the default variant, without a complaint."""
    hls = video["playback"]["hls"]
    variant = multivariant(hls, farm.client.fetch(hls).text).variants[0].url
    arguments = ("-v", "error", "-xerror", "-i", variant, "-progress", "-", "-f", "null", "-")
    done = subprocess.run((tools.ffmpeg, *arguments), capture_output=True, text=True, check=True)
    assert not done.stderr
    times = [line for line in done.stdout.splitlines() if line.startswith("out_time_us=")]
    return int(times[-1].removeprefix("out_time_us=")) / 1e6

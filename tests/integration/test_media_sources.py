"""Sources that break, lie, redirect or want to read other files, over real connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from media.binaries import Tools
from media.command import Command
from media.errors import (
    DeadlineExceededError,
    FfmpegFailedError,
    NotMediaError,
    SourceUnreadableError,
    StalledError,
)
from media.probe import probe
from media.probed import Probe
from media.process import Finished, run
from media.safety import input_options
from storage.objects import ObjectStore
from tests.range_server import RangeServer, serve

MakeClip = Callable[..., Path]


@pytest.fixture(scope="module")
def films(make_clip: MakeClip) -> Path:
    """The folder of a noisy film, large enough to break anywhere, in several containers."""
    noise = {"seconds": 6, "filters": "noise=alls=90:allf=t", "video": ("-g", "25", "-b:v", "3M")}
    path = make_clip("film.mp4", output=("-movflags", "+faststart"), **noise)
    for name in ("film.ts", "film.mkv"):
        make_clip(name, **noise)
    return path.parent


@pytest.fixture
def server(films: Path) -> Iterator[RangeServer]:
    with serve(films) as running:
        yield running


def copy(tools: Tools, url: str, **limits: float) -> Finished:
    """Read the whole source."""
    read_timeout = limits.pop("read_timeout", 15.0)
    options = input_options(url, read_timeout=read_timeout)
    arguments = (*options, "-i", url, "-c", "copy", "-f", "framecrc", "sink:frames")
    return run(tools, Command(arguments, 25.0), sinks={"frames": len}, **limits)


@pytest.mark.parametrize("name", ["film.mp4", "film.ts", "film.mkv"])
def test_connection_cut_half_way_is_no_success(
    tools: Tools, server: RangeServer, films: Path, name: str
) -> None:
    server.behaviour.cut_at = (films / name).stat().st_size // 2
    with pytest.raises(SourceUnreadableError, match=r"broke off|could not be read") as caught:
        copy(tools, server.url(name))
    assert caught.value.transient
    assert caught.value.evidence.exit_code == 0
    assert not any("s3cr3t" in line for line in caught.value.evidence.stderr)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("name", ["film.mp4", "film.ts", "film.mkv"])
def test_connection_cut_once_is_mended(
    tools: Tools, server: RangeServer, films: Path, name: str
) -> None:
    server.behaviour.cut_at = (films / name).stat().st_size // 2
    server.behaviour.cuts = 1
    assert copy(tools, server.url(name)).exit_code == 0
    assert server.behaviour.cuts == 0


def test_file_cut_before_the_upload_is_damaged_not_unreadable(
    tools: Tools, server: RangeServer, films: Path
) -> None:
    whole = (films / "film.mp4").read_bytes()
    (films / "half.mp4").write_bytes(whole[: len(whole) // 2])
    assert copy(tools, server.url("half.mp4")).exit_code == 0


def test_header_cut_before_the_upload_is_damaged_not_unreadable(
    tools: Tools, server: RangeServer, films: Path
) -> None:
    """Matroska calls that an I/O error."""
    (films / "header.mkv").write_bytes((films / "film.mkv").read_bytes()[:400])
    with pytest.raises(NotMediaError):
        probe(tools, server.url("header.mkv"))
    with pytest.raises(FfmpegFailedError):
        copy(tools, server.url("header.mkv"))


def test_server_that_stops_answering(tools: Tools, server: RangeServer) -> None:
    server.behaviour.hang_at = 1_000_000
    with pytest.raises(SourceUnreadableError):
        copy(tools, server.url("film.mp4"), read_timeout=0.3, stall=20)
    with pytest.raises(StalledError):
        copy(tools, server.url("film.mp4"), stall=0.7)


@pytest.mark.parametrize("status", [403, 404, 503])
def test_status(tools: Tools, server: RangeServer, status: int) -> None:
    server.behaviour.status = status
    with pytest.raises(SourceUnreadableError, match=str(status)) as caught:
        copy(tools, server.url("film.mp4"))
    assert caught.value.status == status
    with pytest.raises(SourceUnreadableError) as caught:
        probe(tools, server.url("film.mp4"))
    assert caught.value.status == status


def test_nobody_listens(tools: Tools, films: Path) -> None:
    with serve(films) as server:
        url = server.url("film.mp4")
    with pytest.raises(SourceUnreadableError, match="refused"):
        copy(tools, url)
    with pytest.raises(SourceUnreadableError, match="refused"):
        probe(tools, url)


def test_redirects_are_not_followed(tools: Tools, server: RangeServer, films: Path) -> None:
    with serve(films) as elsewhere:
        server.behaviour.redirect = elsewhere.url("film.mp4")
        for attempt in (copy, probe):
            with pytest.raises(SourceUnreadableError):
                attempt(tools, server.url("film.mp4"))
        assert elsewhere.behaviour.requests == []


def test_probe_of_a_cut_connection(tools: Tools, server: RangeServer) -> None:
    server.behaviour.cut_at = 20_000
    with pytest.raises(SourceUnreadableError):
        probe(tools, server.url("film.ts"))


def test_probe_has_a_deadline(tools: Tools, server: RangeServer) -> None:
    server.behaviour.hang_at = 1000
    with pytest.raises(DeadlineExceededError):
        probe(tools, server.url("film.ts"), deadline=0.8)


@pytest.mark.parametrize("name", ["film.mp4", "film.ts", "film.mkv"])
def test_presigned_url_of_the_real_storage(
    tools: Tools, films: Path, object_store: ObjectStore, name: str
) -> None:
    object_store.put_file(name, films / name)
    url = object_store.presign(name, 60)
    assert_same(probe(tools, url), probe(tools, str(films / name)))
    seek = ("-ss", "4", *input_options(url), "-i", url, "-c", "copy", "-f", "framecrc", "sink:x")
    assert run(tools, Command(seek, 25.0), sinks={"x": len}).exit_code == 0
    assert copy(tools, url).exit_code == 0


def assert_same(left: Probe, right: Probe) -> None:
    assert left.model_dump() == right.model_dump()


#: A picture of one pixel, which image demuxers take for a film of one frame.
PICTURE = "P6\n1 1\n255\nabc"

DISGUISES = {
    "picture": PICTURE,
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}\n#EXT-X-ENDLIST\n",
    "hls-file": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{path}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {path}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>',
    "subtitles": "1\n00:00:00,000 --> 00:00:09,000\nhello\n\n",
    "text": "This is not a film.\n" * 50,
    "empty": "",
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_no_playlist_in_disguise(tools: Tools, films: Path, tmp_path: Path, disguise: str) -> None:
    with serve(films) as other, serve(tmp_path) as server:
        text = DISGUISES[disguise].format(url=other.url("film.ts"), path=films / "film.ts")
        for name in ("source", "film.m3u8"):
            (tmp_path / name).write_text(text)
            with pytest.raises(NotMediaError):
                probe(tools, server.url(name))
            with pytest.raises(FfmpegFailedError):
                copy(tools, server.url(name))
        assert other.behaviour.requests == []

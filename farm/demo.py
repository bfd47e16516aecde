"""``reelfarm demo``: a farm of its own, one film, a check of what came out, and nothing left.

The farm is the one that ``reelfarm up`` starts, in a process of its own; the demo is its user.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from autoscaler.processes import ChildProcess
from farm import describe, running, watch
from farm.client import Client, Video, size_of
from farm.clip import make_clip
from farm.display import Display, bytes_text
from farm.errors import FarmError, StartError
from farm.readback import CheckFailedError, Findings, read_back
from farm.settings import Settings, environment, replaced
from media.binaries import Tools, find_tools
from media.errors import MediaError

#: Seconds for the farm to come up and to stop, on a slow machine.
_START: Final = 120.0
_STOP: Final = 40.0
_GLANCE: Final = 0.1
#: Lines of its log that are shown when the farm does not come up.
_LOG_LINES: Final = 20

#: What a farm of the demo's own has, whatever the settings of the real one.
_OWN: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("s3_endpoint", "s3_ca_file", "redis_url", "public_url", "api_token")),
    "s3_aws": False,
    "s3_prefix": "",
    "host": "127.0.0.1",
    "port": 0,
    "log_format": "json",
}


def run_demo(settings: Settings, file: Path | None, display: Display) -> bool:
    """Whether the film became what it should. Raises :class:`farm.errors.FarmError`."""
    if file is not None:
        size_of(file)
    began = time.monotonic()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log = _fresh_log(settings.data_dir / "logs" / "demo.log")
    with tempfile.TemporaryDirectory(prefix="demo-", dir=settings.data_dir) as directory:
        place = Path(directory)
        own = replaced(settings, **_OWN, data_dir=place)
        try:
            tools = find_tools(settings.ffmpeg, settings.ffprobe)
            film = file or _made(tools, place / "demo.mp4", display)
            good = _play(own, log, tools, film, display)
        except MediaError as error:
            raise FarmError(str(error)) from error
    display.say(
        f"Everything is stopped and removed again; {time.monotonic() - began:.0f} s in all."
    )
    return good


def _fresh_log(log: Path) -> Path:
    try:
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        log.unlink(missing_ok=True)
    except OSError as error:
        raise StartError(
            f"{log} cannot be written: {error.strerror}.\n"
            "Check the directory's permissions, or set REELFARM_DATA_DIR to another one."
        ) from error
    return log


def _made(tools: Tools, path: Path, display: Display) -> Path:
    display.say("Making a film with picture and sound …")
    make_clip(tools, path)
    return path


def _play(settings: Settings, log: Path, tools: Tools, film: Path, display: Display) -> bool:
    display.say("Starting a farm: storage, queue, API, workers …")
    with _farm(settings, log, display) as url, Client(url) as client:
        video = watch.upload(client, film, display)
        (video,) = watch.encode(client, [video["id"]], display)
        findings, fault = None, None
        if video["status"] == "ready":
            display.say("Reading it back over HTTP, and decoding it …")
            findings, fault = _checked(client, tools, video)
        _report(display, video, findings, fault)
    return findings is not None


def _checked(client: Client, tools: Tools, video: Video) -> tuple[Findings | None, str | None]:
    try:
        return read_back(client, tools, video), None
    except (CheckFailedError, FarmError) as error:
        return None, str(error)


def _report(display: Display, video: Video, findings: Findings | None, fault: str | None) -> None:
    if display.as_json:
        checked: dict[str, Any] | None = asdict(findings) if findings else None
        display.document({"video": video, "checked": checked, "fault": fault})
        return
    for name, text in describe.facts(video):
        display.line(f"{name:<10} {text}")
    if video["renditions"]:
        display.table(describe.RENDITION_COLUMNS, describe.rendition_rows(video))
    if findings is not None:
        display.line(
            f"checked    {findings.playlists} playlists and the manifest name {findings.objects} "
            f"objects, {bytes_text(findings.size)}; all are there. HLS decodes to "
            f"{findings.hls_length:.2f} s, DASH to {findings.dash_length:.2f} s.",
            "green",
        )
    if fault is not None:
        display.complain(f"What was published is not right: {fault}")


@contextmanager
def _farm(settings: Settings, log: Path, display: Display) -> Iterator[str]:
    """The address of a farm that runs for as long as the block."""
    argv = (sys.executable, "-P", "-m", "farm", "up", "--tied", "--json")
    child = ChildProcess(argv, environment(settings), log)
    try:
        yield _address(settings.data_dir, child, log)
    finally:
        _stop(child, display)


def _address(data_dir: Path, child: ChildProcess, log: Path) -> str:
    def settled() -> bool:
        return child.exit_code() is not None or running.find(data_dir) is not None

    _await(settled, _START)
    found = running.find(data_dir)
    if found is None:
        last = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        raise StartError(f"The farm did not come up. The end of {log}:\n" + "\n".join(last))
    return found.url


def _stop(child: ChildProcess, display: Display) -> None:
    child.drain()
    child.release()
    if not _await(lambda: child.exit_code() is not None, _STOP):
        display.complain("The farm did not stop by itself and was killed.")
        child.kill()
    child.close()


def _await(holds: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_GLANCE)
    return True

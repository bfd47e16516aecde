"""What a soak has to answer for beside its films: strays, errors nobody caused, and extra work."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

import psutil

from storage import layout
from tests.chaos.rig import Rig

#: Ends of tracebacks that an outage accounts for: storage, Redis, or a signal.
_OUTAGE: Final = re.compile(
    r"^(storage\.errors\.(UnavailableError|NotFoundError)|redis\.exceptions\.\w+"
    r"|jobs\.send\.QueueUnavailableError|pipeline\.errors\.SupersededError"
    r"|media\.errors\.(CanceledError|SinkFailedError|SourceUnreadableError))\b"
)
#: Lines that say of a fault that it was noticed, and not that anything went wrong.
_EXPECTED: Final = frozenset(
    {"process_died", "redis_unreachable", "part_failed", "lease_lapsed", "sweep_delayed"}
)
#: What storage's error says of a call that an outage made vain.
_RETRIED: Final = "retries are used up"
_MODULES: Final = ("farm.worker_process", "farm.api_process")


def unknown_videos(rig: Rig, known: Collection[str]) -> list[str]:
    """Videos that were accepted, and that no client was told of: uploads taken twice."""
    keys = [info.key for info in rig.farm.store.list(layout.VIDEOS)]
    ids = {key.split("/")[1] for key in keys if key.endswith("/video.json")}
    return [f"{video_id} is nobody's" for video_id in sorted(ids - set(known))]


def orphans(rig: Rig) -> list[str]:
    """Processes of this farm that its supervisor does not know."""
    mine = {process.pid for process in psutil.Process(rig.pid).children()}
    found = []
    for process in psutil.process_iter(("pid", "cmdline")):
        module = next((m for m in _MODULES if m in (process.info["cmdline"] or ())), None)
        if module and process.pid not in mine and _data_dir(process) == str(rig.settings.data_dir):
            found.append(f"process: {process.pid} {module}, without a supervisor")
    return found


def unexplained(log: Path) -> list[str]:
    """Lines of the farm's log that tell of an error for which no fault accounts, once each."""
    found: Counter[str] = Counter()
    for line in _lines(log):
        story = _story(line)
        if story:
            found[story] += 1
    return [f"{count} times: {story}" for story, count in found.items()]


def extra_work(rig: Rig, kept: Collection[str]) -> tuple[float, float]:
    """Percent of segment bytes, and of runs of parts, beyond those that count.

    Bytes are those that were stored, over those that are published now. Runs are those that began,
    over the receipts and plans that there are. Films that were canceled or deleted are left out.
    """
    needed = {
        info.key: info.size
        for video_id in kept
        for info in rig.farm.store.list(layout.play(video_id))
        if info.key.endswith(".m4s")
    }
    written = sum(
        size
        for key, (_, size) in rig.proxy.written(r"/play/.*\.m4s$").items()
        if key.split("/")[1] in kept
    )
    receipts = sum(
        key.endswith(".00000.json") or "/plan/" in key
        for video_id in kept
        for key in (info.key for info in rig.farm.store.list(layout.video(video_id)))
    )
    begun = sum(
        line.get("event") == "part_started" and line.get("video_id") in kept
        for line in _lines(rig.farm.log)
    )
    return _beyond(written, sum(needed.values())), _beyond(begun, receipts)


def _beyond(spent: float, needed: float) -> float:
    return 100.0 * (spent / needed - 1.0) if needed else 0.0


def _data_dir(process: psutil.Process) -> str:
    try:
        return str(process.environ().get("REELFARM_DATA_DIR", ""))
    except psutil.Error:
        return ""


def _lines(log: Path) -> Iterator[dict[str, Any]]:
    """The log's lines; one that is no JSON as the event ``raw``."""
    for line in log.read_text(errors="replace").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            yield {"event": "raw", "level": "error", "message": line}


def _story(line: dict[str, Any]) -> str:
    """Why a line is not accounted for; empty where it is."""
    exception = str(line.get("exception", ""))
    if exception:
        last = [text for text in exception.splitlines() if text and not text.startswith(" ")][-1]
        return "" if _OUTAGE.match(last) else f"{line['event']}: {last}"[:600]
    if line.get("level") not in ("error", "critical") or line["event"] in _EXPECTED:
        return ""
    if _RETRIED in str(line.get("error", line.get("message"))):
        return ""
    about = {k: v for k, v in line.items() if k not in ("timestamp", "run", "request_id")}
    return json.dumps(about)[:600]

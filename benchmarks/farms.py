"""A farm to measure: the one ``reelfarm up`` starts, by itself, idle, on free ports."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import redis

from autoscaler.processes import ChildProcess
from benchmarks.usage import Usage, usage_below
from farm import connections, running
from farm.client import Client, Video
from farm.settings import Settings, environment, replaced
from jobs.workers import list_workers
from storage import layout
from storage.documents import load_document
from storage.objects import ObjectStore
from transcoder.plan import Plan
from transcoder.segments import Receipt

#: Seconds for a farm to come up and to go.
_START = 90.0
_STOP = 60.0
_GLANCE = 0.02
#: Seconds between two looks at a video: each costs the farm some milliseconds of processor time,
#: which are not the work's. When something happened is read in the record.
_LOOK = 1.0

#: What differs from the defaults, so that a measured farm and a user's do not meet.
_OWN: dict[str, Any] = {
    **dict.fromkeys(("s3_endpoint", "s3_ca_file", "redis_url", "public_url", "api_token", "url")),
    **dict.fromkeys(("s3_access_key", "s3_secret_key")),
    "s3_aws": False,
    "s3_prefix": "",
    "host": "127.0.0.1",
    "port": 0,
    "slots": 2,
    "head_slots": 1,
    "log_format": "json",
    "log_level": "info",
}


class BenchmarkError(Exception):
    """What was to be measured did not happen; the message says what did."""


@dataclass(frozen=True, slots=True)
class MeasuredFarm:
    """A running farm, from outside (``client``) and from below."""

    client: Client
    store: ObjectStore
    redis: redis.Redis
    settings: Settings
    pid: int
    log: Path

    def usage(self) -> Usage:
        """Seconds of processor time so far."""
        return usage_below(self.pid)

    def until(
        self, video_id: str, holds: Callable[[Video], object], timeout: float = 3600.0
    ) -> Video:
        """The video once ``holds``, seen up to a second late; see :func:`moment`.

        Raises :class:`BenchmarkError` if it ends otherwise.
        """
        deadline = time.monotonic() + timeout
        while True:
            video = self.client.video(video_id)
            if holds(video):
                return video
            if video["status"] in ("errored", "canceled"):
                raise BenchmarkError(f"{video_id} ended as {video['status']}: {video['error']}")
            if time.monotonic() > deadline:
                raise BenchmarkError(f"{video_id} was not done within {timeout:g} s: {video}")
            time.sleep(_LOOK)

    def ready(self, video_id: str, timeout: float = 3600.0) -> Video:
        """The video once it is ready."""
        return self.until(video_id, lambda video: video["status"] == "ready", timeout)

    def playable(self, video_id: str, timeout: float = 600.0) -> Video:
        """The video once it is playable."""
        return self.until(video_id, lambda video: video["playable"], timeout)

    def plan(self, video_id: str) -> Plan:
        """The plan of the first generation."""
        return Plan.model_validate(load_document(self.store, layout.plan(video_id, 1))[0])

    def receipts(self, video_id: str) -> list[Receipt]:
        """The receipts of the first generation."""
        keys = [info.key for info in self.store.list(layout.receipts(video_id, 1))]
        return [Receipt.model_validate(load_document(self.store, key)[0]) for key in keys]

    def events(self, name: str, video_id: str | None = None) -> list[dict[str, Any]]:
        """Lines of the farm's log with that event."""
        lines = self.log.read_text(errors="replace").splitlines()
        found = [json.loads(line) for line in lines if f'"{name}"' in line and line[:1] == "{"]
        return [
            line
            for line in found
            if line.get("event") == name and video_id in (None, line.get("video_id"))
        ]


def moment(video: Video, what: str) -> float:
    """When that was, of a field such as ``ready_at``, in seconds of :func:`time.time`."""
    return datetime.fromisoformat(video[what]).timestamp()


@contextmanager
def measured_farm(directory: Path, **options: Any) -> Iterator[MeasuredFarm]:
    """A farm on a data directory of its own; ``options`` are settings. Ready and idle."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = replaced(Settings(), **(_OWN | options), data_dir=directory / "data")
    log = directory / "farm.log"
    argv = (sys.executable, "-P", "-m", "farm", "up", "--tied", "--json")
    child = ChildProcess(argv, environment(settings), log)
    try:
        found = _found(settings.data_dir, child, log)
        joined = replaced(settings, **found.settings)
        with (
            Client(found.url) as client,
            closing(connections.object_store(joined)) as store,
            closing(connections.redis_client(joined)) as live,
        ):
            if settings.min_slots:
                _await(lambda: list_workers(live, joined.namespace), _START, log)
            yield MeasuredFarm(client, store, live, joined, found.pid, log)
    finally:
        _stop(child)


def _found(data_dir: Path, child: ChildProcess, log: Path) -> running.RunningFarm:
    _await(lambda: child.exit_code() is not None or running.find(data_dir), _START, log)
    found = running.find(data_dir)
    if found is None:
        raise BenchmarkError(f"the farm did not come up:\n{log.read_text()[-4000:]}")
    return found


def _await(holds: Callable[[], object], timeout: float, log: Path) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            raise BenchmarkError(f"the farm took over {timeout:g} s:\n{log.read_text()[-4000:]}")
        time.sleep(_GLANCE)


def _stop(child: ChildProcess) -> None:
    child.drain()
    child.release()
    deadline = time.monotonic() + _STOP
    while child.exit_code() is None and time.monotonic() < deadline:
        time.sleep(_GLANCE)
    child.kill()
    child.close()

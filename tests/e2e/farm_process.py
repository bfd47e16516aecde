"""A farm as its users run it: ``reelfarm up`` in a process of its own, on free ports."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from autoscaler.processes import ChildProcess
from catalog.videos import Catalog
from farm import connections, running
from farm.client import Client, Video
from farm.settings import Settings, environment, replaced
from jobs.keys import Keys
from jobs.records import VideoRecord
from jobs.workers import list_workers
from storage import layout
from storage.documents import load_document
from storage.objects import ObjectStore
from transcoder.plan import Plan
from transcoder.segments import Receipt

PROFILE = Path(__file__).with_name("small.toml")

#: What differs from the defaults, so that farms of tests meet neither each other nor a user's.
OWN: dict[str, Any] = {
    **dict.fromkeys(("s3_endpoint", "s3_ca_file", "redis_url", "public_url", "api_token", "url")),
    **dict.fromkeys(("ffmpeg", "ffprobe", "s3_access_key", "s3_secret_key")),
    "s3_aws": False,
    "s3_prefix": "",
    "host": "127.0.0.1",
    "port": 0,
    "slots": 2,
    "head_slots": 1,
    "log_format": "json",
    "log_level": "info",
    "drain_timeout": 20.0,
    "profile": PROFILE,
}

#: Seconds for the farm to come up and to go, and for a small clip to be done, on a busy machine.
START = 90.0
STOP = 45.0
READY = 90.0
#: Characters of a log that are shown of it.
_WORDS = 20_000


@dataclass(frozen=True, slots=True)
class Farm:
    """A running farm, from outside (``client``) and from below (``store``, ``redis``)."""

    client: Client
    store: ObjectStore
    redis: redis.Redis
    namespace: str
    log: Path

    def process(self, file: Path) -> Video:
        """Upload a file and wait until it is ready."""
        return self.ready(self.client.upload(file)["id"])

    def ready(self, video_id: str) -> Video:
        """The video once it is ready; fails where it becomes something else."""
        video = self.ended(video_id)
        assert video["status"] == "ready", f"{video['error']}\n{self.last_words(video_id)}"
        return video

    def ended(self, video_id: str) -> Video:
        """The video once nothing more happens to it."""
        found: list[Video] = []

        def ended() -> bool:
            found[:] = [self.client.video(video_id)]
            return found[0]["status"] in ("ready", "errored", "canceled")

        eventually(ended, READY, lambda: self.last_words(video_id))
        return found[0]

    def record(self, video_id: str) -> VideoRecord:
        """The durable record."""
        return Catalog(self.store).load(video_id)

    def plan(self, video_id: str) -> Plan:
        """The plan of the first generation."""
        return Plan.model_validate(load_document(self.store, layout.plan(video_id, 1))[0])

    def receipts(self, video_id: str) -> list[Receipt]:
        """The receipts of the first generation."""
        keys = [info.key for info in self.store.list(layout.receipts(video_id, 1))]
        return [Receipt.model_validate(load_document(self.store, key)[0]) for key in keys]

    def keys_about(self, video_id: str) -> list[str]:
        """Everything in Redis that has the video's id in its name or its contents."""
        pattern = f"{glob_escaped(Keys(self.namespace).broker)}*"
        keys = self.redis.scan_iter(match=pattern, count=1000)
        return sorted(k.decode() for k in keys if video_id.encode() in k + self._held(k))

    def _held(self, key: bytes) -> bytes:
        """Everything that a key holds."""
        match self.redis.type(key):
            case b"string":
                return bytes(self.redis.get(key) or b"")
            case b"hash":
                return b"".join(k + v for k, v in self.redis.hgetall(key).items())
            case b"list":
                return b"".join(self.redis.lrange(key, 0, -1))
            case b"set":
                return b"".join(self.redis.smembers(key))
            case b"zset":
                return b"".join(self.redis.zrange(key, 0, -1))
        return b""

    def last_words(self, video_id: str) -> str:
        """What the farm's log says of a video."""
        lines = self.log.read_text(errors="replace").splitlines()
        told = [line for line in lines if video_id in line and "ingest.access" not in line]
        whole = "\n".join(told)
        return whole if len(whole) <= _WORDS else whole[-_WORDS:].partition("\n")[2]


def glob_escaped(text: str) -> str:
    """``text`` as a pattern of Redis that stands for itself."""
    return re.sub(r"([*?\[\]\\])", r"\\\1", text)


def eventually(
    holds: Callable[[], object], timeout: float, evidence: Callable[[], object] = lambda: ""
) -> None:
    """Wait until it holds; fail after ``timeout`` seconds, with the evidence."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"not so within {timeout:g} s; {evidence()}"
        time.sleep(0.05)


@contextmanager
def running_farm(directory: Path, **options: Any) -> Iterator[Farm]:
    """A farm on a data directory of its own, for as long as the block.

    ``options`` are settings that differ from those of the other tests.
    """
    settings = replaced(Settings(), **(OWN | options), data_dir=directory / "data")
    log = directory / "farm.log"
    argv = (sys.executable, "-P", "-m", "farm", "up", "--tied", "--json")
    # Where scratch files would lie, so that a test can say that there is none.
    scratch = directory / "tmp"
    scratch.mkdir(exist_ok=True)
    child = ChildProcess(argv, environment(settings) | {"TMPDIR": str(scratch)}, log)
    try:
        found = _found(settings.data_dir, child, log)
        joined = replaced(settings, **found.settings)
        with (
            Client(found.url) as client,
            closing(connections.object_store(joined)) as store,
            closing(connections.redis_client(joined)) as live,
        ):
            standing = 2 if settings.min_slots else 0
            eventually(
                lambda: len(list_workers(live, joined.namespace)) >= standing, START, log.read_text
            )
            yield Farm(client, store, live, joined.namespace, log)
    finally:
        _stop(child)
    assert "processes_killed" not in log.read_text(), "a process did not end when it was told to"


def _found(data_dir: Path, child: ChildProcess, log: Path) -> running.RunningFarm:
    def settled() -> bool:
        return child.exit_code() is not None or running.find(data_dir) is not None

    eventually(settled, START, log.read_text)
    found = running.find(data_dir)
    assert found is not None, f"the farm did not come up:\n{log.read_text()[-4000:]}"
    return found


def _stop(child: ChildProcess) -> None:
    child.drain()
    child.release()
    try:
        eventually(lambda: child.exit_code() is not None, STOP)
    finally:
        child.kill()
        child.close()

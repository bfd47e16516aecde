"""A farm with servers of its own, as its user sees it, and as whoever does it harm does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import redis

from catalog.videos import Catalog
from farm import connections, running
from farm.client import Client, Video
from farm.settings import Settings, environment, load, replaced
from jobs.board import Board
from jobs.records import VideoRecord
from jobs.workers import WorkerInfo, list_workers
from storage.objects import ObjectStore

#: What ends by itself.
TERMINAL = ("ready", "errored", "canceled")

#: Seconds for a farm to come up, and to stop.
_START = 90.0
_STOP = 40.0


def eventually(found: Callable[[], Any], timeout: float, what: str, every: float = 0.05) -> Any:
    """What ``found()`` returns once it is true; fails after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not (result := found()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s"
        time.sleep(every)
    return result


@dataclass(frozen=True)
class Farm:
    """A running farm."""

    process: subprocess.Popen[bytes]
    log: Path
    client: Client
    store: ObjectStore
    redis: redis.Redis
    board: Board

    @property
    def workers(self) -> list[WorkerInfo]:
        """The workers that have announced themselves."""
        return list_workers(self.redis, self.board.keys.namespace)

    def record(self, video_id: str) -> VideoRecord:
        """The durable record."""
        return Catalog(self.store).load(video_id)

    def ended(self, video_id: str, timeout: float) -> Video:
        """The video, once it is terminal."""

        def terminal() -> Video | None:
            video = self.client.video(video_id)
            return video if video["status"] in TERMINAL else None

        video: Video = eventually(terminal, timeout, f"{video_id} ends", every=0.1)
        return video

    def media_processes(self, of: int | None = None) -> list[psutil.Process]:
        """The ffmpegs and ffprobes below the process ``of``, or below the farm's."""
        found = []
        for child in psutil.Process(of or self.process.pid).children(recursive=True):
            try:
                if child.name().startswith("ff"):
                    found.append(child)
            except psutil.NoSuchProcess:
                continue
        return found

    def complaints(self) -> list[str]:
        """Lines of the log that tell of an exception, and those that are no log lines at all."""
        return [line for line in self.log.read_text().splitlines() if _is_complaint(line)]


def _is_complaint(line: str) -> bool:
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return bool(line.strip())
    return "exception" in entry or "Traceback" in line


@contextmanager
def running_farm(data_dir: Path, **options: Any) -> Iterator[Farm]:
    """A farm with its own servers on ``data_dir``, stopped after the block.

    ``options`` are settings, such as ``slots``.
    """
    own = dict.fromkeys(("s3_endpoint", "s3_ca_file", "redis_url", "public_url", "api_token"))
    fixed = {"s3_prefix": "", "host": "127.0.0.1", "port": 0, "log_format": "json", "slots": 2}
    settings = replaced(load(), **own, **(fixed | options), data_dir=data_dir)
    log = data_dir / "farm.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            (sys.executable, "-P", "-m", "farm", "up", "--tied", "--json"),
            env=environment(settings),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        note = _note(process, data_dir, log)
        yield from _used(process, log, replaced(settings, **note.settings), note.url)
    finally:
        _stop(process)


def _note(process: subprocess.Popen[bytes], data_dir: Path, log: Path) -> running.RunningFarm:
    def settled() -> bool:
        return process.poll() is not None or running.find(data_dir) is not None

    eventually(settled, _START, "the farm comes up")
    note = running.find(data_dir)
    assert note is not None, log.read_text()
    return note


def _used(
    process: subprocess.Popen[bytes], log: Path, settings: Settings, url: str
) -> Iterator[Farm]:
    store = connections.object_store(settings)
    client = connections.redis_client(settings)
    try:
        with Client(url) as user:
            board = Board(client, settings.namespace)
            yield Farm(process, log, user, store, client, board)
    finally:
        client.close()
        store.close()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask once to drain and once to give back; nothing of the farm outlives it."""
    below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    for _ in range(2):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            time.sleep(0.2)
    try:
        process.wait(_STOP)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        _, alive = psutil.wait_procs(below, 5.0)
        for child in alive:
            child.kill()
    assert not alive, f"the farm left {alive}"

"""What the runtime's tests share: a board, a sender, worker processes and their events."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from jobs.board import Board
from jobs.broker import FarmBroker, connect_redis
from jobs.demand import QueueDemand, demand
from jobs.parts import PartRef, Pool, Priority
from jobs.schema import SCHEMA
from jobs.send import Sender
from jobs.timings import Timings
from pipeline.sweeper import Sweeper
from tests.newer import python_of

VIDEO = "01jz0000000000000000000000"
SCRIPT = Path(__file__).with_name("runtime_worker.py")

#: Short enough for tests, long enough for a busy machine.
SHORT = Timings(
    lease_ttl=2.0,
    renew_every=0.3,
    poll_every=0.1,
    heartbeat_timeout=2.0,
    sent_grace=0.5,
    sweep_every=0.05,
    inbox_every=0.3,
    sweeper_ttl=1.0,
    resume_after=0.5,
    fetch_every=0.3,
    cancel_grace=5.0,
    retry_first=0.1,
)


def eventually(found: Callable[[], object], timeout: float = 15.0) -> None:
    """Wait until ``found()`` is true; fail after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not found():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


@dataclass(frozen=True)
class Event:
    """A line of the workers' event file."""

    what: str
    part: str
    pid: int
    at: float
    reason: str


@dataclass
class Farm:
    """One namespace with its workers."""

    url: str
    namespace: str
    directory: Path
    timings: Timings = SHORT
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)
    #: How often a sweeper read the to-do list.
    inbox_reads: int = 0

    def __post_init__(self) -> None:
        self.client = connect_redis(self.url)
        self.board = Board(self.client, self.namespace, self.timings)
        self.broker = FarmBroker(self.client, self.namespace, self.timings)
        self.sender = Sender(self.broker, self.board)

    def send(
        self,
        part: str,
        pool: Pool = Pool.CPU,
        priority: Priority = Priority.NORMAL,
        *,
        schema: int = 1,
    ) -> PartRef:
        ref = PartRef(VIDEO, 1, part)
        assert self.sender.send(ref, pool, priority, schema=schema)
        return ref

    def worker(
        self,
        *,
        pools: str = "head,cpu",
        drain: float = 20.0,
        supervised: bool = False,
        schema: int = SCHEMA,
    ) -> subprocess.Popen[bytes]:
        """A worker process that is ready, of a version that knows ``schema``."""
        arguments = (self.url, self.namespace, pools, str(drain))
        mode = "supervised" if supervised else "alone"
        timings = json.dumps(asdict(self.timings))
        process = subprocess.Popen(
            [
                *python_of(schema),
                *(str(SCRIPT), *arguments, mode, str(self.file), timings),
            ],
            stdin=subprocess.PIPE,
        )
        self.workers.append(process)
        eventually(lambda: self.seen("ready", pid=process.pid))
        return process

    @property
    def file(self) -> Path:
        return self.directory / "events"

    def go(self) -> None:
        """Let the long parts come to their end."""
        (self.directory / "go").touch()

    def events(self) -> list[Event]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        rows = [line.split() for line in lines]
        return [Event(row[0], row[1], int(row[2]), float(row[3]), row[4]) for row in rows]

    def seen(self, what: str, part: str | None = None, pid: int | None = None) -> list[Event]:
        return [
            event
            for event in self.events()
            if event.what == what and part in (None, event.part) and pid in (None, event.pid)
        ]

    def demand(self) -> QueueDemand:
        """The counts alone."""
        found = demand(self.client, self.namespace)
        both = found.pool(Pool.HEAD) + found.pool(Pool.CPU)
        return QueueDemand(both.waiting, both.in_flight, both.dead)

    def sweeper(self, parts: tuple[str, ...], owner: str = "sweeper") -> Sweeper:
        """One that sends those of ``parts`` that are neither ended nor on their way."""

        def advance(video_id: str) -> None:
            moving = self.board.parts_in_flight(video_id)
            for part in parts:
                if not self.seen("end", part) and f"1/{part}" not in moving:
                    self.sender.send(PartRef(video_id, 1, part), Pool.CPU, Priority.NORMAL)

        maintainer = FarmBroker(self.client, self.namespace, self.timings, maintains=True)
        return Sweeper(self.board, maintainer, self._inbox, advance, owner=owner)

    def _inbox(self) -> list[str]:
        self.inbox_reads += 1
        return [VIDEO]

    def close(self) -> None:
        for process in self.workers:
            process.kill()
            process.wait()
            if process.stdin:
                process.stdin.close()
        self.client.close()

"""How long a message takes from ``Sender.send`` to the first line of its handler.

Real worker processes on a real Valkey, with the farm's own timings: what is not told by the
doorbell is found by a look once in a second, and would stand out.
"""

from __future__ import annotations

import random
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import redis

from benchmarks.farms import BenchmarkError
from farm.embedded import Valkey
from jobs.board import Board
from jobs.broker import FarmBroker, connect_redis
from jobs.parts import PartRef, Pool, Priority
from jobs.send import Sender

_NAMESPACE: Final = "latency"
_VIDEO: Final = "01jz0000000000000000000000"
#: The longest pause between two messages, so that they meet every moment of a worker's rounds.
_PAUSE: Final = 0.06
_PATIENCE: Final = 10.0
#: Messages before those that count.
_WARM: Final = 5


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds of each message, in order."""

    #: Until the handler began.
    starts: tuple[float, ...]
    #: Until ``Sender.send`` had returned, which is part of the above.
    sends: tuple[float, ...]

    def start(self, percent: int) -> float:
        """A percentile of the starts."""
        return percentile(self.starts, percent)


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many percent of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]


@dataclass(frozen=True, slots=True)
class IdleRedis:
    """What an idle worker asks of Redis, in commands per second, by command."""

    by_command: dict[str, float]

    @property
    def total(self) -> float:
        """All of them."""
        return sum(self.by_command.values())


class _Workers:
    """Worker processes and what they say."""

    def __init__(self, url: str, count: int) -> None:
        self.client = connect_redis(url)
        broker = FarmBroker(self.client, _NAMESPACE)
        self._sender = Sender(broker, Board(self.client, _NAMESPACE))
        script = (sys.executable, "-P", "-m", "benchmarks.latency_worker", url, _NAMESPACE)
        self.processes = [
            subprocess.Popen(
                (*script, f"worker-{n}"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for n in range(count)
        ]
        for process in self.processes:
            self._line(process)

    def send(self, part: str) -> None:
        """Put a part on the queue of chunks."""
        if not self._sender.send(PartRef(_VIDEO, 1, part), Pool.CPU, Priority.NORMAL):
            raise BenchmarkError(f"the part {part} was on its way already")

    def one(self, part: str, process: subprocess.Popen[str]) -> tuple[float, float]:
        """Milliseconds until the part was begun, and until it was sent."""
        began = time.time()
        self.send(part)
        sent = time.time()
        name, at = self._line(process).split()
        if name != part:
            raise BenchmarkError(f"a worker began {name} in place of {part}")
        return (float(at) - began) * 1000, (sent - began) * 1000

    def burn(self) -> subprocess.Popen[str]:
        """Make one worker busy; the one that is still idle."""
        self.send("burn")
        pipes: list[Any] = [each.stdout for each in self.processes]
        ready, _, _ = select.select(pipes, [], [], _PATIENCE)
        if not ready:
            raise BenchmarkError("nobody took a part that was sent")
        busy, idle = sorted(self.processes, key=lambda each: each.stdout not in ready)
        self._line(busy)
        return idle

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.communicate()
        self.client.close()

    @staticmethod
    def _line(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline()


def measure(directory: Path, messages: int, *, busy: bool) -> Latency:
    """Against one idle worker; with ``busy`` beside another one that keeps a core busy."""
    with _valkey(directory) as url, closing(_Workers(url, 1 + busy)) as workers:
        idle = workers.burn() if busy else workers.processes[0]
        pauses = random.Random(1)
        rows = []
        for number in range(_WARM + messages):
            time.sleep(pauses.uniform(0.01, _PAUSE))
            rows.append(workers.one(f"part-{number}", idle))
    starts, sends = zip(*rows[_WARM:], strict=True)
    return Latency(starts, sends)


def idle_redis(directory: Path, workers: int, seconds: float) -> IdleRedis:
    """What one of so many idle workers asks of Redis."""
    with _valkey(directory) as url, closing(_Workers(url, workers)) as own:
        time.sleep(2.0)
        before = _commands(own.client)
        began = time.monotonic()
        time.sleep(seconds)
        after, took = _commands(own.client), time.monotonic() - began
    changed = {name: after[name] - before.get(name, 0) for name in after if name != "info"}
    return IdleRedis({k: n / took / workers for k, n in sorted(changed.items()) if n})


def _commands(client: redis.Redis) -> dict[str, int]:
    """How often each was called; what a script calls counts, too."""
    found: Any = client.info("commandstats")
    return {name.removeprefix("cmdstat_"): row["calls"] for name, row in found.items()}


@contextmanager
def _valkey(directory: Path) -> Iterator[str]:
    server = Valkey(directory)
    with server:
        yield server.url


def summary(found: Latency) -> dict[str, float]:
    """For the table and for JSON, in milliseconds."""
    return {
        "p50": found.start(50),
        "p90": found.start(90),
        "p99": found.start(99),
        "longest": max(found.starts),
        "send": statistics.median(found.sends),
        "messages": float(len(found.starts)),
    }

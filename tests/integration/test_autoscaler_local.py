"""Pools of real processes on this host."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from autoscaler.local import LocalTarget
from autoscaler.policy import PoolDemand, PoolSpec
from autoscaler.processes import ChildProcess
from autoscaler.scaler import Scaler

#: Says its pid, and ends at SIGINT, with its supervisor, or, unless it is busy, at SIGTERM.
#: Its main thread looks up now and then: a signal that the kernel gives to the other thread does
#: not wake it, and Python runs handlers in the main thread alone. What it says goes out in one
#: write: unbuffered, a print is one for each word, and three workers share the file.
WORKER = """
import os, signal, sys, threading, time
busy = sys.argv[1] == "busy"
signal.signal(signal.SIGTERM, lambda *_: busy or os._exit(0))
signal.signal(signal.SIGINT, lambda *_: os._exit(0))
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(7)), daemon=True).start()
os.write(1, f"up {os.getpid()}\\n".encode())
while True:
    time.sleep(0.1)
"""


class Clock:
    """A clock that is moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Farm:
    """A target and the workers that it has started."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.clock = Clock()
        self.work = "idle"
        self.busy: set[int] = set()
        self.started: list[ChildProcess] = []
        self.target = LocalTarget(self.start, self.clock, self.busy.intersection)

    def start(self, pool: str) -> ChildProcess:
        argv = [sys.executable, "-S", "-c", WORKER, self.work]
        child = ChildProcess(argv, dict(os.environ), self.log)
        self.started.append(child)
        return child

    @property
    def pids(self) -> list[int]:
        return [child.pid for child in self.started if child.exit_code() is None]

    def wait_up(self) -> None:
        """Every started worker has set up its signals."""
        lines = {f"up {child.pid}" for child in self.started}
        until(lambda: self.log.exists() and lines <= set(self.log.read_text().splitlines()))


def until(holds: Callable[[], bool], timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    farm = Farm(tmp_path / "workers.log")
    yield farm
    farm.target.kill()
    assert farm.pids == []


def test_it_starts_what_is_asked_for_and_drains_idle_workers_first(farm: Farm) -> None:
    farm.target.scale("cpu", 3)
    farm.wait_up()
    assert farm.target.count("cpu") == farm.target.running("cpu") == 3
    farm.busy.update(farm.pids[:2])
    idle = farm.pids[2]
    farm.target.scale("cpu", 2)
    until(lambda: idle not in farm.pids)
    farm.target.tend()
    assert set(farm.pids) == farm.busy
    assert len(farm.started) == 3, "a drained worker is not replaced"


def test_a_busy_worker_is_asked_not_killed_and_lets_go_when_told(farm: Farm) -> None:
    farm.work = "busy"
    farm.target.scale("cpu", 1)
    farm.wait_up()
    farm.target.drain()
    farm.target.tend()
    assert farm.target.running() == 1
    farm.target.release()
    until(lambda: farm.pids == [])
    assert farm.started[0].exit_code() == 0
    farm.target.tend()
    assert farm.target.running() == 0


def test_where_all_go_nobody_is_asked_who_is_busy(farm: Farm) -> None:
    asked: list[Collection[int]] = []

    def busy(pids: Collection[int]) -> Collection[int]:
        asked.append(pids)
        return ()

    farm.target = LocalTarget(farm.start, farm.clock, busy)
    farm.target.scale("cpu", 3)
    farm.wait_up()
    farm.target.scale("cpu", 2)
    assert len(asked) == 1
    farm.target.drain()
    assert len(asked) == 1
    until(lambda: farm.pids == [])


def test_a_dead_worker_is_replaced_after_pauses_that_grow(farm: Farm) -> None:
    pauses = []
    farm.target.scale("cpu", 1)
    for dead in range(1, 4):
        farm.wait_up()
        farm.started[-1].kill()
        farm.target.tend()
        died = farm.clock.now
        while len(farm.started) == dead:
            farm.clock.now += 0.5
            farm.target.tend()
        pauses.append(farm.clock.now - died)
    assert pauses == [1.0, 2.0, 4.0]


def test_a_worker_that_had_settled_is_replaced_soon(farm: Farm) -> None:
    farm.target.scale("cpu", 1)
    farm.wait_up()
    farm.clock.now += 3600
    farm.started[-1].kill()
    farm.target.tend()
    farm.clock.now += 0.5
    farm.target.tend()
    assert len(farm.started) == 2


def test_a_host_without_room_for_a_process_keeps_those_it_has_and_tries_again(farm: Farm) -> None:
    tries, room = [], [False]

    def start(pool: str) -> ChildProcess:
        tries.append(farm.clock.now)
        if not room[0]:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return farm.start(pool)

    target = LocalTarget(start, farm.clock)
    farm.target = target
    target.scale("cpu", 2)
    for _ in range(16):
        farm.clock.now += 0.5
        target.tend()
    assert tries == [0.0, 1.0, 3.0, 7.0]
    room[0] = True
    farm.clock.now += 30
    target.tend()
    assert len(farm.pids) == target.running("cpu") == 2


def test_a_worker_learns_that_its_supervisor_died(farm: Farm) -> None:
    farm.target.scale("cpu", 1)
    farm.wait_up()
    stdin = farm.started[0]._process.stdin
    assert stdin is not None
    stdin.close()
    until(lambda: farm.started[0].exit_code() == 7)


def test_the_scaler_follows_the_demand(farm: Farm) -> None:
    demand = {"cpu": PoolDemand(waiting=5, in_flight=0)}
    pool = PoolSpec("cpu", minimum=1, maximum=2, cooldown=60)
    scaler = Scaler((pool,), farm.target, lambda: demand, farm.clock)
    (scaled,) = scaler.step()
    assert (scaled.before, scaled.decision.count, len(farm.pids)) == (0, 2, 2)
    farm.wait_up()
    demand.clear()
    farm.clock.now = 59
    scaler.step()
    assert farm.target.count("cpu") == 2
    farm.clock.now = 61
    scaler.step()
    until(lambda: len(farm.pids) == 1)

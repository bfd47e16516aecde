"""Everything the soak does to a farm: one function for each kind of fault.

A fault blocks until it is over and undone. It returns what it hit, in a few words, or None where
there was nothing to hit. While it lasts it has the part of the farm that its row in
:data:`KINDS` names to itself, so that no server is killed by one fault and started by another;
faults of different parts overlap as they like.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import psutil
import redis

from jobs.workers import list_workers
from tests.chaos.rig import Rig
from tests.chaos.s3_proxy import CONFLICT, CUT, DROPPED, INTERNAL, LOST, SLOW_DOWN, STALL, Fault


class Dice(random.Random):
    """Chance, and how long outages last in relation to those of a long soak."""

    pace = 1.0

    def seconds(self, least: float, most: float) -> float:
        """How long one lasts."""
        return self.pace * self.uniform(least, most)


Harm = Callable[[Rig, Dice], str | None]

#: Seconds a frozen worker's lease lapses in, and more.
_PAST_A_LEASE: Final = (21.0, 27.0)


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table: what is done, to what, and how often in relation to the others."""

    harm: Harm
    part: str
    weight: int = 2


def _worker(rig: Rig, dice: Dice) -> psutil.Process | None:
    """A worker, in three of four cases one that is busy."""
    with suppress(redis.RedisError):
        busy = rig.busy()
        if busy and dice.random() < 0.75:
            return dice.choice(busy)
    workers = rig.workers()
    return dice.choice(workers) if workers else None


def _at_work_on(rig: Rig, pid: int) -> str:
    with suppress(redis.RedisError):
        for info in list_workers(rig.farm.redis, rig.farm.namespace):
            if info.pid == pid:
                return f"{pid} on {info.part or 'nothing'}"
    return str(pid)


def _signal_worker(number: signal.Signals) -> Harm:
    def harm(rig: Rig, dice: Dice) -> str | None:
        worker = _worker(rig, dice)
        if worker is None:
            return None
        told = _at_work_on(rig, worker.pid)
        with suppress(psutil.NoSuchProcess):
            worker.send_signal(number)
            return told
        return None

    return harm


def _freeze_worker(rig: Rig, dice: Dice) -> str | None:
    worker = _worker(rig, dice)
    if worker is None:
        return None
    told = _at_work_on(rig, worker.pid)
    seconds = dice.uniform(*_PAST_A_LEASE)
    with suppress(psutil.NoSuchProcess):
        worker.suspend()
        time.sleep(seconds)
        worker.resume()
    return f"{told}, {seconds:.0f} s"


def _kill_ffmpeg(rig: Rig, dice: Dice) -> str | None:
    running = rig.ffmpegs()
    if not running:
        return None
    victim = dice.choice(running)
    with suppress(psutil.NoSuchProcess):
        name = victim.name()
        victim.kill()
        return f"{name} {victim.pid}"
    return None


def _kill_api(rig: Rig, dice: Dice) -> str | None:
    api = rig.api()
    if api is None:
        return None
    with suppress(psutil.NoSuchProcess):
        api.kill()
    return str(api.pid)


def _kill_supervisor(rig: Rig, dice: Dice) -> str | None:
    pid = rig.pid
    if pid is None:
        return None
    rig.kill_farm()
    rig.start_farm()
    return str(pid)


def _kill_valkey(rig: Rig, dice: Dice) -> str:
    away = dice.seconds(0.0, 6.0)
    rig.valkey.kill()
    time.sleep(away)
    rig.valkey.start()
    return f"{away:.1f} s"


def _freeze_valkey(rig: Rig, dice: Dice) -> str:
    seconds = dice.seconds(1.0, 12.0)
    with rig.valkey.frozen(seconds):
        return f"{seconds:.1f} s"


def _empty_valkey(rig: Rig, dice: Dice) -> str:
    rig.empty_redis()
    return "all of it"


def _kill_s3(rig: Rig, dice: Dice) -> str:
    away = dice.seconds(0.0, 6.0)
    rig.seaweedfs.kill()
    time.sleep(away)
    rig.seaweedfs.start()
    return f"{away:.1f} s and its start"


def _freeze_s3(rig: Rig, dice: Dice) -> str:
    seconds = dice.seconds(1.0, 12.0)
    with rig.seaweedfs.frozen(seconds):
        return f"{seconds:.1f} s"


def _refuse_s3(rig: Rig, dice: Dice) -> str:
    seconds = dice.seconds(1.0, 10.0)
    rig.proxy.refuse()
    time.sleep(seconds)
    rig.proxy.accept()
    return f"{seconds:.1f} s"


def _storm(fault: Fault, shares: tuple[float, float], **options: Any) -> Harm:
    """Some seconds in which a share of the requests fails."""

    def harm(rig: Rig, dice: Dice) -> str:
        share, seconds = dice.uniform(*shares), dice.seconds(3.0, 10.0)
        with rig.proxy.failing(fault, share=share, **options) as rule:
            time.sleep(seconds)
        return f"{rule.done} requests in {seconds:.1f} s"

    return harm


def _cut_sources(rig: Rig, dice: Dice) -> str | None:
    """The next readers of a source get half of what they ask for."""
    times = dice.randint(1, 4)
    options = {"operation": "GetObject", "key": "/source$", "times": times}
    with rig.proxy.failing(CUT, match=lambda request: request.for_ffmpeg, **options) as rule:
        give_up = time.monotonic() + dice.seconds(10.0, 10.0)
        while rule.done < times and time.monotonic() < give_up:
            time.sleep(0.05)
    return f"{rule.done} readers" if rule.done else None


WRITES: Final[dict[str, Any]] = {"match": lambda request: request.writes}
CONDITIONAL: Final[dict[str, Any]] = {"match": lambda request: request.conditional}

KINDS: Final[Mapping[str, Kind]] = {
    "worker killed": Kind(_signal_worker(signal.SIGKILL), "", 4),
    "worker frozen past its lease": Kind(_freeze_worker, "", 2),
    "worker drained": Kind(_signal_worker(signal.SIGTERM), "", 2),
    "ffmpeg killed": Kind(_kill_ffmpeg, "", 3),
    "API killed": Kind(_kill_api, "supervisor", 2),
    "supervisor killed": Kind(_kill_supervisor, "supervisor", 2),
    "Valkey killed": Kind(_kill_valkey, "valkey", 2),
    "Valkey frozen": Kind(_freeze_valkey, "valkey", 2),
    "Valkey emptied": Kind(_empty_valkey, "valkey", 2),
    "S3 killed": Kind(_kill_s3, "s3", 1),
    "S3 frozen": Kind(_freeze_s3, "s3", 2),
    "S3 refuses connections": Kind(_refuse_s3, "s3", 2),
    "S3 answers 503": Kind(_storm(SLOW_DOWN, (0.2, 1.0)), "proxy", 2),
    "S3 answers 500": Kind(_storm(INTERNAL, (0.2, 0.6)), "proxy", 1),
    "S3 answers 409": Kind(_storm(CONFLICT, (0.3, 1.0), **CONDITIONAL), "proxy", 2),
    "answers to writes lost": Kind(_storm(LOST, (0.1, 0.6), **WRITES), "proxy", 3),
    "requests dropped": Kind(_storm(DROPPED, (0.1, 0.6)), "proxy", 1),
    "requests stalled": Kind(_storm(STALL, (0.05, 0.2), seconds=5.0), "proxy", 1),
    "sources cut": Kind(_cut_sources, "source", 3),
}

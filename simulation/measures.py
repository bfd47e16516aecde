"""Figures of one run, and the one number by which policies are compared. Pure.

**Wait** of an upload: the seconds by which it is ready later than it would be with a free worker
for every part at every moment. All that a pool which is too small does to it is in this: the time
until its first part begins, and until each of the others.

**Price** of a run: its worker-hours, and :data:`WEIGHT` more for every hour that an upload waits. A
worker-hour is a few cents; an hour of somebody who waits for his film is worth ten times as much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulation.clairvoyant import Foreseen
from simulation.platforms import Platform
from simulation.pool import Look, Run
from simulation.traces import Trace

#: Worker-hours that an hour of waiting is worth.
WEIGHT: Final = 10.0

#: Seconds after a shrink within which a growth is a flap, where workers start in less.
_FLAP: Final = 10.0
#: Changes by no more than this share of the larger count are none.
_JITTER: Final = 0.1

_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one policy in one trace. Waits and times to ready are seconds."""

    policy: str
    wait_p50: float
    wait_p95: float
    wait_p99: float
    wait_mean: float
    ready_p95: float
    ready_mean: float
    worker_hours: float
    starts: int
    flaps: int
    #: Sum of all waits.
    waited_hours: float

    def price(self, weight: float = WEIGHT) -> float:
        """In worker-hours."""
        return self.worker_hours + weight * self.waited_hours


def measured(name: str, trace: Trace, run: Run, platform: Platform) -> Figures:
    """Of a simulated policy."""
    flaps = flap_count(run.looks, max(_FLAP, platform.start))
    took = [ready - upload.at for ready, upload in zip(run.ready, trace.uploads, strict=True)]
    return _figures(name, trace, took, run.paid, run.starts, flaps)


def known(trace: Trace, best: Foreseen) -> Figures:
    """Of the clairvoyant, who never asks for a worker that he would have had."""
    both = zip(best.waits, trace.uploads, strict=True)
    took = [wait + upload.shortest for wait, upload in both]
    return _figures("clairvoyant", trace, took, best.paid, best.starts, 0)


def bound(trace: Trace) -> Figures:
    """Nobody can pay less, and nobody can be sooner."""
    took = [upload.shortest for upload in trace.uploads]
    return _figures("bound", trace, took, trace.work, 0, 0)


def flap_count(looks: Sequence[Look], within: float) -> int:
    """Growths so soon after a shrink that it would have cost less to keep the workers.

    Both by more than a tenth of the pool: that somebody goes and somebody comes is no flapping.
    """
    found, fell, before = 0, -math.inf, 0
    for look in looks:
        change = look.target - before
        if abs(change) > _JITTER * max(before, look.target):
            found += change > 0 and look.at - fell <= within
            fell = look.at if change < 0 else -math.inf
        before = look.target
    return found


def _figures(
    name: str, trace: Trace, took: Sequence[float], paid: float, starts: int, flaps: int
) -> Figures:
    whole = np.array(took)
    waits = np.maximum(whole - np.array([upload.shortest for upload in trace.uploads]), 0.0)
    p50, p95, p99 = np.percentile(waits, (50, 95, 99)).tolist()
    return Figures(
        policy=name,
        wait_p50=p50,
        wait_p95=p95,
        wait_p99=p99,
        wait_mean=float(waits.mean()),
        ready_p95=float(np.percentile(whole, 95)),
        ready_mean=float(whole.mean()),
        worker_hours=paid / _HOUR,
        starts=starts,
        flaps=flaps,
        waited_hours=float(waits.sum()) / _HOUR,
    )

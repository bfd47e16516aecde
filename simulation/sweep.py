"""The parameters of the shipped policy, tried: target drain time, cool-down, steps.

Swept on other uploads than those that policies are compared by, so that a parameter is not chosen
for the very trace that it is praised for.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import product
from typing import Final

from autoscaler.policy import PoolSpec
from simulation.compare import Scenario, shipped_ratios
from simulation.platforms import Platform
from simulation.policies import spec
from simulation.traces import MAKERS

#: Seconds.
DRAINS: Final = (0.0, 10.0, 20.0, 30.0, 60.0, 120.0, 240.0, 480.0)
COOLDOWNS: Final = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0)
#: Workers at once; the first is all that there can be.
STEPS: Final = (10_000, 50, 10)

#: The uploads of the sweep, and by how much its traces are shorter.
SEED: Final = 2
SCALE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Tried:
    """One set of parameters: its score, as in ``compare``, that of each trace, and its flaps."""

    pool: PoolSpec
    score: float
    ratios: tuple[float, ...]
    flaps: int


def swept(
    platform: Platform, pools: Sequence[PoolSpec], executor: Executor, scale: float = SCALE
) -> list[Tried]:
    """All of them on the platform, best first."""
    scenarios = [Scenario(platform, name, SEED, scale) for name, _, _ in MAKERS]
    columns = executor.map(shipped_ratios, scenarios, [pools] * len(scenarios))
    rows = zip(*columns, strict=True)
    return sorted(map(_tried, pools, rows), key=lambda tried: tried.score)


def grid(platform: Platform) -> tuple[PoolSpec, ...]:
    """Every target drain time with every cool-down, without limits to a step."""
    return tuple(
        spec(platform, target_drain=drain, cooldown=cooldown, step_up=STEPS[0], step_down=STEPS[0])
        for drain, cooldown in product(DRAINS, COOLDOWNS)
    )


def steps(platform: Platform, best: PoolSpec) -> tuple[PoolSpec, ...]:
    """The best of those with every limit of steps."""
    return tuple(
        spec(
            platform,
            target_drain=best.target_drain,
            cooldown=best.cooldown,
            step_up=up,
            step_down=down,
        )
        for up, down in product(STEPS, STEPS)
    )


def _tried(pool: PoolSpec, row: Iterable[tuple[float, int]]) -> Tried:
    ratios, flaps = zip(*row, strict=True)
    return Tried(pool, statistics.geometric_mean(ratios), tuple(ratios), sum(flaps))

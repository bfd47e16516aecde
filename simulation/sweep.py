"""The parameters of the shipped policy, tried: target drain time, cool-down, steps.

Swept on other uploads than those that policies are compared by, so that a parameter is not chosen
for the very trace that it is praised for.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from autoscaler.policy import PoolSpec
from simulation.compare import Scenario, shipped_ratios
from simulation.platforms import Platform
from simulation.policies import tuned
from simulation.traces import MAKERS

#: Seconds.
DRAINS: Final = (0.0, 10.0, 30.0, 60.0, 120.0)
COOLDOWNS: Final = (10.0, 30.0, 60.0, 120.0, 240.0)
#: Workers at once.
STEPS: Final = (50, 10)

#: The uploads of the sweep, and by how much its traces are shorter.
SEED: Final = 2
SCALE: Final = 0.3


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
    """The shipped parameters, and every target drain time with every cool-down, else as shipped."""
    shipped = tuned(platform)
    return (
        shipped,
        *(
            replace(shipped, target_drain=drain, cooldown=cooldown)
            for drain, cooldown in product(DRAINS, COOLDOWNS)
        ),
        *(replace(shipped, step_up=step) for step in STEPS),
        *(replace(shipped, step_down=step) for step in STEPS),
    )


def _tried(pool: PoolSpec, row: Iterable[tuple[float, int]]) -> Tried:
    ratios, flaps = zip(*row, strict=True)
    return Tried(pool, statistics.geometric_mean(ratios), tuple(ratios), sum(flaps))

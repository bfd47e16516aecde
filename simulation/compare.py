"""Every policy through every trace on every platform, and which of them wins. Pure but for the pool
of processes that does it.

A policy's **score** is the geometric mean, over all traces on all platforms, of its price by the
price of the clairvoyant; 1 is as good as knowing everything, and the lowest wins.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Final

from autoscaler.policy import PoolSpec
from simulation.clairvoyant import foreseen
from simulation.measures import WEIGHT, Figures, bound, known, measured
from simulation.platforms import Platform
from simulation.policies import Contender, contenders, fixed, shipped
from simulation.pool import Run, simulate
from simulation.traces import Trace, trace

#: Sizes of a fixed pool that are tried, by the mean of the workers that are needed.
_SIZES: Final = (0.75, 1.0, 1.5, 2.0, 3.0, 5.0)

#: What the best of them is called, which can only be known afterwards.
FIXED: Final = "best fixed size"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A trace on a platform, made of ``seed``; ``scale`` shortens it."""

    platform: Platform
    trace: str
    seed: int = 1
    scale: float = 1.0

    def made(self) -> Trace:
        """The uploads."""
        return trace(self.trace, self.platform.load, self.seed, scale=self.scale)


@dataclass(frozen=True, slots=True)
class Result:
    """A scenario with the figures of every policy; those of the clairvoyant apart."""

    scenario: Scenario
    uploads: int
    parts: int
    bound: Figures
    clairvoyant: Figures
    policies: tuple[Figures, ...]

    def ratio(self, figures: Figures, weight: float = WEIGHT) -> float:
        """Price by the clairvoyant's."""
        return figures.price(weight) / self.clairvoyant.price(weight)


def compared(scenario: Scenario, pool: PoolSpec) -> Result:
    """All policies in one scenario; ``pool`` has the parameters of the shipped one."""
    made = scenario.made()
    figures = [_figures(scenario, made, each) for each in contenders(pool)]
    figures.append(best_fixed(scenario, made))
    return Result(
        scenario,
        len(made.uploads),
        sum(len(upload.spent) + 1 for upload in made.uploads),
        bound(made),
        known(made, foreseen(made, scenario.platform.start, WEIGHT)),
        tuple(figures),
    )


def best_fixed(scenario: Scenario, made: Trace) -> Figures:
    """The cheapest of some sizes, all of them tried."""
    need, most = made.work / made.seconds, scenario.platform.maximum
    sizes = sorted({min(most, math.ceil(need * size)) for size in _SIZES})
    tried = [_figures(scenario, made, Contender(FIXED, partial(fixed, size))) for size in sizes]
    return min(tried, key=lambda figures: figures.price())


def all_compared(
    scenarios: Iterable[Scenario], pools: Mapping[str, PoolSpec], executor: Executor
) -> list[Result]:
    """Each with the pool of its platform; the last, which are the largest, are begun first."""
    backwards = list(scenarios)[::-1]
    each = executor.map(compared, backwards, [pools[one.platform.name] for one in backwards])
    return list(each)[::-1]


def scores(results: Sequence[Result], weight: float = WEIGHT) -> dict[str, float]:
    """By policy, the lowest first."""
    names = [figures.policy for figures in results[0].policies]
    found = {
        name: statistics.geometric_mean(
            result.ratio(result.policies[place], weight) for result in results
        )
        for place, name in enumerate(names)
    }
    return dict(sorted(found.items(), key=lambda item: item[1]))


def shipped_ratios(scenario: Scenario, pools: Sequence[PoolSpec]) -> list[tuple[float, int]]:
    """Price by the clairvoyant's, and flaps, of the shipped policy with each set of parameters."""
    made = scenario.made()
    best = known(made, foreseen(made, scenario.platform.start, WEIGHT)).price()
    each = (
        _figures(scenario, made, Contender("shipped", partial(shipped, pool))) for pool in pools
    )
    return [(figures.price() / best, figures.flaps) for figures in each]


def run_of(scenario: Scenario, contender: Contender) -> Run:
    """One policy in one scenario, with all its looks."""
    return simulate(scenario.made(), contender.make(), scenario.platform)


def _figures(scenario: Scenario, made: Trace, contender: Contender) -> Figures:
    run = simulate(made, contender.make(), scenario.platform)
    return measured(contender.name, made, run, scenario.platform)

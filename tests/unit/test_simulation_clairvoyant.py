"""Nobody does better than who knows everything: the bounds, by hand and by trying all there is."""

from __future__ import annotations

import random
from functools import cache

import pytest

from simulation.clairvoyant import foreseen, spread, staffed
from simulation.films import Film
from simulation.traces import Trace
from simulation.uploads import Upload


def cheapest(needed: list[int], start: float) -> float:
    """The least worker-seconds by trying every count in every second."""
    most = max(needed)

    @cache
    def price(second: int, count: int) -> float:
        if second == len(needed):
            return 0.0
        return min(
            each + start * max(0, each - count) + price(second + 1, each)
            for each in range(needed[second], most + 1)
        )

    return price(0, 0)


@pytest.mark.parametrize("start", [0.0, 1.0, 2.5, 7.0])
def test_the_staff_is_the_cheapest_there_is(start: float) -> None:
    rng = random.Random(5)
    for _ in range(50):
        needed = [rng.randrange(4) for _ in range(rng.randrange(1, 14))]
        steps = (*((float(at), count) for at, count in enumerate(needed)), (float(len(needed)), 0))
        assert staffed(steps, start)[0] == pytest.approx(cheapest(needed, start))


def test_a_gap_costs_the_lesser_of_staying_and_starting() -> None:
    needed = ((0.0, 1), (10.0, 0), (12.0, 1), (20.0, 0))
    assert staffed(needed, 5.0) == (18.0 + 5.0 + 2.0, 1)
    assert staffed(needed, 1.0) == (18.0 + 1.0 + 1.0, 2)


def test_a_lone_film_is_spread_as_arithmetic_has_it() -> None:
    work, start, weight = 90_000.0, 100.0, 10.0
    parts = tuple([90.0] * 1000)
    film = Upload(0.0, Film("film", parts, (False,) * 1000), 0.0, parts)
    best = foreseen(Trace("film", (film,), 3600.0), start, weight)
    span = (work * start / weight) ** 0.5
    assert best.waits[0] == pytest.approx(span - 90.0)
    # Workers are whole ones.
    assert best.price(weight) == pytest.approx(
        work + start * work / span + weight * (span - 90.0), rel=0.01
    )


def test_without_a_span_nobody_waits() -> None:
    film = Upload(5.0, Film("clip", (2.0, 4.0), (True, False)), 1.0, (2.0, 4.0))
    found = spread(Trace("clip", (film,), 60.0), 1.0, 10.0, 0.0)
    assert found.waits == (0.0,)
    assert found.needed[0] == (5.0, 2)
    assert found.needed[-1] == (10.0, 0)

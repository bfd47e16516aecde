"""What is uploaded when, and what its parts turn out to cost. Pure, and the same for one seed.

The cost model is wrong in three ways, all of them simulated: machines are slower or faster than the
one it was measured on (the pace), films are easy or hard, and so are their parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulation.films import LOOK, Film, Share

#: Standard deviations of the logarithms of what a film, and each of its parts, costs.
_FILMS_DIFFER: Final = 0.35
_PARTS_DIFFER: Final = 0.25


@dataclass(frozen=True, slots=True)
class Upload:
    """``at`` in seconds from the beginning; worker-seconds of the look and of each part."""

    at: float
    film: Film
    look: float
    spent: Sequence[float]

    @property
    def work(self) -> float:
        """Worker-seconds of everything."""
        return self.look + sum(self.spent)

    @property
    def shortest(self) -> float:
        """Seconds until ready with a free worker for every part at every moment."""
        return self.look + max(self.spent)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A film and when it comes."""

    at: float
    film: Film


def uploads(
    arrivals: Iterable[Arrival], pace: float, rng: np.random.Generator
) -> tuple[Upload, ...]:
    """In order of arrival. ``pace`` is the mean of worker-seconds by predicted core-seconds."""
    return tuple(
        _upload(each, pace, rng) for each in sorted(arrivals, key=lambda arrival: arrival.at)
    )


def drawn(
    times: Iterable[float], shares: Sequence[Share], rng: np.random.Generator
) -> list[Arrival]:
    """A film of the catalogue for each time."""
    times = list(times)
    weights = np.array([share.weight for share in shares])
    chosen = rng.choice(len(shares), size=len(times), p=weights / weights.sum())
    return [
        Arrival(at, shares[index].film) for at, index in zip(times, chosen.tolist(), strict=True)
    ]


def mean_work(shares: Sequence[Share]) -> float:
    """Predicted core-seconds of an upload in the mean."""
    whole = sum(share.weight for share in shares)
    return sum(share.weight * share.film.work for share in shares) / whole


def _upload(arrival: Arrival, pace: float, rng: np.random.Generator) -> Upload:
    predicted = np.array((LOOK, *arrival.film.costs))
    film = _scatter(rng, _FILMS_DIFFER, 1)
    parts = _scatter(rng, _PARTS_DIFFER, len(predicted))
    look, *spent = (predicted * pace * film * parts).tolist()
    return Upload(arrival.at, arrival.film, look, spent)


def _scatter(rng: np.random.Generator, deviation: float, count: int) -> np.ndarray:
    """Factors whose mean is 1."""
    return rng.lognormal(-(deviation**2) / 2, deviation, count)

"""Patterns of arrival. Pure, and the same for one seed.

Each is made for a pool that has ``load`` workers busy in the mean, so that one pattern fits a host
as well as a cloud; only the giant film is what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from simulation.films import Share, catalogue, clips, giant
from simulation.uploads import Arrival, Upload, drawn, mean_work, uploads

#: Worker-seconds by predicted core-seconds: the hosts are slower than the one of the cost model.
PACE: Final = 1.5

_HOUR: Final = 3600.0
#: Of the load comes all the time where the rest comes at once.
_BACKGROUND: Final = 0.2
#: Seconds between two bursts in the mean, and that one takes to come in.
_BURSTS_EVERY: Final = 1200.0
_BURST: Final = 20.0


@dataclass(frozen=True, slots=True)
class Trace:
    """Uploads within ``seconds`` from the beginning."""

    name: str
    uploads: tuple[Upload, ...]
    seconds: float

    @property
    def work(self) -> float:
        """Worker-seconds of all uploads."""
        return sum(upload.work for upload in self.uploads)


#: Makes the arrivals of ``load`` workers' work within so many seconds.
Maker = Callable[[float, float, np.random.Generator], list[Arrival]]


def steady(load: float, seconds: float, rng: np.random.Generator) -> list[Arrival]:
    """Clips at one rate, each by itself."""
    return _even(clips(), load, 0.0, seconds, rng)


def bursty(load: float, seconds: float, rng: np.random.Generator) -> list[Arrival]:
    """A little all the time, and most of it in bursts at random times."""
    found = _even(catalogue(), load * _BACKGROUND, 0.0, seconds, rng)
    starts = np.sort(rng.uniform(0.0, seconds, max(1, round(seconds / _BURSTS_EVERY))))
    for start in starts.tolist():
        each = load * (1 - _BACKGROUND) * seconds / len(starts) / _BURST
        found += _even(catalogue(), each, start, start + _BURST, rng)
    return found


def diurnal(load: float, seconds: float, rng: np.random.Generator) -> list[Arrival]:
    """One day with next to nothing at night and twice the mean in the afternoon."""
    found = _even(catalogue(), 2 * load, 0.0, seconds, rng)
    keep = rng.uniform(0.0, 1.0, len(found))
    return [
        arrival
        for arrival, chance in zip(found, keep.tolist(), strict=True)
        if chance < (1 - 0.95 * np.cos(2 * np.pi * arrival.at / seconds)) / 2
    ]


def giant_film(load: float, seconds: float, rng: np.random.Generator) -> list[Arrival]:
    """One film of ten hours in 4K on a farm that has a few clips to make."""
    few = min(load, 8.0) / 4
    return [Arrival(seconds / 12, giant()), *_even(clips(), few, 0.0, seconds, rng)]


def flash_crowd(load: float, seconds: float, rng: np.random.Generator) -> list[Arrival]:
    """Quiet, then within ten minutes the clips of all the people at one place."""
    begin, lasts = seconds / 4, 600.0
    crowd = load * (1 - _BACKGROUND) * seconds / lasts
    return [
        *_even(catalogue(), load * _BACKGROUND, 0.0, seconds, rng),
        *_even(clips(), crowd, begin, begin + lasts, rng),
    ]


#: Every pattern with its name and how long it lasts.
MAKERS: Final[tuple[tuple[str, Maker, float], ...]] = (
    ("steady", steady, 2 * _HOUR),
    ("bursty", bursty, 2 * _HOUR),
    ("diurnal", diurnal, 6 * _HOUR),
    ("giant film", giant_film, 2 * _HOUR),
    ("flash crowd", flash_crowd, 2 * _HOUR),
)


def trace(name: str, load: float, seed: int, *, pace: float = PACE, scale: float = 1.0) -> Trace:
    """The pattern of that name; ``scale`` shortens or lengthens it. Raises KeyError."""
    maker, seconds = {each: (maker, seconds) for each, maker, seconds in MAKERS}[name]
    rng = np.random.default_rng([seed, *name.encode()])
    arrivals = maker(load / pace, seconds * scale, rng)
    return Trace(name, uploads(arrivals, pace, rng), seconds * scale)


def _even(
    shares: Sequence[Share], load: float, begin: float, end: float, rng: np.random.Generator
) -> list[Arrival]:
    """A Poisson stream whose predicted work keeps ``load`` cores busy."""
    count = rng.poisson(load * (end - begin) / mean_work(shares))
    return drawn(rng.uniform(begin, end, count).tolist(), shares, rng)

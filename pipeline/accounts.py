"""What a worker tells the metrics of its runs and of its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

from jobs.metrics import (
    ENCODE_SPEED,
    PART_DURATION,
    PART_RETRIES,
    WORKER_BUSY_SECONDS,
    WORKER_SECONDS,
)
from jobs.tallies import Tallies
from pipeline.runs import Done, Outcome, Retry, Run

#: What a run is called of which nobody knows what it was to make, as one that was overtaken.
_UNKNOWN: Final = "unknown"

#: Lines of the rungs that are told apart.
_USUAL: Final = (144, 240, 360, 480, 720, 1080, 1440, 2160, 4320)


def tally_run(tallies: Tallies, run: Run, outcome: Outcome, seconds: float) -> None:
    """Count a run that is over, and how long it took."""
    kind, rung = made_of(run)
    tallies.observe(PART_DURATION, seconds, (kind, run.codec, rung, ending(run, outcome)))
    if isinstance(outcome, Retry) and outcome.counted:
        tallies.add(PART_RETRIES, (kind,))


def tally_speed(tallies: Tallies, run: Run, film: float, seconds: float) -> None:
    """Note how much film, in seconds, one ffmpeg made in how many of the clock's."""
    if film > 0 and seconds > 0:
        tallies.observe(ENCODE_SPEED, film / seconds, (run.codec, made_of(run)[1]))


def ending(run: Run, outcome: Outcome) -> str:
    """How a run ended, in one word."""
    if isinstance(outcome, Retry):
        return "retried" if outcome.counted else "given_back"
    if not isinstance(outcome, Done):
        return "given_back"
    if run.made:
        return "made"
    if run.failed:
        return "failed"
    return "overtaken" if run.reason is None else "stopped"


def made_of(run: Run) -> tuple[str, str]:
    """The kind of the part, and about how large the largest rung is that it makes, if any.

    Both take few values: sound tracks are all called ``audio``, and a rung of a film's own size
    like the next usual one.
    """
    kind, _, tracks = (run.kind or _UNKNOWN).partition(" ")
    return kind, "audio" if kind == "audio" else _usual(tracks.partition(",")[0])


def _usual(rung: str) -> str:
    """``640p`` is a ``720p``; nothing stays nothing."""
    lines = rung.removesuffix("p")
    if not lines.isdecimal():
        return "other" if rung else ""
    return next((f"{each}p" for each in _USUAL if each >= int(lines)), "other")


class Timesheet:
    """How long a worker has been there, and for how much of that at work."""

    def __init__(
        self, tallies: Tallies, pool: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tallies = tallies
        self._pool = pool
        self._clock = clock
        self._lock = Lock()
        self._busy = False
        self._settled_at = clock()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """A part is in work for the time of the block."""
        self._turn(busy=True)
        try:
            yield
        finally:
            self._turn(busy=False)

    def settle(self) -> None:
        """Count the time up to now, so that a long part is seen while it runs."""
        with self._lock:
            self._count()

    def _turn(self, *, busy: bool) -> None:
        with self._lock:
            self._count()
            self._busy = busy

    def _count(self) -> None:
        now = self._clock()
        seconds, self._settled_at = now - self._settled_at, now
        self._tallies.add(WORKER_SECONDS, (self._pool,), seconds)
        if self._busy:
            self._tallies.add(WORKER_BUSY_SECONDS, (self._pool,), seconds)

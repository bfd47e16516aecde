"""What a worker holds while it works on a part, and what it knows of those before it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from jobs.parts import PartRef, Pool

#: How a run ended: nothing left to do, an error, or given back unfinished.
Ending = Literal["done", "error", "drain"]

#: What has become of a lease: held, held by a run that is to stop, or not the run's any more.
Standing = Literal["held", "stop", "gone"]


@dataclass(frozen=True, slots=True)
class Attempts:
    """Counts of a part's runs. ``starts`` includes the one that runs now, if one does."""

    starts: int = 0
    errors: int = 0
    drains: int = 0
    #: Runs that started and never reported, as when the kernel kills a worker.
    crashes: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """The right of ``owner``, a run, to work on ``ref``."""

    ref: PartRef
    owner: str
    attempts: Attempts
    #: Seconds from its sending to the taking; None where it was not sent, or taken before.
    waited: float | None = dataclasses.field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Cursor:
    """Up to which place in the plan parts have been sent, and how many are on their way.

    ``load`` is how many parts of all videos are worked on, or wait on the queue asked about.
    """

    place: int
    moving: int
    load: int


@dataclass(frozen=True, slots=True)
class Unsent:
    """Parts of one plan that wait for room, and their predicted core-seconds."""

    parts: int = 0
    cost: float = 0.0
    pool: Pool = Pool.CPU


def field(ref: PartRef) -> str:
    """A part's name within its video: ``generation/part``."""
    return f"{ref.generation}/{ref.part}"

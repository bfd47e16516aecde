"""How each media process went, for whoever wants to know: one call when it has ended.

The listener belongs to the context that starts the processes (a worker's thread, and what is run
in a copy of its context), so nothing between there and here has to pass it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """One process that has ended, or that could not be started."""

    #: The program's name, and its arguments without what must not be shown.
    program: str
    argv_shown: tuple[str, ...]
    #: Seconds of wall time and of processor time, and bytes of memory at the most.
    wall: float
    cpu: float = 0.0
    max_rss: int = 0
    #: Exit status, negative for a signal; None where it never ran.
    status: int | None = None
    #: What ended it sooner than it would have ended.
    error: str | None = None


Listener = Callable[[ProcessReport], None]

_LISTENER: Final[ContextVar[Listener | None]] = ContextVar("media_process_listener", default=None)


@contextmanager
def reporting(listener: Listener) -> Iterator[None]:
    """Have ``listener`` told of each process that is run in this block. It must not raise."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def listener() -> Listener | None:
    """Who wants to know, if anybody does."""
    return _LISTENER.get()

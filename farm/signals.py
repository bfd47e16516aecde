"""Ctrl-C in two steps: the first lets running work come to its end, the second does not."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSteps:
    """How far a stop has been asked for.

    Plain numbers, to be looked at now and then: a handler that takes a lock, as setting an event
    does, could meet the main thread holding it.
    """

    def __init__(self) -> None:
        self._asked = 0

    @property
    def drain(self) -> bool:
        """Whether a first step was asked for."""
        return self._asked >= 1

    @property
    def now(self) -> bool:
        """Whether a second one was."""
        return self._asked >= 2

    def ask(self) -> None:
        """Go one step further."""
        self._asked += 1

    @classmethod
    @contextmanager
    def caught(cls) -> Iterator[Self]:
        """Steps that the process's signals take; to be used in the main thread."""
        steps = cls()

        def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
            steps.ask()

        before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
        try:
            yield steps
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

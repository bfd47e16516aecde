"""Ctrl-C in two steps: the first lets running work come to its end, the second does not."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSteps:
    """How far a stop has been asked for."""

    def __init__(self) -> None:
        #: Set by the first signal, and by the second.
        self.drain = threading.Event()
        self.now = threading.Event()

    def ask(self) -> None:
        """Go one step further."""
        (self.now if self.drain.is_set() else self.drain).set()

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

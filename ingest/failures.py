"""The last dead letters, read from storage anew after some seconds at the earliest.

Those who watch a farm ask every second or two, and each letter is an object of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Final, Protocol

import structlog

from catalog.letters import LetterPage
from jobs.letters import DeadLetter
from storage.errors import StorageError

_LOG = structlog.get_logger(__name__)

#: How many are told, and for how many seconds.
KEPT: Final = 10
_FRESH: Final = 5.0
#: Seconds that others wait for the one who reads: a storage may hang for long.
_WAIT: Final = 1.0


class _ReadPage(Protocol):
    def __call__(self, limit: int) -> LetterPage: ...


class RecentFailures:
    """Safe to share between threads, of which one reads at a time and keeps no other for long."""

    def __init__(self, page: _ReadPage, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._page = page
        self._monotonic = monotonic
        self._lock = Lock()
        self._read_at = float("-inf")
        self._letters: tuple[DeadLetter, ...] | None = None

    def __call__(self) -> tuple[DeadLetter, ...] | None:
        """Those of the newest videos; None where the storage does not tell."""
        if not self._lock.acquire(timeout=_WAIT):
            return self._letters
        try:
            if self._monotonic() - self._read_at >= _FRESH:
                self._letters = self._look()
                self._read_at = self._monotonic()
            return self._letters
        finally:
            self._lock.release()

    def _look(self) -> tuple[DeadLetter, ...] | None:
        try:
            return self._page(KEPT).letters
        except StorageError as error:
            _LOG.warning("dead_letters_unknown", error=str(error))
            return None

"""A scaling target that is the operator's own program, run with what is wanted in its environment.

It is started from a list of arguments, never by a shell, and knows nothing of the farm's settings
or secrets. It is to be of the kind that may be told the same twice: it is run when a count
changes, again every few minutes in case somebody else changed the pool, and again after a failure,
with pauses that double. A program that goes on failing is left alone for a while, so that it does
not fill the log nor its provider's limits.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Final, Protocol

import structlog

_LOG = structlog.get_logger(__name__)

#: Seconds after a first failure, and the longest pause between two tries.
_FIRST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 120.0
#: Failures in a row after which it is left alone, and for how many seconds.
OPENS_AFTER: Final = 5
OPEN_FOR: Final = 600.0
#: Seconds after which a count that was carried out is said again.
AGAIN: Final = 300.0
#: Bytes of what a failed program said that are logged.
_TOLD: Final = 2000


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended: its status, None where it was too slow, and its last words."""

    status: int | None
    words: str

    @property
    def well(self) -> bool:
        """Whether it did what it was to do."""
        return self.status == 0


class Execute(Protocol):
    """What runs a program to its end."""

    def __call__(
        self, arguments: Sequence[str], environment: Mapping[str, str], timeout: float
    ) -> Ran: ...


@dataclass(slots=True)
class _Pool:
    wanted: int
    carried_out: int | None = None
    failures: int = 0
    not_before: float = float("-inf")


class CommandTarget:
    """Runs ``arguments`` with POOL, COUNT, BEFORE and REASON added to ``environment``.

    ``counts`` are what a predecessor told. ``timeout`` is in seconds.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        *,
        timeout: float,
        clock: Callable[[], float],
        counts: Mapping[str, int] | None = None,
        execute: Execute | None = None,
    ) -> None:
        self._arguments = tuple(arguments)
        self._environment = dict(environment)
        self._timeout = timeout
        self._clock = clock
        self._execute = execute or run
        self._pools = {name: _Pool(count) for name, count in (counts or {}).items()}

    def count(self, pool: str) -> int:
        """How many workers the pool was last told to have."""
        found = self._pools.get(pool)
        return found.wanted if found else 0

    def scale(self, pool: str, count: int, reason: str) -> None:
        """Have the program run, if it is time to. What it does is its own business."""
        found = self._pools.setdefault(pool, _Pool(count))
        found.wanted, now = count, self._clock()
        new = found.carried_out != count and not found.failures
        if new or now >= found.not_before:
            self._run(pool, found, reason)

    def _run(self, name: str, pool: _Pool, reason: str) -> None:
        before = "" if pool.carried_out is None else str(pool.carried_out)
        told = {"POOL": name, "COUNT": str(pool.wanted), "BEFORE": before, "REASON": reason}
        ran = self._execute(self._arguments, self._environment | told, self._timeout)
        if ran.well:
            pool.carried_out, pool.failures = pool.wanted, 0
            pool.not_before = self._clock() + AGAIN
            return
        pool.failures += 1
        pause = pause_after(pool.failures)
        pool.not_before = self._clock() + pause
        _LOG.error(
            "scale_command_failed", pool=name, count=pool.wanted, status=ran.status,
            failures=pool.failures, again_in=pause, said=ran.words,
        )  # fmt: skip


def pause_after(failures: int) -> float:
    """Seconds before another try after so many failures in a row."""
    if failures >= OPENS_AFTER:
        return OPEN_FOR
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** (failures - 1))


def run(arguments: Sequence[str], environment: Mapping[str, str], timeout: float) -> Ran:
    """Run a program, and end it with all that it started after ``timeout`` seconds."""
    try:
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(environment),
                start_new_session=True,
            )
            return Ran(_status(process, timeout), _last_words(output))
    except OSError as error:
        return Ran(-1, f"it could not be started: {error}")


def _status(process: subprocess.Popen[bytes], timeout: float) -> int | None:
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        # One that runs as another user, as by sudo, may not be ended by us.
        with suppress(PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return None


def _last_words(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - _TOLD))
    return output.read().decode(errors="replace").strip()

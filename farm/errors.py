"""What ends a command, with the exit status that says so to scripts.

::

    FarmError
    ├── SettingsError       2   also the status of a command line that makes no sense
    ├── UnreachableError    3
    ├── NotFoundError       4
    ├── RefusedError        5
    └── StartError          6
"""

from __future__ import annotations

from typing import ClassVar

#: The video errored, or the check of what was made failed.
FAILED = 1
#: Ctrl-C, as shells state it.
INTERRUPTED = 130


class FarmError(Exception):
    """A command cannot go on. The message says what happened and what to do, for people."""

    exit_status: ClassVar[int] = FAILED


class SettingsError(FarmError):
    """A setting or argument makes no sense."""

    exit_status = 2


class UnreachableError(FarmError):
    """No farm answers at the address."""

    exit_status = 3


class NotFoundError(FarmError):
    """There is no such video, dead letter or file."""

    exit_status = 4


class RefusedError(FarmError):
    """The farm answered, and said no."""

    exit_status = 5

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class StartError(FarmError):
    """The farm could not be started, or could not go on."""

    exit_status = 6

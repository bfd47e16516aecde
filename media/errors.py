"""Everything that can go wrong with a media process.

MediaError
├── ToolMissingError         no ffmpeg or ffprobe on this machine
├── UnsafeSourceError        an address that must not be given to ffmpeg
├── NotMediaError            the bytes are no film or sound that we read
│   └── TooCostlyError       describing them takes more than it may
└── RunError                 a run that ended without its result; carries evidence
    ├── NotStartedError      this machine could not start the program  (transient)
    ├── FfmpegFailedError    non-zero exit or a signal
    ├── SourceUnreadableError  the bytes did not all arrive            (transient)
    ├── DeadlineExceededError  still running at the deadline           (transient)
    ├── StalledError         nothing came out for too long             (transient)
    ├── SinkFailedError      whoever took the output raised            (transient)
    └── CanceledError        ended on request

``transient`` says whether the same run may well succeed another time: it is false where the
cause is in the bytes themselves.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import ClassVar


class MediaError(Exception):
    """Base of this package's errors."""

    transient: ClassVar[bool] = False


class ToolMissingError(MediaError):
    """No usable ffmpeg or ffprobe was found."""


class UnsafeSourceError(MediaError):
    """The source is neither an http URL nor an absolute path."""


class NotMediaError(MediaError):
    """ffprobe finds no film and no sound in the source."""

    def __init__(self, message: str, evidence: tuple[str, ...] = ()) -> None:
        super().__init__("; ".join((message, *evidence[-2:])))
        self.evidence = evidence


class TooCostlyError(NotMediaError):
    """ffprobe took more processor time, or said more of the source, than it may."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a run. Nothing in it carries the query string of a URL."""

    argv: tuple[str, ...]
    #: The last lines of stderr.
    stderr: tuple[str, ...] = ()
    #: Exit status; negative for the signal that ended the process; None while unknown.
    exit_code: int | None = None
    wall: float = 0.0
    #: The first line that told of a failure of the graphics processor it used.
    fault: str | None = None

    def describe_exit(self) -> str:
        """The exit in words, such as ``exit status 183`` or ``killed by SIGKILL``."""
        if self.exit_code is None:
            return "no exit status"
        if self.exit_code < 0:
            known = {number.value: number.name for number in signal.Signals}
            return f"killed by {known.get(-self.exit_code, f'signal {-self.exit_code}')}"
        return f"exit status {self.exit_code}"


class RunError(MediaError):
    """A media process did not do what it was started for."""

    def __init__(self, message: str, evidence: Evidence) -> None:
        last = "; ".join(evidence.stderr[-3:]) or "nothing on stderr"
        super().__init__(f"{message} after {evidence.wall:.1f} s: {last}")
        self.evidence = evidence


class NotStartedError(RunError):
    """The program never began: a failure of this machine, which says nothing of the source."""

    transient = True


class FfmpegFailedError(RunError):
    """The process ended with a non-zero status or by a signal that we did not send."""


class SourceUnreadableError(RunError):
    """The connection to the source failed or broke off: ffmpeg has not seen all of its bytes."""

    transient = True

    def __init__(self, message: str, evidence: Evidence, status: int | None = None) -> None:
        super().__init__(message, evidence)
        #: The HTTP status, where the server gave one: 403 for an expired signature, 404 gone.
        self.status = status


class DeadlineExceededError(RunError):
    """The process was still running at its deadline and was ended."""

    transient = True


class StalledError(RunError):
    """The process made no progress for too long and was ended."""

    transient = True


class SinkFailedError(RunError):
    """A sink raised; its exception is the cause. The process was ended."""

    transient = True


class CanceledError(RunError):
    """The run was ended because somebody asked for it."""

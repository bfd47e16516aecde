"""What the media libraries' and the planner's errors mean for a video, in words for a person."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import redis
import structlog

from catalog.errors import CatalogError
from jobs.parts import PartRef
from jobs.records import Problem
from jobs.send import QueueUnavailableError
from media.errors import (
    CanceledError,
    DeadlineExceededError,
    Evidence,
    FfmpegFailedError,
    MediaError,
    NotMediaError,
    NotStartedError,
    RunError,
    SinkFailedError,
    SourceUnreadableError,
)
from pipeline.errors import (
    CERTAIN_TRIES,
    PATIENT_TRIES,
    TRIES,
    PartError,
    PermanentError,
    SupersededError,
    TransientError,
)
from storage.errors import StorageError
from transcoder.cmaf import FragmentError
from transcoder.planner import Unplayable

_LOG = structlog.get_logger(__name__)

#: Addresses and paths, and ffmpeg's names for its own inner parts: nobody's business outside.
_ADDRESS: Final = re.compile(r"\w+://\S+\s*|(?<![\w.])/[\w./-]+:?\s*")
_INNER: Final = re.compile(r"\[[^\]\s]+(?: @ 0x[0-9a-f]+)?\]\s*|\b0x[0-9a-f]{6,}\b")
#: Characters of what ffmpeg said that are told.
_LONGEST: Final = 200

#: Signals by which a process ends itself, or is ended for what it did, over its input.
_OWN_SIGNALS: Final = frozenset(
    {
        *(signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGBUS),
        *(signal.SIGTRAP, signal.SIGSYS, signal.SIGXCPU, signal.SIGXFSZ),
    }
)
#: How ffmpeg and the C library put it (ENOMEM), whatever the exit status.
_NO_MEMORY: Final = re.compile(r"Cannot allocate memory|Out of memory|out of memory")

#: What ffmpeg says where a connection to the source broke off and it took it up again.
_BROKEN: Final = re.compile(r"\bWill reconnect at \d")

#: What ffmpeg ends with where it can make nothing of the bytes (AVERROR_INVALIDDATA & 255).
_INVALID_DATA: Final = 183

_HINTS: Final = {
    "SourceUnreadableError": "Check that the workers reach the storage; then retry.",
    "DeadlineExceededError": "The source takes far longer than predicted; a faster preset helps.",
    "StalledError": "The source or the storage stopped answering; see the worker's log.",
    "SinkFailedError": "Storing a segment failed; see the worker's log and the storage's.",
    "NotStartedError": "A worker's machine cannot start ffmpeg: run `reelfarm doctor` there.",
    "FfmpegFailedError": "The file may be damaged: play it locally, repair or re-export it.",
}


@contextmanager
def explained(ref: PartRef) -> Iterator[None]:
    """Turn every error of a step that is about the video into a :class:`PartError`.

    Outages of storage and Redis are left as they are: they are not the video's fault.
    """
    try:
        yield
    except (PartError, StorageError, CatalogError, redis.RedisError, QueueUnavailableError):
        raise
    except Unplayable as error:
        problem = Problem(code=error.code, message=error.message, hint=error.hint)
        raise PermanentError(problem) from error
    except NotMediaError as error:
        raise PermanentError(_not_media(error)) from error
    except CanceledError as error:
        raise SupersededError(f"part {ref.part} was stopped on request") from error
    except SinkFailedError as error:
        if isinstance(error.__cause__, (PartError, StorageError)):
            raise error.__cause__ from error
        raise TransientError(_failed(ref, error)) from error
    except (MediaError, FragmentError) as error:
        raise TransientError(_failed(ref, error), tries(error)) from error
    except Exception as error:
        _LOG.exception("step_failed")
        raise TransientError(_internal(ref, error)) from error


def is_certain(evidence: Evidence) -> bool:
    """Whether the process ended of itself, over its input, and would do so again.

    A KILL may be the kernel's, short of memory, and a TERM an operator's: another try may do.
    Memory that is refused depends on what else runs on the machine.
    """
    code = evidence.exit_code
    if code is None or any(_NO_MEMORY.search(line) for line in evidence.stderr):
        return False
    return code > 0 or -code in _OWN_SIGNALS


def tries(error: Exception) -> int:
    """How often a part that fails so is tried in all."""
    if isinstance(error, (SourceUnreadableError, NotStartedError)):
        return PATIENT_TRIES
    if isinstance(error, FfmpegFailedError):
        return CERTAIN_TRIES if is_certain(error.evidence) else TRIES
    if isinstance(error, DeadlineExceededError):
        # It has room for a slow machine already, but not for a source that breaks off repeatedly.
        broken = any(_BROKEN.search(line) for line in error.evidence.stderr)
        return TRIES if broken else CERTAIN_TRIES
    return CERTAIN_TRIES if isinstance(error, FragmentError) else TRIES


def plain(line: str) -> str:
    """A line of ffmpeg's for somebody who knows nothing of the farm's inside."""
    return _INNER.sub("", _ADDRESS.sub("", line)).strip()[:_LONGEST]


def _not_media(error: NotMediaError) -> Problem:
    reason = plain(error.evidence[-1] if error.evidence else str(error))
    return Problem(
        code="unsupported_media",
        message=f"The file is not a film or sound that can be read: {reason}",
        hint="Check that it plays locally; upload a video such as MP4, MOV, MKV, WebM or TS.",
    )


def _internal(ref: PartRef, error: Exception) -> Problem:
    return Problem(
        code="internal_error",
        message=f"Part {ref.part} met a fault of the farm itself: {error!r}",
        hint="The worker's log has the traceback; please report it. The upload is kept.",
    )


def _failed(ref: PartRef, error: Exception) -> Problem:
    ended = error.evidence.exit_code if isinstance(error, FfmpegFailedError) else None
    return Problem(
        code="damaged_media" if ended == _INVALID_DATA else "encode_failed",
        message=f"Part {ref.part} could not be made{_reason(error)}",
        hint=_HINTS.get(type(error).__name__, _HINTS["FfmpegFailedError"]),
    )


def _reason(error: Exception) -> str:
    """How the run ended and the last that ffmpeg said; the rest is in the worker's log."""
    if not isinstance(error, RunError):
        return f": {plain(str(error))}"
    last = next((text for line in reversed(error.evidence.stderr) if (text := plain(line))), "")
    ended = error.evidence.describe_exit() if error.evidence.exit_code is not None else ""
    what = ended or plain(str(error).partition(": ")[2].partition(" after ")[0])
    return f" ({what}): {last}" if last else f" ({what})."

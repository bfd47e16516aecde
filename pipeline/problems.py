"""What the media libraries' and the planner's errors mean for a video, in words for a person."""

from __future__ import annotations

import re
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
    MediaError,
    NotMediaError,
    RunError,
    SinkFailedError,
    SourceUnreadableError,
)
from pipeline.errors import (
    PATIENT_TRIES,
    PartError,
    PermanentError,
    SupersededError,
    TransientError,
)
from storage.errors import StorageError
from transcoder.cmaf import FragmentError
from transcoder.planner import Unplayable

_LOG = structlog.get_logger(__name__)

_ADDRESS: Final = re.compile(r"\w+://\S+\s+")

_HINTS: Final = {
    "SourceUnreadableError": "Check that the workers reach the storage; then retry.",
    "DeadlineExceededError": "The source takes far longer than predicted; a faster preset helps.",
    "StalledError": "The source or the storage stopped answering; see the worker's log.",
    "SinkFailedError": "Storing a segment failed; see the worker's log and the storage's.",
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
    except SourceUnreadableError as error:
        raise TransientError(_failed(ref, error), PATIENT_TRIES) from error
    except (MediaError, FragmentError) as error:
        raise TransientError(_failed(ref, error)) from error
    except Exception as error:
        _LOG.exception("step_failed")
        raise TransientError(_internal(ref, error)) from error


def _not_media(error: NotMediaError) -> Problem:
    # What ffprobe says begins with the address it read from, which is no business of the user's.
    reason = _ADDRESS.sub("", error.evidence[-1]) if error.evidence else str(error)
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
    evidence = f" ({error.evidence.describe_exit()})" if isinstance(error, RunError) else ""
    return Problem(
        code="encode_failed",
        message=f"Part {ref.part} could not be made{evidence}: {error}",
        hint=_HINTS.get(type(error).__name__, _HINTS["FfmpegFailedError"]),
    )

"""Writing down what is known of a part that ends its video, before anybody forgets it.

The history of a part's runs is in Redis, which may have been emptied or be away: then the letter
tells less, but it is written all the same.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import datetime

import redis
import structlog

from jobs.leases import Attempts
from jobs.letters import Attempt, AttemptCounts, DeadLetter, RunEvidence, letter_id
from jobs.parts import PartRef
from jobs.records import Problem
from media.errors import Evidence, NotMediaError, RunError
from media.redact import redact, redact_all
from pipeline.bench import Bench
from pipeline.errors import PermanentError
from pipeline.runs import Run
from transcoder.errors import Unplayable

_LOG = structlog.get_logger(__name__)


def is_refusal(error: BaseException | None) -> bool:
    """Whether the input itself is what cannot be taken: its uploader's matter, so no letter."""
    return isinstance(error, PermanentError) and isinstance(
        error.__cause__, NotMediaError | Unplayable
    )


def dead_letter(
    ref: PartRef,
    problem: Problem,
    at: datetime,
    *,
    counts: Attempts | None = None,
    attempts: tuple[Attempt, ...] = (),
    error: BaseException | None = None,
) -> DeadLetter:
    """The letter; ``error`` is what the last run ended with, and leads to ffmpeg's evidence."""
    found = next(_evidence(error), None)
    known = counts or Attempts()
    return DeadLetter(
        id=letter_id(ref),
        video_id=ref.video_id,
        generation=ref.generation,
        part=ref.part,
        problem=problem.model_copy(update={"message": redact(problem.message)}),
        counts=AttemptCounts(crashes=known.crashes, errors=known.errors, drains=known.drains),
        attempts=attempts,
        evidence=None if found is None else _as_document(found),
        created_at=at,
    )


def history(
    bench: Bench, run: Run, problem: Problem, at: datetime, *, failed: bool
) -> tuple[Attempt, ...]:
    """The part's runs up to this one, which counts as one of them if it ``failed``."""
    try:
        known = bench.board.history(run.ref)
    except redis.RedisError as error:
        _LOG.warning("history_unknown", error=str(error))
        known = ()
    earlier = tuple(attempt for attempt in known if attempt.run != run.id)
    if not failed:
        return earlier
    mine = next((attempt for attempt in known if attempt.run == run.id), None)
    mine = mine or Attempt(run=run.id, host=bench.host, ending="error")
    end = {"ended": at, "ending": "error", "code": problem.code, "message": redact(problem.message)}
    return (*earlier, mine.model_copy(update=end))


def _evidence(error: BaseException | None) -> Iterator[Evidence]:
    """What the errors behind ``error`` tell of runs; a sink's error has itself for a cause."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        if isinstance(error, RunError):
            yield error.evidence
        error = error.__cause__


def _as_document(evidence: Evidence) -> RunEvidence:
    code = evidence.exit_code
    ended = code is not None and code < 0
    return RunEvidence(
        argv=redact_all(evidence.argv),
        exit_status=None if ended else code,
        signal=_signal_name(-code) if code is not None and ended else None,
        stderr=redact_all(evidence.stderr),
        seconds=round(evidence.wall, 3),
    )


def _signal_name(number: int) -> str:
    known = {each.value: each.name for each in signal.Signals}
    return known.get(number, f"signal {number}")

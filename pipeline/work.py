"""One part from message to outcome: which step does it, and what its failure means."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import redis
import structlog

from catalog.errors import CatalogError, UnknownVideoError
from catalog.videos import is_terminal, utc_now
from jobs.parts import CLEAN, INSPECT, PartRef
from jobs.records import Problem
from jobs.send import QueueUnavailableError
from jobs.states import State
from pipeline.advance import Advancer
from pipeline.bench import Bench
from pipeline.clean import clean
from pipeline.encode import encode
from pipeline.errors import (
    MAX_CRASHES,
    PartError,
    PermanentError,
    SupersededError,
    TransientError,
)
from pipeline.fail import fail
from pipeline.inspect import inspect
from pipeline.letters import dead_letter, history, is_refusal
from pipeline.pictures import picture
from pipeline.problems import explained
from pipeline.runs import Done, Drained, Outcome, Retry, Run
from storage.errors import StorageError
from transcoder.plan import PICTURES, PartKind

_LOG = structlog.get_logger(__name__)

#: Parts whose crashes end no video: it goes without pictures, and removing is tried again whenever
#: its lease has lapsed.
_UNENDING: Final = frozenset({PICTURES, CLEAN})

#: Seconds before the second attempt, doubled for each further one up to the longest, and spread
#: by half.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Workshop:
    """The handler of every message."""

    bench: Bench
    advancer: Advancer
    jitter: Callable[[], float] = random.random
    clock: Callable[[], datetime] = utc_now

    def __call__(self, run: Run) -> Outcome:
        """Work on a part; whatever becomes of it, the video is moved on.

        Only outages of storage and Redis are raised; the runner tries the message again.
        """
        if self._is_stale(run.ref):
            return Done()
        if run.attempts.crashes >= MAX_CRASHES and run.ref.part not in _UNENDING:
            self._fail(run, _quarantined(run))
        else:
            outcome = self._attempt(run)
            if outcome is not None:
                return outcome
        self.advancer.advance(run.ref.video_id, run.id)
        return Done()

    def _is_stale(self, ref: PartRef) -> bool:
        """Whether the message has been overtaken by events."""
        try:
            record = self.bench.catalog.load_any(ref.video_id)
        except UnknownVideoError:
            return True
        if ref.part == CLEAN or record.state is State.DELETING:
            return not (ref.part == CLEAN and record.state is State.DELETING)
        return is_terminal(record) or record.generation != ref.generation

    def _attempt(self, run: Run) -> Outcome | None:
        """What to tell the runner, or None when the video is to be moved on."""
        try:
            with explained(run.ref):
                return self._step(run)
        except SupersededError as error:
            _LOG.info("part_superseded", reason=str(error))
            if run.reason is None:
                # Somebody was ahead; what is left of the part may be nobody's now.
                return Retry(_FIRST_PAUSE, "superseded", counted=False)
        except (PermanentError, TransientError) as error:
            if run.reason is None:
                return self._failed(run, error)
            _LOG.info("part_stopped", reason=run.reason, error=str(error))
        if run.reason == "stop" and not self._is_stale(run.ref):
            # Meant for an earlier generation: the video was retried in the meantime.
            return Retry(_FIRST_PAUSE, "stopped", counted=False)
        return Drained() if run.reason == "drain" else None

    def _failed(self, run: Run, error: PermanentError | TransientError) -> Outcome | None:
        if isinstance(error, TransientError):
            return self._again(run, error)
        self._fail(run, error.problem, error)
        return None

    def _step(self, run: Run) -> Outcome | None:
        if run.ref.part == CLEAN:
            return clean(self.bench, run.ref)
        if run.ref.part == INSPECT:
            inspect(self.bench, run.ref, run.cancel)
            return None
        plan = self.bench.plans.of(run.ref)
        if plan is None:
            return None
        part = plan.part(run.ref.part)
        if part.kind is PartKind.PICTURES:
            picture(self.bench, run, plan, part)
        else:
            encode(self.bench, run, plan, part, lambda: self._committed(run))
        return None

    def _committed(self, run: Run) -> None:
        """Show viewers a checkpoint; the encoding goes on whether or not that works."""
        run.progressed()
        try:
            self.advancer.advance(run.ref.video_id)
        except (StorageError, CatalogError, redis.RedisError, QueueUnavailableError) as error:
            _LOG.warning("checkpoint_not_published", error=str(error))

    def _again(self, run: Run, error: TransientError) -> Outcome | None:
        errors, problem = run.attempts.errors + 1, error.problem
        if errors >= error.tries:
            self._fail(run, problem, error)
            return None
        pause = pause_after(errors, self.jitter())
        _LOG.warning("part_failed", code=problem.code, message=problem.message, retry_in=pause)
        return Retry(pause, problem.code, message=problem.message)

    def _fail(self, run: Run, problem: Problem, error: PartError | None = None) -> None:
        """End the video; without an ``error`` of this run for what earlier ones did."""
        letter, ref, at = None, run.ref, self.clock()
        if not is_refusal(error):
            attempts = history(self.bench, run, problem, at, failed=error is not None)
            counts = replace(run.attempts, errors=run.attempts.errors + (error is not None))
            letter = dead_letter(ref, problem, at, counts=counts, attempts=attempts, error=error)
        fail(self.bench, ref.video_id, ref.generation, problem, letter)


def pause_after(errors: int, luck: float) -> float:
    """Seconds to wait after so many errors; ``luck``, 0 to 1, keeps parts from coming at once."""
    return min(_FIRST_PAUSE * 2.0 ** (errors - 1), _LONGEST_PAUSE) * (0.5 + luck)


def _quarantined(run: Run) -> Problem:
    crashes = run.attempts.crashes
    return Problem(
        code="worker_crashed",
        message=f"part {run.ref.part} ended its worker {crashes} times without a word",
        hint="Look for the kernel's out-of-memory killer in the workers' logs; then retry.",
    )

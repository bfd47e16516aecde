"""One part from message to outcome: which step does it, and what its failure means."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import redis
import structlog

from catalog.errors import CatalogError, NewerSchemaError, UnknownVideoError
from catalog.videos import is_terminal, utc_now
from jobs.parts import CLEAN, INSPECT, PartRef
from jobs.records import Problem, VideoRecord
from jobs.send import QueueUnavailableError
from jobs.states import State
from pipeline.advance import Advancer
from pipeline.bench import Bench
from pipeline.clean import clean
from pipeline.devices import falls_back, fault_of, has_device
from pipeline.encode import encode
from pipeline.errors import (
    DEVICE_TRIES,
    MAX_CRASHES,
    PartError,
    PermanentError,
    SupersededError,
    TransientError,
)
from pipeline.fail import fail, fall_back
from pipeline.gpu import family_of, on_gpu
from pipeline.inspect import inspect
from pipeline.letters import dead_letter, history, is_refusal
from pipeline.pictures import picture
from pipeline.problems import explained
from pipeline.runs import Done, Drained, Outcome, Retry, Run
from pipeline.spans import part_span, tell_outcome
from storage.errors import StorageError
from transcoder.plan import PICTURES, SOFTWARE, Part, PartKind, Plan

_LOG = structlog.get_logger(__name__)

#: Parts whose crashes end no video: it goes without pictures, and removing is tried again whenever
#: its lease has lapsed.
_UNENDING: Final = frozenset({PICTURES, CLEAN})

#: Seconds before the second attempt, doubled for each further one up to the longest, and spread
#: by half.
_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0

#: Seconds after which a part is offered again that this worker has no device for.
_ELSEWHERE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Workshop:
    """The handler of every message."""

    bench: Bench
    advancer: Advancer
    jitter: Callable[[], float] = random.random
    clock: Callable[[], datetime] = utc_now

    def __call__(self, run: Run) -> Outcome:
        """Work on a part; whatever becomes of it, the video is moved on.

        Only outages of storage and Redis are raised; the runner tries the message again. What a
        newer version of the farm began is left to its workers.
        """
        try:
            return self._worked_on(run)
        except NewerSchemaError as error:
            _LOG.warning("part_left_to_newer_version", reason=str(error))
            return Drained(error.schema)

    def _worked_on(self, run: Run) -> Outcome:
        record = self._current(run.ref)
        if record is None:
            return Done()
        with part_span(self.bench.tracer, run, record) as span:
            outcome = self._moved_on(run)
            tell_outcome(span, run, outcome)
            return outcome

    def _moved_on(self, run: Run) -> Outcome:
        if run.attempts.crashes >= MAX_CRASHES and run.ref.part not in _UNENDING:
            self._fail(run, _quarantined(run))
        else:
            outcome = self._attempt(run)
            if outcome is not None:
                return outcome
        self.advancer.advance(run.ref.video_id, run.id)
        return Done()

    def _current(self, ref: PartRef) -> VideoRecord | None:
        """The record; None where the message has been overtaken by events."""
        try:
            record = self.bench.catalog.load_any(ref.video_id)
        except UnknownVideoError:
            return None
        if ref.part == CLEAN or record.state is State.DELETING:
            return record if ref.part == CLEAN and record.state is State.DELETING else None
        return None if is_terminal(record) or record.generation != ref.generation else record

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
        if run.reason == "stop" and self._current(run.ref) is not None:
            # Meant for an earlier generation: the video was retried in the meantime.
            return Retry(_FIRST_PAUSE, "stopped", counted=False)
        return Drained() if run.reason == "drain" else None

    def _failed(self, run: Run, error: PermanentError | TransientError) -> Outcome | None:
        if isinstance(error, TransientError):
            return self._again(run, error)
        self._fail(run, error.problem, error)
        return None

    def _step(self, run: Run) -> Outcome | None:
        run.kind = run.ref.part if run.ref.part in (CLEAN, INSPECT) else None
        if run.ref.part == CLEAN:
            return clean(self.bench, run.ref)
        if run.ref.part == INSPECT:
            inspect(self.bench, run.ref, run.cancel)
            run.made = run.reason is None
            return None
        plan = self.bench.plans.of(run.ref)
        if plan is None:
            return None
        part = plan.part(run.ref.part)
        run.kind, run.cost, run.codec = described(part), part.cost, codec_of(plan, part)
        if on_gpu(plan, part) and not has_device(self.bench, plan):
            _LOG.warning("part_of_another_device", encoder=family_of(plan))
            return Retry(_ELSEWHERE, "no_such_device", counted=False)
        if part.kind is PartKind.PICTURES:
            picture(self.bench, run, plan, part)
        else:
            encode(self.bench, run, plan, part, lambda: self._committed(run))
        run.made = run.reason is None
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
        tries = error.tries
        if falls_back(self.bench, run.ref, error):
            tries = min(tries, DEVICE_TRIES)
            self._tell_device(error)
        if errors >= tries:
            self._fail(run, problem, error)
            return None
        pause = pause_after(errors, self.jitter())
        _LOG.warning("part_failed", code=problem.code, message=problem.message, retry_in=pause)
        return Retry(pause, problem.code, message=problem.message)

    def _tell_device(self, error: TransientError) -> None:
        """Count it against the device where that is what failed."""
        reason = fault_of(error)
        if self.bench.gpu is not None and reason is not None:
            self.bench.gpu.failed(reason)

    def _fail(self, run: Run, problem: Problem, error: PartError | None = None) -> None:
        """End the video; without an ``error`` of this run for what earlier ones did.

        Where a graphics processor was at work, the video goes on in software instead.
        """
        run.failed = True
        if falls_back(self.bench, run.ref, error):
            fall_back(self.bench, run.ref.video_id, run.ref.generation, problem.message)
            return
        letter, ref, at = None, run.ref, self.clock()
        if not is_refusal(error):
            attempts = history(self.bench, run, problem, at, failed=error is not None)
            counts = replace(run.attempts, errors=run.attempts.errors + (error is not None))
            letter = dead_letter(ref, problem, at, counts=counts, attempts=attempts, error=error)
        fail(self.bench, ref.video_id, ref.generation, problem, letter)


def described(part: Part) -> str:
    """What a part makes, such as ``video 1080p,720p``."""
    return f"{part.kind} {','.join(part.tracks)}".rstrip()


def codec_of(plan: Plan, part: Part) -> str:
    """What a part encodes to: ``h264``, ``h264_nvenc`` on a device; empty for pictures."""
    if part.kind is PartKind.AUDIO:
        return "aac"
    if part.kind is not PartKind.VIDEO or plan.video is None:
        return ""
    return "h264" if plan.video.encoder == SOFTWARE else f"h264_{plan.video.encoder}"


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

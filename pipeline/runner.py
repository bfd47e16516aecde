"""From message to outcome: take the lease, have the handler work, tell the board how it went."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from threading import Event, Lock
from typing import TypeVar, assert_never

import redis
import structlog
from structlog.contextvars import bound_contextvars

from jobs import pace
from jobs.board import Board
from jobs.ids import new_run_id
from jobs.leases import Attempts, Ending, Lease
from jobs.metrics import QUEUE_WAIT
from jobs.parts import INSPECT, PartRef, queue_parts
from jobs.send import QueueUnavailableError, Sender
from jobs.traceparent import TRACE_IDS, parse
from media.redact import redact
from pipeline.accounts import Timesheet, tally_run
from pipeline.keeper import Keeper
from pipeline.presence import Presence
from pipeline.runs import Done, Drained, Handler, Outcome, Retry, Run
from transcoder.cost import LOOK_COST, UNPLANNED_COST

_LOG = structlog.get_logger(__name__)
T = TypeVar("T")

#: Seconds between attempts to reach Redis, and between two reports of progress.
_REDIS_PAUSE = 1.0
_REPORT_EVERY = 0.5


class Runner:
    """Runs parts, one at a time, on the worker's thread."""

    def __init__(
        self,
        board: Board,
        sender: Sender,
        keeper: Keeper,
        presence: Presence,
        handler: Handler,
        *,
        host: str = "",
        pid: int = 0,
        cls: str = "cpu",
        timesheet: Timesheet | None = None,
        jitter: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._host = host
        self._pid = pid
        self._cls = cls
        self._sender = sender
        self._keeper = keeper
        self._presence = presence
        self._handler = handler
        self._jitter = jitter
        self._monotonic = monotonic
        self._timesheet = timesheet or Timesheet(board.tallies, "cpu", monotonic)
        self._lock = Lock()
        self._run: Run | None = None
        self._giving_back = Event()

    def give_back(self) -> None:
        """Cancel what runs, and begin nothing more."""
        with self._lock:
            self._giving_back.set()
            if self._run is not None:
                self._run.stop("drain")

    def __call__(self, ref: PartRef, queue: str, traceparent: str | None = None) -> None:
        """Work on one part. Raises redis.RedisError only where Redis stays away in a drain."""
        owner = new_run_id()
        TRACE_IDS.hint(ref.video_id, traceparent)
        with bound_contextvars(video_id=ref.video_id, part=ref.part, run=owner):
            lease = self._patiently(
                lambda: self._board.take(ref, owner, host=self._host, pid=self._pid)
            )
            if lease is None:
                _LOG.info("part_not_taken", reason="it is worked on elsewhere, or was done before")
                return
            self._work(lease, queue, traceparent)

    def _work(self, lease: Lease, queue: str, traceparent: str | None) -> None:
        run = Run(lease.ref, lease.owner, lease.attempts, self._reporter(lease.ref))
        run.progressed = lambda: self._progressed(run)
        run.queue, run.waited, run.traceparent = queue, lease.waited, traceparent
        started = self._monotonic()
        _LOG.info("part_started", attempt=lease.attempts.starts)
        if lease.waited is not None:
            self._board.tallies.observe(QUEUE_WAIT, lease.waited, (queue,))
        self._presence.busy(run, queue)
        try:
            with self._timesheet.at_work(), self._keeper.hold(lease, run):
                outcome = self._handle(run)
            self._settle(lease, run, outcome, queue)
        finally:
            self._presence.idle()
        seconds = round(self._monotonic() - started, 3)
        tally_run(self._board.tallies, run, outcome, seconds)
        if run.made and lease.attempts.starts == 1:
            self._note_pace(run, seconds)
        _LOG.info("part_ended", outcome=type(outcome).__name__.lower(), seconds=seconds)

    def _note_pace(self, run: Run, seconds: float) -> None:
        """Say how long the part took, of which no earlier run had done anything."""
        board = self._board
        try:
            pace.note(board.client, board.keys.namespace, self._cls, run.cost or 0.0, seconds)
        except redis.RedisError as error:
            _LOG.debug("pace_not_noted", error=str(error))

    def _progressed(self, run: Run) -> None:
        run.attempts = Attempts(starts=1)
        try:
            self._board.progressed(run.ref)
        except redis.RedisError as error:
            _LOG.debug("attempts_not_reset", error=str(error))

    def _handle(self, run: Run) -> Outcome:
        with self._lock:
            if self._giving_back.is_set():
                return Drained()
            self._run = run
        try:
            return self._handler(run)
        except Exception as error:  # noqa: BLE001 - a part is never lost to a bug in its handler
            return self._unforeseen(run, error)
        finally:
            with self._lock:
                self._run = None

    def _unforeseen(self, run: Run, error: Exception) -> Outcome:
        if run.reason == "drain":
            _LOG.info("part_given_back", exc_info=True)
            return Drained()
        if run.reason is not None:
            _LOG.info("part_stopped", reason=run.reason, exc_info=True)
            return Done()
        timings = self._board.timings
        failures = run.attempts.errors + run.attempts.drains
        doubled = timings.retry_first * 2.0 ** min(failures, 16)
        pause = min(timings.retry_longest, doubled) * (0.5 + self._jitter())
        _LOG.exception("part_failed_unforeseen", retry_in=round(pause, 3))
        return Retry(pause, "unforeseen", counted=False, message=redact(repr(error)))

    def _settle(self, lease: Lease, run: Run, outcome: Outcome, queue: str) -> None:
        match outcome:
            case Done():
                self._release(lease, "done")
            case Retry():
                self._release(lease, "error" if outcome.counted else "drain", outcome)
            case Drained():
                self._release(lease, "drain")
                self._send_again(run, queue, outcome.schema)
            case _:
                assert_never(outcome)

    def _release(self, lease: Lease, ending: Ending, retry: Retry | None = None) -> None:
        def release() -> bool:
            if retry is None:
                return self._board.release(lease, ending)
            return self._board.release(
                lease, ending, retry.after, code=retry.reason, message=retry.message
            )

        self._patiently(release)

    def _send_again(self, run: Run, queue: str, schema: int) -> None:
        pool, priority, sent_as = queue_parts(queue)
        try:
            needs, trace = max(schema, sent_as), parse(run.traceparent)
            self._sender.send(run.ref, pool, priority, cost=_cost(run), schema=needs, trace=trace)
        except QueueUnavailableError as error:
            _LOG.warning("part_not_sent", error=str(error))

    def _patiently(self, step: Callable[[], T]) -> T:
        """Do ``step`` once Redis answers, unless the worker may wait no longer."""
        while True:
            try:
                return step()
            except redis.RedisError as error:
                if self._giving_back.wait(_REDIS_PAUSE):
                    raise
                _LOG.warning("redis_unreachable", error=str(error))

    def _reporter(self, ref: PartRef) -> Callable[[float], None]:
        reported_at = float("-inf")

        def report(done: float) -> None:
            nonlocal reported_at
            now = self._monotonic()
            if now - reported_at < _REPORT_EVERY:
                return
            reported_at = now
            try:
                self._board.report(ref, done)
            except redis.RedisError as error:
                _LOG.debug("progress_not_reported", error=str(error))

        return report


def _cost(run: Run) -> float:
    """Predicted core-seconds of a part that is to be done again."""
    if run.cost is not None:
        return run.cost
    return LOOK_COST if run.ref.part == INSPECT else UNPLANNED_COST

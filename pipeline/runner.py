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

from jobs.board import Board
from jobs.ids import new_run_id
from jobs.leases import Attempts, Ending, Lease
from jobs.parts import PartRef, Pool, Priority
from jobs.send import QueueUnavailableError, Sender
from media.redact import redact
from pipeline.keeper import Keeper
from pipeline.presence import Presence
from pipeline.runs import Done, Drained, Handler, Outcome, Retry, Run

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
        jitter: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._host = host
        self._pid = pid
        self._sender = sender
        self._keeper = keeper
        self._presence = presence
        self._handler = handler
        self._jitter = jitter
        self._monotonic = monotonic
        self._lock = Lock()
        self._run: Run | None = None
        self._giving_back = Event()

    def give_back(self) -> None:
        """Cancel what runs, and begin nothing more."""
        with self._lock:
            self._giving_back.set()
            if self._run is not None:
                self._run.stop("drain")

    def __call__(self, ref: PartRef, queue: str) -> None:
        """Work on one part. Raises redis.RedisError only where Redis stays away in a drain."""
        owner = new_run_id()
        with bound_contextvars(video_id=ref.video_id, part=ref.part, run=owner):
            lease = self._patiently(
                lambda: self._board.take(ref, owner, host=self._host, pid=self._pid)
            )
            if lease is None:
                _LOG.info("part_not_taken", reason="it is worked on elsewhere, or was done before")
                return
            self._work(lease, queue)

    def _work(self, lease: Lease, queue: str) -> None:
        run = Run(lease.ref, lease.owner, lease.attempts, self._reporter(lease.ref))
        run.progressed = lambda: self._progressed(run)
        started = self._monotonic()
        _LOG.info("part_started", attempt=lease.attempts.starts)
        self._presence.busy(str(lease.ref))
        try:
            with self._keeper.hold(lease, run):
                outcome = self._handle(run)
            self._settle(lease, outcome, queue)
        finally:
            self._presence.busy(None)
        seconds = round(self._monotonic() - started, 3)
        _LOG.info("part_ended", outcome=type(outcome).__name__.lower(), seconds=seconds)

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

    def _settle(self, lease: Lease, outcome: Outcome, queue: str) -> None:
        match outcome:
            case Done():
                self._release(lease, "done")
            case Retry():
                self._release(lease, "error" if outcome.counted else "drain", outcome)
            case Drained():
                self._release(lease, "drain")
                self._send_again(lease.ref, queue)
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

    def _send_again(self, ref: PartRef, queue: str) -> None:
        pool, priority = queue.split(".")
        try:
            self._sender.send(ref, Pool(pool), Priority(priority))
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

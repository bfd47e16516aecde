"""The thread that keeps a worker's lease alive, and notices when its part is not wanted.

It also sends the broker's heartbeat, which dramatiq itself sends only with other commands: a
worker busy with one long part would otherwise count as dead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock, Thread

import redis
import structlog

from jobs.board import Board
from jobs.broker import FarmBroker
from jobs.leases import Lease
from pipeline.runs import Run

_LOG = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Held:
    lease: Lease
    run: Run
    renewed_at: float


class Keeper:
    """Keeps one lease at a time. ``start``, then ``stop``; ``tick`` is one round."""

    def __init__(
        self,
        board: Board,
        broker: FarmBroker,
        tell: Callable[[], None],
        *,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._board = board
        self._broker = broker
        self._tell = tell
        self._monotonic = monotonic
        self._wall = wall
        self._lock = Lock()
        self._held: _Held | None = None
        self._beaten_at = float("-inf")
        self._stop = Event()
        self._thread = Thread(target=self._run, name="keeper", daemon=True)

    def start(self) -> None:
        """Keep from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Keep no more."""
        self._stop.set()
        self._thread.join(2 * self._board.timings.poll_every)

    @contextmanager
    def hold(self, lease: Lease, run: Run) -> Iterator[None]:
        """Keep ``lease`` for the time of the block; once it is left, nothing renews it."""
        with self._lock:
            self._held = _Held(lease, run, self._monotonic())
        try:
            yield
        finally:
            with self._lock:
                self._held = None

    def tick(self) -> None:
        """Look after the lease, and now and then say that the worker lives."""
        with self._lock:
            if self._held is not None:
                self._look_after(self._held)
        now = self._monotonic()
        if now - self._beaten_at >= self._board.timings.renew_every:
            self._beaten_at = now
            self._broker.beat(self._wall())
            self._tell()

    def _look_after(self, held: _Held) -> None:
        if held.run.reason == "lost":
            return
        standing = self._board.standing(held.lease)
        if standing == "stop":
            held.run.stop("stop")
        now = self._monotonic()
        if standing == "gone" or now - held.renewed_at >= self._board.timings.renew_every:
            self._renew(held, now)

    def _renew(self, held: _Held, now: float) -> None:
        if self._board.renew(held.lease):
            held.renewed_at = now
        else:
            ref = held.lease.ref
            _LOG.warning("lease_lost", video_id=ref.video_id, part=ref.part, run=held.lease.owner)
            held.run.stop("lost")

    def _run(self) -> None:
        while not self._stop.wait(self._board.timings.poll_every):
            try:
                self.tick()
            except redis.RedisError as error:
                _LOG.warning("lease_not_renewed", error=str(error))
            except Exception:  # noqa: BLE001 - without this thread the lease would lapse
                _LOG.exception("keeper_failed")

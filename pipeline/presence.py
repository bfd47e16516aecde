"""What a worker process tells the farm of itself; telling is never worth failing for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from threading import Lock

import redis

from jobs.board import Board
from jobs.workers import WorkerInfo, announce, withdraw
from pipeline.runs import Run


class Presence:
    """Keeps the worker's announcement true."""

    def __init__(self, board: Board, info: WorkerInfo, now: Callable[[], float]) -> None:
        self._board = board
        self._info = info
        self._now = now
        self._lock = Lock()
        self._run: Run | None = None
        self._gone = False

    def tell(self) -> None:
        """Repeat the announcement before it fades."""
        with self._lock, contextlib.suppress(redis.RedisError):
            if not self._gone:
                namespace, ttl = self._board.keys.namespace, self._board.timings.worker_ttl
                announce(self._board.client, namespace, self._known(), ttl=ttl, now=self._now())

    def busy(self, run: Run, queue: str) -> None:
        """Tell which part the worker is on; what becomes known of it goes with later words."""
        with self._lock:
            self._run = run
            self._info = self._info.busy(str(run.ref), self._now(), queue=queue)
        self.tell()

    def idle(self) -> None:
        """Tell that the worker is on no part."""
        with self._lock:
            self._run = None
            self._info = self._info.busy(None, None)
        self.tell()

    def draining(self) -> None:
        """Tell that the worker takes no more parts."""
        with self._lock:
            self._info = replace(self._info, draining=True)
        self.tell()

    def withdraw(self) -> None:
        """Tell that the worker is gone."""
        with self._lock, contextlib.suppress(redis.RedisError):
            self._gone = True
            withdraw(self._board.client, self._board.keys.namespace, self._info.name)

    def _known(self) -> WorkerInfo:
        run = self._run
        if run is None:
            return self._info
        return replace(self._info, kind=run.kind, cost=run.cost, speed=run.speed)

"""What a worker process tells the farm of itself; telling is never worth failing for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from threading import Lock

import redis

from jobs.board import Board
from jobs.workers import WorkerInfo, announce, withdraw


class Presence:
    """Keeps the worker's announcement true."""

    def __init__(self, board: Board, info: WorkerInfo, now: Callable[[], float]) -> None:
        self._board = board
        self._info = info
        self._now = now
        self._lock = Lock()
        self._gone = False

    def tell(self) -> None:
        """Repeat the announcement before it fades."""
        with self._lock, contextlib.suppress(redis.RedisError):
            if not self._gone:
                namespace, ttl = self._board.keys.namespace, self._board.timings.worker_ttl
                announce(self._board.client, namespace, self._info, ttl=ttl, now=self._now())

    def busy(self, part: str | None) -> None:
        """Tell which part the worker is on, or that it is on none."""
        with self._lock:
            self._info = self._info.busy(part, self._now() if part else None)
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

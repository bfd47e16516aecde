"""A worker process: one slot, from its first fetch to a drain that loses nothing.

The first signal stops fetching and lets the part in work come to its end within the drain
time-out. A second one, that time-out, or the end of the supervisor gives the part back at once:
it is canceled, its lease released, its message sent again.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from queue import Empty, SimpleQueue
from threading import Thread
from types import FrameType
from typing import Literal

import structlog
from dramatiq import Worker

from jobs.board import Board
from jobs.broker import FarmBroker
from jobs.gauges import slot
from jobs.parts import Pool, queue_names
from jobs.send import Sender
from jobs.workers import WorkerInfo
from pipeline.accounts import Timesheet
from pipeline.actors import declare_actors
from pipeline.doorbell import Doorbell
from pipeline.gate import Gate
from pipeline.keeper import Keeper
from pipeline.presence import Presence
from pipeline.runner import Runner
from pipeline.runs import Done, Drained, Handler, Outcome, Reason, Retry, Run

__all__ = [
    "Done",
    "Drained",
    "Handler",
    "Outcome",
    "Reason",
    "Retry",
    "Run",
    "WorkerProcess",
    "serve",
]

_LOG = structlog.get_logger(__name__)

#: Milliseconds between two looks of dramatiq's threads at whether to end.
_THREAD_TIMEOUT = 250

#: Seconds after which the main thread looks up from waiting: a signal that the kernel gave to
#: another thread does not wake it, and Python runs its handler in the main thread alone.
_GLANCE = 0.5

#: What wakes the main thread: a signal, the supervisor's end, or the part's end.
_Word = Literal["signal", "orphaned", "idle"]


class WorkerProcess:
    """One slot's worth of worker. ``run`` blocks until it has drained."""

    def __init__(
        self,
        broker: FarmBroker,
        board: Board,
        pools: tuple[Pool, ...],
        handler: Handler,
        *,
        name: str,
        drain_timeout: float,
        admits: Callable[[], bool] = lambda: True,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        queues = queue_names(pools)
        self._board = board
        self._drain_timeout = drain_timeout
        self._monotonic = monotonic
        # SimpleQueue.put is reentrant, so that a signal handler may call it; an Event's set is not.
        self._words: SimpleQueue[_Word] = SimpleQueue()
        info = WorkerInfo(
            name,
            socket.gethostname(),
            os.getpid(),
            pools,
            wall(),
            cls="gpu" if "gpu" in pools else "cpu",
            version=version("reelfarm"),
        )
        self._presence = Presence(board, info, wall)
        self._timesheet = Timesheet(board.tallies, slot(pools), monotonic)
        self._keeper = Keeper(board, broker, self._tell, monotonic=monotonic, wall=wall)
        self._runner = Runner(
            board,
            Sender(broker, board),
            self._keeper,
            self._presence,
            handler,
            host=info.host,
            pid=info.pid,
            cls=info.cls,
            timesheet=self._timesheet,
            jitter=jitter,
            monotonic=monotonic,
        )
        self._gate = Gate(
            broker,
            queues,
            fetch_every=board.timings.fetch_every,
            on_idle=lambda: self._words.put("idle"),
            admits=admits,
            jitter=jitter,
        )
        self._doorbell = Doorbell(board.client, board.keys, queues, self._gate.ring)
        broker.consumers = self._gate.consumer
        declare_actors(broker, self._runner)
        self._worker = Worker(
            broker, queues=set(queues), worker_threads=1, worker_timeout=_THREAD_TIMEOUT
        )

    def stop(self) -> None:
        """Drain; called again, give the part back. Safe in a signal handler."""
        self._words.put("signal")

    def orphaned(self) -> None:
        """Give the part back and end, as nobody looks after this worker any more."""
        self._words.put("orphaned")

    def run(self, on_ready: Callable[[], None] = lambda: None) -> int:
        """Work until told to stop. The exit code: 0, or 1 if the part would not end."""
        self._keeper.start()
        self._doorbell.start()
        self._worker.start()
        self._tell()
        on_ready()
        try:
            drained = self._drain(self._next_word())
        finally:
            self._close()
        return 0 if drained else 1

    def _drain(self, word: _Word) -> bool:
        """Let the part in work end, by itself or canceled; False if it does not."""
        _LOG.info("worker_draining", cause=word)
        self._gate.drain()
        self._presence.draining()
        patience = 0.0 if word == "orphaned" else self._drain_timeout
        if self._idle_within(patience):
            return True
        _LOG.info("part_to_be_given_back")
        self._runner.give_back()
        if self._idle_within(self._board.timings.cancel_grace, heed_signals=False):
            return True
        _LOG.error("part_would_not_end", grace=self._board.timings.cancel_grace)
        return False

    def _next_word(self) -> _Word:
        """The first word that asks to stop."""
        while True:
            with suppress(Empty):
                word = self._words.get(timeout=_GLANCE)
                if word != "idle":
                    return word

    def _idle_within(self, seconds: float, *, heed_signals: bool = True) -> bool:
        """Whether the slot gets free in time, and before the next request to stop."""
        deadline = self._monotonic() + seconds
        while self._gate.busy:
            left = deadline - self._monotonic()
            if left <= 0:
                return False
            try:
                word = self._words.get(timeout=min(left, _GLANCE))
            except Empty:
                continue
            if word != "idle" and heed_signals:
                return not self._gate.busy
        return True

    def _close(self) -> None:
        self._gate.close()
        self._worker.stop(timeout=2 * _THREAD_TIMEOUT)
        self._doorbell.stop()
        self._keeper.stop()
        self._presence.withdraw()
        self._flush(last=True)
        _LOG.info("worker_ended")

    def _tell(self) -> None:
        self._presence.tell()
        self._flush()

    def _flush(self, *, last: bool = False) -> None:
        """Send what was counted; what Redis does not take goes the next time."""
        self._timesheet.settle()
        board = self._board
        board.tallies.flush(board.client, board.keys.namespace, last=last)


def serve(
    broker: FarmBroker,
    board: Board,
    pools: tuple[Pool, ...],
    handler: Handler,
    *,
    drain_timeout: float,
    name: str,
    supervised: bool = False,
    on_ready: Callable[[], None] = lambda: None,
    admits: Callable[[], bool] = lambda: True,
) -> int:
    """Be a worker process, in its main thread, until a signal has it drained.

    ``drain_timeout`` is in seconds. Nothing is fetched while ``admits()`` is false. A
    ``supervised`` worker also ends when its standard input is closed, as by the death of the
    process that started it. Returns the exit code.
    """
    worker = WorkerProcess(
        broker, board, pools, handler, name=name, drain_timeout=drain_timeout, admits=admits
    )
    with _signals(worker.stop):
        if supervised:
            Thread(target=_watch_stdin, args=(worker.orphaned,), daemon=True).start()
        return worker.run(on_ready)


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def _watch_stdin(orphaned: Callable[[], None]) -> None:
    """Plain reads: a thread inside a buffered one would block the interpreter's end."""
    descriptor = sys.stdin.fileno()
    while os.read(descriptor, 4096):
        pass
    orphaned()

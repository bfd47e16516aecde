"""The net under everything: what has stalled is looked at again.

Any number of processes offer to sweep; the one that holds a short lease does. Every second it
hands on the parts of workers that died and those that have waited after an error. Now and then,
and soon after Redis was emptied, it goes through the durable to-do list in storage, and returns
the messages of dead workers to their queues.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from threading import Event

import redis
import structlog

from jobs.board import Board
from jobs.broker import FarmBroker
from jobs.parts import PartRef

_LOG = structlog.get_logger(__name__)

#: Videos asked about at once.
_BATCH = 200

#: Seconds after which the inbox is tried again that could not be read, and the longest pause
#: before a video is tried again that could not be advanced.
_INBOX_RETRY = 5.0
_LONGEST_PAUSE = 30.0


@dataclass(slots=True)
class _Stalled:
    """A video that is to be advanced, not before ``at``."""

    at: float
    pause: float = 1.0


class Sweeper:
    """One candidate. ``run`` blocks; ``tick`` is one round.

    ``waiting`` lists the videos that are accepted or deleting, ``advance`` moves one on,
    ``housekeep`` removes what has expired; each may raise anything. ``broker`` is one that
    ``maintains``.
    """

    def __init__(
        self,
        board: Board,
        broker: FarmBroker,
        waiting: Callable[[], Iterable[str]],
        advance: Callable[[str], None],
        *,
        owner: str,
        housekeep: Callable[[], object] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._broker = broker
        self._waiting = waiting
        self._advance = advance
        self._owner = owner
        self._housekeep = housekeep
        self._housekeep_at = 0.0
        self._monotonic = monotonic
        self._stalled: dict[str, _Stalled] = {}
        self._leading = False
        #: Whether the live record may lack parts of videos that it knows.
        self._distrust = False
        self._inbox_at = 0.0

    def run(self, stop: Event) -> None:
        """Sweep, or stand by to, until ``stop`` is set."""
        failing = False
        while not stop.wait(self._board.timings.sweep_every):
            try:
                self.tick()
                failing = False
            except redis.RedisError as error:
                if not failing:
                    _LOG.warning("sweep_delayed", error=str(error))
                failing = True
            except Exception:  # noqa: BLE001 - nothing may end the net under everything
                _LOG.exception("sweep_failed")
        self._retire()

    def tick(self) -> None:
        """One round, if it is this candidate's turn. Raises redis.RedisError."""
        if not self._elected():
            return
        self._wake(self._board.expired(), "lease_lapsed")
        self._wake(self._board.due(), "retry_due")
        for video_id in self._board.awake():
            self._note(video_id)
        self._check_sentinel()
        if self._monotonic() >= self._inbox_at:
            self._sweep_inbox()
        self._advance_stalled()
        if self._monotonic() >= self._housekeep_at:
            self._keep_house()

    def _elected(self) -> bool:
        leads = self._board.lead(self._owner)
        if leads and not self._leading:
            _LOG.info("sweeper_elected", owner=self._owner)
            self._inbox_at = self._monotonic()
        self._leading = leads
        return leads

    def _wake(self, refs: Iterable[PartRef], cause: str) -> None:
        for ref in refs:
            _LOG.info(cause, video_id=ref.video_id, part=ref.part)
            self._note(ref.video_id)

    def _note(self, video_id: str) -> None:
        self._stalled.setdefault(video_id, _Stalled(self._monotonic()))

    def _check_sentinel(self) -> None:
        if self._board.sentinel_lost():
            _LOG.info("live_record_empty", cause="Redis is new, or was emptied")
            self._board.plant_sentinel()
            self._distrust = True
            self._inbox_at = self._monotonic() + self._board.timings.resume_after

    def _sweep_inbox(self) -> None:
        self._inbox_at = self._monotonic() + min(_INBOX_RETRY, self._board.timings.inbox_every)
        for queue in sorted(self._broker.get_declared_queues()):
            self._broker.maintain(queue)
        try:
            for batch in _batches(self._waiting()):
                self._look_at(batch)
        except redis.RedisError:
            raise
        except Exception:  # noqa: BLE001 - an outage of storage, whatever it raises
            _LOG.exception("inbox_unreadable")
            return
        self._distrust = False
        self._inbox_at = self._monotonic() + self._board.timings.inbox_every

    def _keep_house(self) -> None:
        self._housekeep_at = self._monotonic() + self._board.timings.housekeep_every
        try:
            self._housekeep()
        except Exception:  # noqa: BLE001 - an outage of storage; the next round comes
            _LOG.exception("housekeeping_failed")

    def _look_at(self, video_ids: list[str]) -> None:
        for video_id, moving in zip(video_ids, self._board.in_flight(video_ids), strict=True):
            if moving:
                self._wake(self._board.lost(video_id), "message_lost")
            if self._distrust or not moving:
                self._note(video_id)

    def _advance_stalled(self) -> None:
        now = self._monotonic()
        for video_id in [name for name, stalled in self._stalled.items() if stalled.at <= now]:
            self._board.lead(self._owner)
            self._advance_one(video_id)

    def _advance_one(self, video_id: str) -> None:
        try:
            self._advance(video_id)
        except Exception:  # noqa: BLE001 - one video must not hold up the others
            stalled = self._stalled[video_id]
            stalled.at = self._monotonic() + stalled.pause
            _LOG.exception("video_not_advanced", video_id=video_id, again_in=stalled.pause)
            stalled.pause = min(_LONGEST_PAUSE, 2 * stalled.pause)
        else:
            del self._stalled[video_id]

    def _retire(self) -> None:
        try:
            self._board.resign(self._owner)
        except redis.RedisError as error:
            _LOG.debug("sweeper_not_resigned", error=str(error))


def _batches(video_ids: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(video_ids)
    while batch := list(islice(iterator, _BATCH)):
        yield batch

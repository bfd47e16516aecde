"""The net under everything: what has stalled is looked at again.

Any number of processes offer to sweep; the one that holds a short lease does. Every second it
hands on the parts of workers that died and those that have waited after an error. Now and then it
returns the messages of dead workers to their queues, and, soon after Redis was emptied, too, it
goes through the durable to-do list in storage. However long that list is, and however slowly the
storage answers, the look of every second goes on in between, and what it finds goes first.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from threading import Event, Thread

import redis
import structlog

from catalog.errors import NewerSchemaError
from jobs.board import Board
from jobs.broker import FarmBroker
from jobs.metrics import LEASE_EXPIRIES, MESSAGES_LOST
from jobs.parts import PartRef

_LOG = structlog.get_logger(__name__)

#: Videos asked about at once, and videos advanced at once.
_BATCH = 200
_ADVANCERS = 8

#: Seconds after which the inbox is tried again that could not be read, and the longest pause
#: before a video is tried again that could not be advanced.
_INBOX_RETRY = 5.0
_LONGEST_PAUSE = 30.0

#: Going through the inbox is followed by so many times the time it took without: where very many
#: videos wait, the net under them takes a tenth of the sweeper's time. In seconds, the longest.
_INBOX_SHARE = 9.0
_INBOX_PAUSE = 300.0

#: Seconds for which a video is not looked at that only newer versions of the farm can move on.
_NEWER_PAUSE = 300.0


#: What is counted of what is found astray, by its cause.
_STRAYED = {"lease_lapsed": LEASE_EXPIRIES, "message_lost": MESSAGES_LOST}


@dataclass(slots=True)
class _Stalled:
    """A video that is to be advanced, not before ``at``."""

    at: float
    pause: float = 1.0


class _DeposedError(Exception):
    """Another candidate sweeps by now."""


class Sweeper:
    """One candidate. ``run`` blocks; ``tick`` is one round.

    ``waiting`` lists the videos that are accepted or deleting, ``advance`` moves one on, several
    at a time, ``housekeep`` removes what has expired, in a thread of its own; each may raise
    anything. ``strands`` tells whether parts that are on their way may wait for what does not come.
    ``broker`` is one that ``maintains``. What is to be advanced is known to the thread
    of the rounds alone; the threads that advance only return.
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
        strands: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._broker = broker
        self._waiting = waiting
        self._advance = advance
        self._owner = owner
        self._housekeep = housekeep
        self._strands = strands
        self._housekeep_at = 0.0
        self._housekeeper: Thread | None = None
        self._monotonic = monotonic
        self._pool = ThreadPoolExecutor(_ADVANCERS, thread_name_prefix="advance")
        #: First what is urgent, then by when it was noted.
        self._stalled: OrderedDict[str, _Stalled] = OrderedDict()
        #: Videos in work, and the pause before another try should this one fail.
        self._working: dict[str, tuple[Future[None], float]] = {}
        #: Videos that only newer versions can move on, and until when they are not looked at.
        self._newer: dict[str, float] = {}
        self._leading = False
        #: Whether the live record may lack parts of videos that it knows.
        self._distrust = False
        self._incarnation = ""
        self._restarted_at = float("-inf")
        self._inbox_at = 0.0
        self._maintain_at = 0.0
        self._watched_at = 0.0

    def run(self, stop: Event) -> None:
        """Sweep, or stand by to, until ``stop`` is set."""
        failing = False
        every = self._board.timings.sweep_every
        began = self._monotonic()
        while not stop.wait(max(0.0, began + every - self._monotonic())):
            began = self._monotonic()
            try:
                self.tick()
                failing = False
            except redis.RedisError as error:
                if not failing:
                    _LOG.warning("sweep_delayed", error=str(error))
                failing = True
                # What was accepted meanwhile has no message.
                self._inbox_at = min(self._inbox_at, self._soon)
            except Exception:  # noqa: BLE001 - nothing may end the net under everything
                _LOG.exception("sweep_failed")
        self._retire()

    def tick(self) -> None:
        """One round, if it is this candidate's turn. Raises redis.RedisError.

        It lasts for as long as videos get done; those that hang are left to later rounds.
        """
        try:
            self._lead()
            self._round()
        except _DeposedError:
            self._stalled.clear()
            self._newer.clear()
        except redis.RedisError:
            # What was given out by a call whose answer got lost is noted nowhere.
            self._distrust = True
            raise

    def _round(self) -> None:
        self._watch()
        if self._monotonic() >= self._inbox_at:
            self._sweep_inbox()
        self._advance_stalled()
        if self._monotonic() >= self._housekeep_at:
            self._keep_house()

    def _watch(self) -> None:
        """What is done every second, whatever else there is to do."""
        self._watched_at = self._monotonic()
        # Each is given out once, so that it is noted before the next call, which may fail.
        self._note_urgent(self._named(self._board.expired(), "lease_lapsed"))
        self._note_urgent(self._named(self._board.due(), "retry_due"))
        self._note_urgent(self._board.awake())
        self._check_sentinel()
        self._begin_advancing()
        if self._monotonic() >= self._maintain_at:
            self._maintain()

    def _keep_watch(self) -> None:
        """In the middle of long work: look whether a second has passed."""
        if self._monotonic() - self._watched_at >= self._board.timings.sweep_every:
            self._lead()
            self._watch()

    def _lead(self) -> None:
        """Become or remain the one that sweeps. Raises :class:`_DeposedError`."""
        led, self._leading = self._leading, self._board.lead(self._owner)
        if not self._leading:
            raise _DeposedError
        if not led:
            _LOG.info("sweeper_elected", owner=self._owner)
            # What another one was about to do, or saw happen to Redis, is not known here.
            self._distrust = True
            self._incarnation = ""
            self._inbox_at = self._maintain_at = self._monotonic()

    def _named(self, refs: Iterable[PartRef], cause: str) -> Iterator[str]:
        for ref in refs:
            _LOG.info(cause, video_id=ref.video_id, part=ref.part)
            if cause in _STRAYED:
                self._board.tallies.add(_STRAYED[cause])
            yield ref.video_id

    def _note(self, video_id: str) -> None:
        self._stalled.setdefault(video_id, _Stalled(self._monotonic()))

    def _note_urgent(self, video_ids: Iterable[str]) -> None:
        """To be advanced before all others, and at once, even after a try that failed."""
        for video_id in video_ids:
            self._note(video_id)
            self._stalled[video_id].at = self._monotonic()
            self._stalled.move_to_end(video_id, last=False)

    def _check_sentinel(self) -> None:
        if self._board.sentinel_lost():
            _LOG.info("live_record_empty", cause="Redis is new, or was emptied")
            self._board.plant_sentinel()
            self._distrust = True
            self._inbox_at = self._soon
        known, now = self._incarnation, self._board.incarnation()
        self._incarnation = now or known
        if known not in ("", self._incarnation):
            self._doubt()

    def _doubt(self) -> None:
        """Redis was started anew, or a proxy asks several: then not at each of their answers."""
        again = self._restarted_at + self._board.timings.inbox_every
        if self._distrust and self._monotonic() < again:
            return
        _LOG.info("redis_restarted", cause="what was last written or sent to it may be lost")
        self._restarted_at = max(self._monotonic(), again)
        self._distrust = True
        self._inbox_at = min(self._inbox_at, max(self._soon, again))

    @property
    def _soon(self) -> float:
        return self._monotonic() + self._board.timings.resume_after

    def _maintain(self) -> None:
        """Return the messages of dead workers to their queues."""
        every = self._board.timings.inbox_every
        self._maintain_at = self._monotonic() + min(_INBOX_RETRY, every)
        for queue in sorted(self._broker.get_declared_queues()):
            self._broker.maintain(queue)
        self._maintain_at = self._monotonic() + every

    def _sweep_inbox(self) -> None:
        """Note what does not move. What is a reason for another look meanwhile is kept."""
        timings = self._board.timings
        distrust, self._distrust = self._distrust or self._strands(), False
        began = self._monotonic()
        planned = self._inbox_at = began + timings.inbox_every
        try:
            self._look_through(distrust)
            if self._inbox_at == planned:
                now = self._monotonic()
                pause = min(_INBOX_SHARE * (now - began), _INBOX_PAUSE)
                self._inbox_at = max(planned, now + pause)
        except Exception as error:
            self._distrust |= distrust
            soon = self._monotonic() + min(_INBOX_RETRY, timings.inbox_every)
            self._inbox_at = min(self._inbox_at, soon)
            if isinstance(error, (redis.RedisError, _DeposedError)):
                raise
            _LOG.exception("inbox_unreadable")  # an outage of storage, whatever it raises

    def _look_through(self, distrust: bool) -> None:
        for batch in _batches(self._watched(self._waiting())):
            moving = self._moving(batch)
            for video_id in batch:
                if (distrust or video_id not in moving) and not self._is_left(video_id):
                    self._note(video_id)

    def _watched(self, video_ids: Iterable[str]) -> Iterator[str]:
        """The same; a storage that lists slowly does not keep us from the leases."""
        for video_id in video_ids:
            yield video_id
            self._keep_watch()

    def _moving(self, video_ids: list[str]) -> set[str]:
        """Those of which parts are on their way, unless one got lost."""
        found = zip(video_ids, self._board.in_flight(video_ids), strict=True)
        moving = {video_id for video_id, moves in found if moves}
        lost = set(self._named(self._board.lost(*sorted(moving)), "message_lost"))
        return moving - lost

    def _advance_stalled(self) -> None:
        """Go on until nothing is due, or for a second nothing gets done."""
        every = self._board.timings.sweep_every
        self._begin_advancing()
        done_at = self._monotonic()
        while self._working and self._monotonic() - done_at < every:
            left = self._watched_at + every - self._monotonic()
            futures = [future for future, _ in self._working.values()]
            if wait(futures, timeout=max(0.0, left), return_when=FIRST_COMPLETED).done:
                done_at = self._monotonic()
            self._keep_watch()
            self._begin_advancing()

    def _begin_advancing(self) -> None:
        """Take note of what got done, and put what is due in its place."""
        for video_id, (future, pause) in list(self._working.items()):
            if future.done():
                del self._working[video_id]
                self._conclude(video_id, pause, future.exception())
        while len(self._working) < _ADVANCERS and (due := self._next()) is not None:
            pause = self._stalled.pop(due).pause
            self._working[due] = self._pool.submit(self._advance, due), pause

    def _next(self) -> str | None:
        """What is due; a video in work that was noted anew comes after that."""
        now = self._monotonic()
        due = (
            video_id
            for video_id, stalled in self._stalled.items()
            if stalled.at <= now and video_id not in self._working
        )
        return next(due, None)

    def _conclude(self, video_id: str, pause: float, error: BaseException | None) -> None:
        """One video that fails must not hold up the others."""
        if error is None:
            return
        if not isinstance(error, Exception):
            raise error
        if isinstance(error, NewerSchemaError):
            self._leave(video_id, error)
            return
        _LOG.error("video_not_advanced", video_id=video_id, again_in=pause, exc_info=error)
        again = self._stalled.setdefault(video_id, _Stalled(self._monotonic() + pause))
        again.pause = min(_LONGEST_PAUSE, 2 * pause)

    def _leave(self, video_id: str, error: NewerSchemaError) -> None:
        """Let those move it on that can; one of them sweeps as soon as there is one."""
        tell = _LOG.debug if self._newer else _LOG.warning
        tell("video_left_to_newer_version", video_id=video_id, reason=str(error))
        self._newer[video_id] = self._monotonic() + _NEWER_PAUSE

    def _is_left(self, video_id: str) -> bool:
        until = self._newer.get(video_id)
        return until is not None and self._monotonic() < until

    def _keep_house(self) -> None:
        """Begin it, unless the last one goes on: after many deletions it takes minutes."""
        self._housekeep_at = self._monotonic() + self._board.timings.housekeep_every
        if self._housekeeper is None or not self._housekeeper.is_alive():
            self._housekeeper = Thread(target=self._clean_up, name="housekeeping", daemon=True)
            self._housekeeper.start()

    def _clean_up(self) -> None:
        try:
            self._housekeep()
        except Exception:  # noqa: BLE001 - an outage of storage; the next round comes
            _LOG.exception("housekeeping_failed")

    def _retire(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        try:
            self._board.resign(self._owner)
        except redis.RedisError as error:
            _LOG.debug("sweeper_not_resigned", error=str(error))


def _batches(video_ids: Iterable[str]) -> Iterator[list[str]]:
    iterator = iter(video_ids)
    while batch := list(islice(iterator, _BATCH)):
        yield batch

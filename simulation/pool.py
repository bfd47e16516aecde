"""One pool through a trace, event by event, under a policy. Pure.

Events happen in the order of their times, those at one time in the order in which they were
planned. Modelled are: films in parts with a window of them on their way; heads first; workers that
take their time to start, and finish their part when they are to go; decisions every so often by a
demand that is somewhat old and by predictions that are wrong. Not modelled: parts that fail, hosts
that die, cores shared by more slots than there are, and what a message or a receipt costs.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from autoscaler.policy import PoolDemand
from jobs.pace import MEMORY, pace
from simulation.crew import Crew
from simulation.platforms import Platform
from simulation.shelf import LOOK_AT, Piece, Shelf
from simulation.traces import Trace

#: Seconds between two counts of the workers by those who send parts.
_COUNT_EVERY = 5.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What a policy decides by, as it was at ``at``. Work is in worker-seconds, by the pace."""

    at: float
    demand: PoolDemand
    #: Workers that take parts, and those of them and of the drained ones that have one.
    serving: int
    busy: int


#: How many workers there should be: by what is seen, how many were asked for, and the time.
Policy = Callable[[Seen, int, float], int]


@dataclass(frozen=True, slots=True)
class Look:
    """The pool just after a decision."""

    at: float
    target: int
    serving: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a trace. Times are seconds from its beginning, one of each for an upload."""

    begun: tuple[float, ...]
    ready: tuple[float, ...]
    #: Worker-seconds from asking for each worker until it was gone, and those spent on parts.
    paid: float
    worked: float
    starts: int
    parts: int
    looks: tuple[Look, ...]


class _Kind(IntEnum):
    ARRIVES = 0
    STARTED = 1
    ENDED = 2
    SEES = 3
    DECIDES = 4


def simulate(trace: Trace, policy: Policy, platform: Platform, *, tail: float = 900.0) -> Run:
    """The trace under the policy; the pool is empty at first, and paid for ``tail`` longer."""
    return _Pool(trace, policy, platform, trace.seconds + tail).run()


class _Pool:
    def __init__(self, trace: Trace, policy: Policy, platform: Platform, end: float) -> None:
        self._trace, self._policy, self._platform, self._end = trace, policy, platform, end
        self._shelf, self._crew = Shelf(trace.uploads), Crew()
        self._now, self._order = 0.0, 0
        self._events: list[tuple[float, int, _Kind, object]] = []
        self._looks: list[Look] = []
        #: The part that each busy worker has, and when it began.
        self._at_work: dict[int, tuple[Piece, float]] = {}
        self._parts, self._worked = 0, 0.0
        self._noted, self._noted_spent = 0.0, 0.0
        self._counted, self._count_at = 0, 0.0

    def run(self) -> Run:
        for number, upload in enumerate(self._trace.uploads):
            self._plan(upload.at, _Kind.ARRIVES, number)
        self._plan(0.0, _Kind.SEES, None)
        act: dict[_Kind, Callable[..., None]] = {
            _Kind.ARRIVES: self._arrives,
            _Kind.STARTED: self._started,
            _Kind.ENDED: self._ended,
            _Kind.SEES: self._sees,
            _Kind.DECIDES: self._decides,
        }
        while self._events:
            self._now, _, kind, what = heapq.heappop(self._events)
            act[kind](what)
        shelf, crew = self._shelf, self._crew
        return Run(
            begun=tuple(at for at in shelf.begun if at is not None),
            ready=tuple(at for at in shelf.ready if at is not None),
            paid=crew.worker_seconds(max(self._now, self._end)),
            worked=self._worked,
            starts=len(crew.asked),
            parts=self._parts,
            looks=tuple(self._looks),
        )

    def _plan(self, at: float, kind: _Kind, what: object) -> None:
        self._order += 1
        heapq.heappush(self._events, (at, self._order, kind, what))

    def _arrives(self, upload: int) -> None:
        self._shelf.arrive(upload, self._now)
        self._employ(1)

    def _started(self, worker: int) -> None:
        if self._crew.start(worker):
            self._employ(1)

    def _ended(self, worker: int) -> None:
        piece, _ = self._at_work.pop(worker)
        self._note(piece)
        self._crew.release(worker, self._now)
        sent = self._shelf.finish(piece, self._now, self._workers())
        self._employ(sent + 1)

    def _employ(self, most: int) -> None:
        """Give pieces that wait to workers that are idle, up to so many."""
        for _ in range(min(most, len(self._shelf))):
            worker = self._crew.employ()
            if worker is None:
                return
            piece = self._shelf.take(self._now)
            self._at_work[worker] = piece, self._now
            self._plan(self._now + self._shelf.spent(piece), _Kind.ENDED, worker)

    def _note(self, piece: Piece) -> None:
        """Learn from a part, as the farm does; and count it."""
        predicted, spent = self._shelf.predicted(piece), self._shelf.spent(piece)
        self._parts += 1
        self._worked += spent
        if piece[1] == LOOK_AT:
            return
        keep = min(1.0, max(0.0, MEMORY - predicted) / max(self._noted, 1e-9))
        self._noted = self._noted * keep + predicted
        self._noted_spent = self._noted_spent * keep + spent

    def _workers(self) -> int:
        """How many there are, as of a few seconds ago."""
        if self._now >= self._count_at:
            self._counted, self._count_at = self._crew.present, self._now + _COUNT_EVERY
        return self._counted

    def _sees(self, _: None) -> None:
        self._plan(self._now + self._platform.stale, _Kind.DECIDES, self._seen())
        again = self._now + self._platform.interval
        if again <= self._end or self._at_work or self._shelf:
            self._plan(again, _Kind.SEES, None)

    def _seen(self) -> Seen:
        shelf, now = self._shelf, self._now
        slower = pace(self._noted, self._noted_spent)
        lefts = (
            max(0.0, shelf.predicted(piece) * slower - (now - since))
            for piece, since in self._at_work.values()
        )
        demand = PoolDemand(
            waiting=len(shelf),
            in_flight=len(self._at_work),
            backlog=shelf.backlog * slower,
            in_flight_left=math.fsum(lefts),
            unsent=shelf.unsent * slower,
            unsent_parts=shelf.unsent_parts,
            oldest=shelf.oldest(now),
        )
        return Seen(now, demand, self._crew.serving, self._crew.busy)

    def _decides(self, seen: Seen) -> None:
        crew, current = self._crew, self._crew.target
        wanted = self._policy(seen, current, self._now)
        target = max(0, min(self._platform.maximum, wanted))
        for _ in range(target - current):
            self._plan(self._now + self._platform.start, _Kind.STARTED, crew.ask(self._now))
        crew.dismiss(max(0, current - target), self._now)
        self._looks.append(Look(self._now, target, crew.serving, len(self._shelf)))

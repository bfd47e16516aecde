"""A farm of any size, simulated: what its parts wait for, and what adding workers is worth. Pure.

Events in the order of their times, from a heap. Modelled is what the farm does with a film: its
first part looks at the source; then one advancer at a time, in the slot whose part has ended,
sends what is missing, up to a window of parts on their way; a slot takes the next part from the
queues, heads first; the last advancer finishes the film. A part is a time of waiting (queue,
lease, storage), then work, for which the slots of a host share its cores. Not modelled: a
storage, a Redis or a network that is too slow for so many workers, and parts that fail.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

_DONE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Task:
    """One part. ``cpu`` is seconds of one core, on up to ``width`` cores at once."""

    name: str
    cpu: float
    wait: float = 0.0
    head: bool = False
    width: float = 1.0


@dataclass(frozen=True, slots=True)
class Film:
    """What is uploaded: the look at it, then its parts in the order of the plan."""

    inspect: Task
    tasks: tuple[Task, ...]
    arrival: float = 0.0

    @property
    def cpu(self) -> float:
        """All its work, in seconds of one core."""
        return self.inspect.cpu + sum(task.cpu for task in self.tasks)


@dataclass(frozen=True, slots=True)
class Costs:
    """What the farm adds, in seconds."""

    #: From a message to the start of its part, in a free slot.
    hop: float = 0.0
    #: To send one message.
    send: float = 0.0
    #: One step of an advancer.
    advance: float = 0.0
    #: The last step's final manifests, and what each receipt adds to them.
    finish: float = 0.0
    finish_each: float = 0.0


@dataclass(frozen=True, slots=True)
class Farm:
    """Hosts of ``cores`` cores with as many encode slots, and with head slots beside them."""

    hosts: int
    cores: int
    head_slots: int = 1
    #: Parts of one film on their way at once.
    window: int = 16

    @property
    def workers(self) -> int:
        """Cores of the whole farm."""
        return self.hosts * self.cores


@dataclass(frozen=True, slots=True)
class Outcome:
    """When each film was ready, in order of upload; how many steps advancers made."""

    ready: tuple[float, ...]
    advances: int
    cpu: float
    workers: int

    @property
    def makespan(self) -> float:
        """Seconds until the last was ready."""
        return max(self.ready)

    @property
    def efficiency(self) -> float:
        """Work by what the cores could have done."""
        return self.cpu / (self.workers * self.makespan)


def simulate(films: Sequence[Film], farm: Farm, costs: Costs) -> Outcome:
    """What becomes of the films."""
    return _Simulation(films, farm, costs).run()


@dataclass(slots=True)
class _Job:
    """A film in work."""

    film: Film
    sent: int = 0
    done: int = 0
    inspected: bool = False
    advancing: bool = False
    #: Whether somebody left word for the advancer.
    word: bool = False
    ready: float | None = None

    def to_send(self, window: int) -> int:
        """How many more parts may be on their way."""
        room = window - (self.sent - self.done)
        return max(0, min(room, len(self.film.tasks) - self.sent))

    @property
    def complete(self) -> bool:
        """Whether every part has its receipt."""
        return self.inspected and self.done == len(self.film.tasks)


@dataclass(slots=True)
class _Running:
    left: float
    width: float
    then: Callable[[], None]
    rate: float = 0.0


@dataclass(slots=True)
class _Host:
    """Cores shared by what runs on them."""

    cores: int
    running: list[_Running] = field(default_factory=list)
    at: float = 0.0
    version: int = 0

    def progress(self, now: float) -> None:
        """Do what could be done since the last change."""
        for each in self.running:
            each.left -= each.rate * (now - self.at)
        self.at = now

    def share(self) -> float | None:
        """Give each its cores, as evenly as their widths allow; seconds until one ends."""
        left, count, soonest = float(self.cores), len(self.running), None
        for each in sorted(self.running, key=lambda one: one.width):
            each.rate = min(each.width, left / count)
            left, count = left - each.rate, count - 1
            ends = max(each.left, 0.0) / each.rate
            soonest = ends if soonest is None else min(soonest, ends)
        return soonest


@dataclass(frozen=True, slots=True)
class _Slot:
    host: _Host
    head: bool


@dataclass(frozen=True, slots=True)
class _Message:
    job: _Job
    task: Task


class _Simulation:
    def __init__(self, films: Sequence[Film], farm: Farm, costs: Costs) -> None:
        self._farm, self._costs = farm, costs
        self._now, self._count, self._advances = 0.0, 0, 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        hosts = [_Host(farm.cores) for _ in range(farm.hosts)]
        # One of each host after another, so that work spreads over them.
        heads = [_Slot(host, head=True) for _ in range(farm.head_slots) for host in hosts]
        others = [_Slot(host, head=False) for _ in range(farm.cores) for host in hosts]
        self._idle = {True: deque(heads), False: deque(others)}
        self._queues: dict[bool, deque[_Message]] = {True: deque(), False: deque()}
        self._jobs = [_Job(film) for film in films]

    def run(self) -> Outcome:
        for job in self._jobs:
            self._send(job, job.film.inspect, job.film.arrival)
        while self._events:
            self._now, _, happen = heapq.heappop(self._events)
            happen()
        ready = tuple(job.ready for job in self._jobs if job.ready is not None)
        assert len(ready) == len(self._jobs)
        work = sum(job.film.cpu for job in self._jobs)
        return Outcome(ready, self._advances, work, self._farm.workers)

    def _after(self, seconds: float, happen: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (self._now + seconds, self._count, happen))

    def _send(self, job: _Job, task: Task, after: float) -> None:
        self._after(after, lambda: self._arrive(_Message(job, task)))

    def _arrive(self, message: _Message) -> None:
        """An idle slot takes it, for heads a head slot before an encode slot; else it waits."""
        head = message.task.head
        for kind in (True, False) if head else (False,):
            if self._idle[kind]:
                self._begin(self._idle[kind].popleft(), message)
                return
        self._queues[head].append(message)

    def _free(self, slot: _Slot) -> None:
        for kind in (True,) if slot.head else (True, False):
            if self._queues[kind]:
                self._begin(slot, self._queues[kind].popleft())
                return
        self._idle[slot.head].append(slot)

    def _begin(self, slot: _Slot, message: _Message) -> None:
        waits = self._costs.hop + message.task.wait
        self._after(waits, lambda: self._work(slot, message))

    def _work(self, slot: _Slot, message: _Message) -> None:
        host, task = slot.host, message.task
        host.progress(self._now)
        ended = lambda: self._ended(slot, message)  # noqa: E731
        host.running.append(_Running(task.cpu, task.width, ended))
        self._reschedule(host)

    def _reschedule(self, host: _Host) -> None:
        host.version += 1
        version, soonest = host.version, host.share()
        if soonest is not None:
            self._after(soonest, lambda: self._look(host, version))

    def _look(self, host: _Host, version: int) -> None:
        """Something on the host has ended, unless things have changed since."""
        if version != host.version:
            return
        host.progress(self._now)
        # The one that ends now may be left with a rounding error.
        least = min(each.left for each in host.running)
        over = [each for each in host.running if each.left <= max(least, 0.0) + _DONE]
        host.running = [each for each in host.running if each not in over]
        self._reschedule(host)
        for each in over:
            each.then()

    def _ended(self, slot: _Slot, message: _Message) -> None:
        """The slot moves the film on, unless another is at it, which then looks once more."""
        job = message.job
        if job.inspected:
            job.done += 1
        job.inspected = True
        if job.advancing:
            job.word = True
            self._free(slot)
        else:
            job.advancing = True
            self._step(slot, job)

    def _step(self, slot: _Slot, job: _Job) -> None:
        """What is to be done is what is seen at the beginning of a step."""
        job.word = False
        self._advances += 1
        count, complete = job.to_send(self._farm.window), job.complete
        seconds = self._costs.advance + count * self._costs.send
        if complete:
            seconds += self._costs.finish + self._costs.finish_each * len(job.film.tasks)
        for order in range(count):
            after = self._costs.advance + (order + 1) * self._costs.send
            self._send(job, job.film.tasks[job.sent + order], after)
        job.sent += count
        self._after(seconds, lambda: self._stepped(slot, job, complete=complete))

    def _stepped(self, slot: _Slot, job: _Job, *, complete: bool) -> None:
        if complete:
            job.ready = self._now
        elif job.word:
            self._step(slot, job)
            return
        job.advancing = False
        self._free(slot)

"""What has stalled is looked at again, whatever fails meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Event, Thread

import pytest
import redis

from jobs.board import Board
from jobs.broker import FarmBroker, connect_redis
from jobs.demand import QueueDemand, demand
from jobs.parts import PartRef, Pool, Priority
from jobs.send import Sender
from jobs.timings import Timings
from pipeline.sweeper import Sweeper
from tests.integration.runtime_farm import VIDEO, eventually

REF = PartRef(VIDEO, 1, "v00001")
TIMINGS = Timings(
    lease_ttl=0.05,
    sent_grace=0.05,
    heartbeat_timeout=0.05,
    sweep_every=0.01,
    inbox_every=30.0,
    sweeper_ttl=0.3,
    resume_after=2.0,
)


@dataclass
class Clock:
    """Moved by hand."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Yard:
    """A sweeper whose storage is a list, and which may fail."""

    board: Board
    clock: Clock = field(default_factory=Clock)
    inbox: list[str] = field(default_factory=list)
    advanced: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    inbox_broken: bool = False

    def __post_init__(self) -> None:
        namespace, timings = self.board.keys.namespace, self.board.timings
        self.broker = FarmBroker(self.board.client, namespace, timings)
        self.sender = Sender(self.broker, self.board)
        self.sweeper = self.candidate("a")

    def candidate(self, owner: str) -> Sweeper:
        namespace, timings = self.board.keys.namespace, self.board.timings
        maintainer = FarmBroker(self.board.client, namespace, timings, maintains=True)
        return Sweeper(
            self.board, maintainer, self.waiting, self.advance, owner=owner, monotonic=self.clock
        )

    def waiting(self) -> list[str]:
        if self.inbox_broken:
            raise OSError("storage is away")
        return self.inbox

    def advance(self, video_id: str) -> None:
        if video_id in self.broken:
            raise OSError("storage is away")
        self.advanced.append(video_id)

    def settle(self) -> None:
        """Past the first look at the inbox, with the sentinel planted."""
        self.board.plant_sentinel()
        self.sweeper.tick()
        self.advanced.clear()

    def send(self) -> None:
        assert self.sender.send(REF, Pool.CPU, Priority.NORMAL)

    def ticked(self) -> list[str]:
        self.sweeper.tick()
        return self.advanced


@pytest.fixture
def yard(redis_client: redis.Redis, redis_url: str, namespace: str) -> Iterator[Yard]:
    with connect_redis(redis_url) as client:
        yield Yard(Board(client, namespace, TIMINGS))


def test_a_lapsed_lease_moves_its_video_on(yard: Yard) -> None:
    yard.settle()
    yard.send()
    yard.board.take(REF, "run")
    eventually(lambda: yard.ticked() == [VIDEO])
    assert yard.board.parts_in_flight(VIDEO) == set()


def test_a_due_retry_moves_its_video_on(yard: Yard) -> None:
    yard.settle()
    yard.send()
    lease = yard.board.take(REF, "run")
    assert lease
    yard.board.release(lease, "error", retry_in=0.05)
    eventually(lambda: yard.ticked() == [VIDEO])


def test_the_inbox_is_read_at_election_and_then_now_and_again(yard: Yard) -> None:
    yard.board.plant_sentinel()
    yard.inbox = [VIDEO]
    assert yard.ticked() == [VIDEO]
    assert yard.ticked() == [VIDEO]
    yard.clock.now += TIMINGS.inbox_every
    assert yard.ticked() == [VIDEO, VIDEO]


def test_a_video_that_is_moving_is_left_alone(yard: Yard) -> None:
    yard.board.plant_sentinel()
    yard.inbox = [VIDEO, "another"]
    yard.send()
    assert yard.ticked() == ["another"]


def test_a_sent_part_without_a_message_moves_its_video_on(yard: Yard) -> None:
    yard.settle()
    yard.inbox = [VIDEO]
    yard.board.mark_sent(REF, "cpu.normal", "never enqueued")

    def later() -> bool:
        yard.clock.now += TIMINGS.inbox_every
        return yard.ticked() == [VIDEO]

    eventually(later)
    assert yard.board.parts_in_flight(VIDEO) == set()


def test_an_emptied_redis_is_noticed_and_the_inbox_read_soon(yard: Yard) -> None:
    yard.settle()
    yard.inbox = [VIDEO]
    yard.board.client.flushall()
    assert yard.ticked() == []
    assert not yard.board.sentinel_lost()
    yard.clock.now += TIMINGS.resume_after
    assert yard.ticked() == [VIDEO]


def test_one_video_that_fails_does_not_stop_the_others_and_is_tried_again(yard: Yard) -> None:
    yard.board.plant_sentinel()
    yard.inbox = ["first", "broken", "last"]
    yard.broken = {"broken"}
    assert yard.ticked() == ["first", "last"]
    yard.broken = set()
    assert yard.ticked() == ["first", "last"], "not before a pause"
    yard.clock.now += 1.0
    assert yard.ticked() == ["first", "last", "broken"]


def test_a_storage_outage_only_delays_the_inbox(yard: Yard) -> None:
    yard.board.plant_sentinel()
    yard.inbox, yard.inbox_broken = [VIDEO], True
    assert yard.ticked() == []
    yard.inbox_broken = False
    yard.clock.now += 5.0
    assert yard.ticked() == [VIDEO]


def test_messages_of_dead_workers_return_to_their_queues(yard: Yard) -> None:
    yard.settle()
    yard.send()
    dead = FarmBroker(yard.board.client, yard.board.keys.namespace, TIMINGS)
    assert dead.do_fetch("cpu.normal", 1)

    def returned() -> bool:
        yard.clock.now += TIMINGS.inbox_every
        yard.sweeper.tick()
        found = demand(yard.board.client, yard.board.keys.namespace)
        return found.queues["cpu.normal"] == QueueDemand(waiting=1)

    eventually(returned)


def test_messages_of_living_workers_stay_with_them(yard: Yard) -> None:
    patient = Board(yard.board.client, yard.board.keys.namespace, Timings())
    yard = Yard(patient)
    yard.settle()
    yard.send()
    assert yard.broker.do_fetch("cpu.normal", 1)
    yard.clock.now += Timings().inbox_every
    yard.sweeper.tick()
    assert demand(patient.client, patient.keys.namespace).pool(Pool.CPU) == QueueDemand(0, 1)


def test_one_candidate_sweeps_and_another_takes_over_when_it_falls_silent(yard: Yard) -> None:
    yard.settle()
    second = yard.candidate("b")
    yard.inbox = [VIDEO]
    second.tick()
    assert yard.advanced == []

    def taken_over() -> bool:
        second.tick()
        return yard.advanced == [VIDEO]

    eventually(taken_over)
    yard.sweeper.tick()
    assert yard.advanced == [VIDEO], "the first one stands by now"


def test_a_sweeper_that_stops_hands_over_at_once(yard: Yard) -> None:
    stop = Event()
    thread = Thread(target=yard.sweeper.run, args=(stop,))
    thread.start()
    try:
        eventually(lambda: not yard.board.sentinel_lost())
        assert not yard.board.lead("b")
    finally:
        stop.set()
        thread.join()
    assert yard.board.lead("b")


def test_the_sweep_goes_on_after_redis_broke_its_connections(yard: Yard) -> None:
    stop = Event()
    thread = Thread(target=yard.sweeper.run, args=(stop,))
    thread.start()
    try:
        eventually(lambda: not yard.board.sentinel_lost())
        yard.board.client.client_kill_filter(_type="normal", skipme=True)
        yard.send()
        yard.board.take(REF, "run")
        eventually(lambda: yard.advanced == [VIDEO])
    finally:
        stop.set()
        thread.join()

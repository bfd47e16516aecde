"""What has stalled is looked at again, whatever fails meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Event, Thread, active_count

import pytest
import redis
from structlog.testing import capture_logs

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


def test_a_long_inbox_takes_no_more_than_a_tenth_of_the_time(yard: Yard) -> None:
    yard.settle()
    yard.inbox = [VIDEO]
    slow_inbox(yard, 20.0)
    yard.clock.now += TIMINGS.inbox_every
    assert yard.ticked() == [VIDEO]
    yard.clock.now += 9 * 20.0 - 1
    assert yard.ticked() == [VIDEO]
    yard.clock.now += 2
    assert yard.ticked() == [VIDEO, VIDEO]


def slow_inbox(yard: Yard, seconds: float) -> None:
    """From now on going through the inbox lasts so long."""
    read = yard.waiting

    def slowly() -> list[str]:
        yard.clock.now += seconds
        return read()

    yard.sweeper._waiting = slowly


def test_the_pause_after_a_very_long_inbox_has_an_end(yard: Yard) -> None:
    yard.settle()
    yard.inbox = [VIDEO]
    slow_inbox(yard, 1000.0)
    yard.clock.now += TIMINGS.inbox_every
    assert yard.ticked() == [VIDEO]
    yard.clock.now += 301
    assert yard.ticked() == [VIDEO, VIDEO]


def test_messages_of_dead_workers_do_not_wait_for_a_long_inbox(yard: Yard) -> None:
    yard.settle()
    slow_inbox(yard, 20.0)
    yard.clock.now += TIMINGS.inbox_every
    yard.sweeper.tick()
    kept: list[str] = []
    yard.sweeper._broker.maintain = kept.append  # type: ignore[method-assign]
    yard.clock.now += TIMINGS.inbox_every
    yard.sweeper.tick()
    assert "cpu.normal" in kept
    assert yard.sweeper._inbox_at > yard.clock.now, "the inbox rests still"


def test_a_video_that_is_moving_is_left_alone(yard: Yard) -> None:
    yard.settle()
    yard.inbox = [VIDEO, "another"]
    yard.send()
    yard.clock.now += TIMINGS.inbox_every
    assert yard.ticked() == ["another"]


def test_who_is_elected_looks_at_everything_once(yard: Yard) -> None:
    """What Redis lost while another one led, or nobody, is not known to the new one."""
    yard.settle()
    yard.inbox = [VIDEO]
    yard.send()
    yard.sweeper.tick()
    yard.board.resign("a")
    yard.candidate("b").tick()
    assert yard.advanced == [VIDEO]


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
        queue = found.queues["cpu.normal"]
        return (queue.waiting, queue.in_flight) == (1, 0)

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


def restarts(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time it is asked, Redis is another one, as behind a proxy of several."""
    runs = count()
    monkeypatch.setattr(yard.board, "incarnation", lambda: f"run{next(runs)}")


def test_a_restarted_redis_is_noticed_and_everything_looked_at_soon(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard.settle()
    yard.inbox = [VIDEO]
    yard.send()
    monkeypatch.setattr(yard.board, "incarnation", lambda: "another")
    assert yard.ticked() == []
    yard.clock.now += TIMINGS.resume_after
    assert yard.ticked() == [VIDEO]


def test_redis_that_seems_restarted_every_second_costs_one_look_an_inbox(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard.settle()
    yard.inbox = [VIDEO]
    yard.send()
    restarts(yard, monkeypatch)
    with capture_logs() as logs:
        for _ in range(100):
            yard.clock.now += 1.0
            yard.sweeper.tick()
    assert 3 <= len(yard.advanced) <= 5
    assert sum(row["event"] == "redis_restarted" for row in logs) <= 5


def test_what_makes_an_inbox_doubtful_while_it_is_read_is_kept(yard: Yard) -> None:
    yard.settle()
    yard.send()

    def emptied() -> Iterator[str]:
        yield VIDEO
        yard.board.client.delete(yard.board.keys.sentinel)
        yard.clock.now += 1.0
        yield "another"

    sweeper = Sweeper(
        yard.board, yard.broker, emptied, yard.advance, owner="a", monotonic=yard.clock
    )
    sweeper.tick()
    yard.advanced.clear()
    yard.clock.now += TIMINGS.resume_after
    sweeper.tick()
    assert VIDEO in yard.advanced, "it moves, and what else of it there was may be gone"


def test_doubts_outlive_an_outage_of_the_storage(yard: Yard) -> None:
    yard.board.plant_sentinel()
    yard.send()
    yard.inbox, yard.inbox_broken = [VIDEO], True
    assert yard.ticked() == []
    yard.inbox_broken = False
    yard.clock.now += 5.0
    assert yard.ticked() == [VIDEO], "it moves, and the new leader has not looked yet"


def test_what_redis_gave_out_as_its_connection_broke_is_looked_for(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    yard.settle()
    yard.inbox = [VIDEO]
    yard.send()
    yard.board.mark_sent(PartRef(VIDEO, 1, "v00002"), "cpu.normal", "never enqueued")
    lost, given = yard.board.lost, list[PartRef]()

    def cut_off(*video_ids: str) -> list[PartRef]:
        given.extend(lost(*video_ids))
        if given:
            monkeypatch.undo()
            raise redis.ConnectionError
        return []

    monkeypatch.setattr(yard.board, "lost", cut_off)

    def was_cut_off() -> bool:
        yard.clock.now += TIMINGS.inbox_every
        try:
            yard.sweeper.tick()
        except redis.ConnectionError:
            return True
        return False

    eventually(was_cut_off)
    yard.clock.now += TIMINGS.inbox_every
    assert yard.ticked() == [VIDEO], "its other part moves"


def test_a_lapsed_lease_does_not_wait_for_the_pause_of_its_video(yard: Yard) -> None:
    yard.settle()
    yard.inbox, yard.broken = [VIDEO], {VIDEO}
    yard.clock.now += TIMINGS.inbox_every
    assert yard.ticked() == []
    yard.inbox, yard.broken = [], set()
    yard.send()
    yard.board.take(REF, "run")
    eventually(lambda: yard.ticked() == [VIDEO])


@dataclass
class Slow:
    """Advances, of which those of ``held`` videos last until they are let go."""

    held: set[str]
    begun: list[str] = field(default_factory=list)
    go: Event = field(default_factory=Event)

    def __call__(self, video_id: str) -> None:
        self.begun.append(video_id)
        if video_id in self.held:
            assert self.go.wait(30)


@contextmanager
def slow_storage(yard: Yard, *held: str) -> Iterator[tuple[Sweeper, Slow]]:
    """A sweeper on the clock of this world, and what it advances."""
    yard.board.plant_sentinel()
    slow = Slow(set(held))
    sweeper = Sweeper(yard.board, yard.broker, yard.waiting, slow, owner="a")
    try:
        yield sweeper, slow
    finally:
        slow.go.set()


def test_an_advance_that_hangs_keeps_nobody_from_the_leases(yard: Yard) -> None:
    yard.inbox = ["hangs", *(f"v{number}" for number in range(40))]
    with slow_storage(yard, "hangs") as (sweeper, slow):
        eventually(lambda: sweeper.tick() or set(yard.inbox) == set(slow.begun))
        yard.send()
        yard.board.take(REF, "run")
        eventually(lambda: sweeper.tick() or VIDEO in slow.begun)
        assert not yard.board.lead("b"), "who waits for an advance leads all the same"


def test_a_video_in_work_is_advanced_again_afterwards_and_not_meanwhile(yard: Yard) -> None:
    yard.inbox = [VIDEO]
    with slow_storage(yard, VIDEO) as (sweeper, slow):
        eventually(lambda: sweeper.tick() or slow.begun == [VIDEO])
        yard.board.wake(VIDEO, 0.0)
        eventually(lambda: sweeper.tick() or not yard.board.client.exists(yard.board.keys.wakes))
        sweeper.tick()
        assert slow.begun == [VIDEO]
        slow.go.set()
        eventually(lambda: sweeper.tick() or slow.begun == [VIDEO, VIDEO])


def test_no_more_are_in_work_at_once_than_there_are_threads(yard: Yard) -> None:
    yard.inbox = [f"v{number}" for number in range(30)]
    with slow_storage(yard, *yard.inbox) as (sweeper, slow):
        eventually(lambda: sweeper.tick() or len(slow.begun) == 8)
        before = active_count()
        for _ in range(5):
            sweeper.tick()
        assert (len(slow.begun), active_count()) == (8, before)
        yard.board.wake(VIDEO, 0.0)
        eventually(lambda: sweeper.tick() or not yard.board.client.exists(yard.board.keys.wakes))
        slow.go.set()
        eventually(lambda: sweeper.tick() or len(slow.begun) >= 31)
        assert slow.begun.index(VIDEO) < 16, "what is urgent goes before those that wait"


def test_who_is_deposed_in_the_middle_advances_nothing_more(yard: Yard) -> None:
    yard.settle()

    def deposed() -> Iterator[str]:
        yield from ("first", "second")
        yard.board.resign("a")
        assert yard.board.lead("b")
        yard.clock.now += 1.0
        yield "third"

    sweeper = Sweeper(
        yard.board, yard.broker, deposed, yard.advance, owner="a", monotonic=yard.clock
    )
    sweeper.tick()
    yard.board.resign("b")
    assert yard.advanced == []


def test_redis_that_may_not_be_asked_for_its_start_is_swept(yard: Yard, redis_url: str) -> None:
    """Hosted ones forbid what they call dangerous, and INFO is of that kind."""
    yard.board.plant_sentinel()
    admin, user = yard.board.client, f"u-{yard.board.keys.namespace}"
    rules = ("on", ">secret", "~*", "&*", "+@all", "-@dangerous")
    admin.execute_command("ACL", "SETUSER", user, *rules)
    host = redis_url.partition("//")[2].rpartition("@")[2]
    try:
        with connect_redis(f"redis://{user}:secret@{host}") as client:
            board = Board(client, yard.board.keys.namespace, TIMINGS)
            with capture_logs() as logs:
                assert (board.incarnation(), board.incarnation()) == ("", "")
            assert [row["event"] for row in logs] == ["redis_restarts_unnoticed"]
            assert Yard(board, inbox=[VIDEO]).ticked() == [VIDEO]
    finally:
        admin.execute_command("ACL", "DELUSER", user)

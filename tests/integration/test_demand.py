"""What the autoscaler reads in Redis: estimates at a bounded cost, and hints that do not linger."""

from __future__ import annotations

import time

import pytest
import redis

from autoscaler.ledger import EVERY, Ledger
from autoscaler.policy import Decision, PoolDemand
from autoscaler.scaler import ScaledPool
from jobs import pace
from jobs.board import Board
from jobs.broker import FarmBroker, connect_redis
from jobs.demand import Demand, demand
from jobs.leases import Unsent
from jobs.parts import PartRef, Pool, Priority
from jobs.scaling import KEPT, ScalingDecision, current, recent, record
from jobs.send import Sender
from jobs.timings import Timings

VIDEO = "01jz0000000000000000000000"


@pytest.fixture
def board(redis_client: redis.Redis, redis_url: str, namespace: str) -> Board:
    return Board(connect_redis(redis_url), namespace, Timings(unsent_ttl=60.0))


def look(board: Board, sample: int = 32) -> Demand:
    return demand(board.client, board.keys.namespace, sample)


def send(board: Board, costs: list[float], pool: Pool = Pool.CPU) -> None:
    sender = Sender(FarmBroker(board.client, board.keys.namespace), board)
    for number, cost in enumerate(costs):
        sender.send(PartRef(VIDEO, 1, f"{pool}{number}"), pool, Priority.NORMAL, cost=cost)


def calls(client: redis.Redis, command: str) -> int:
    found = client.info("commandstats").get(f"cmdstat_{command}", {})
    return int(found.get("calls", 0))


# Backlog and age


def test_the_backlog_of_a_short_queue_is_exact(board: Board) -> None:
    send(board, [1.0, 2.5, 4.5])
    send(board, [10.0], Pool.HEAD)
    found = look(board)
    assert found.pool(Pool.CPU).backlog == pytest.approx(8.0)
    assert found.pool(Pool.HEAD).backlog == pytest.approx(10.0)


def test_the_backlog_of_a_long_queue_is_estimated_from_all_along_it(board: Board) -> None:
    """Long parts in front of many short ones are neither missed nor all there is."""
    costs = [30.0] * 100 + [2.0] * 300
    send(board, costs)
    assert look(board).pool(Pool.CPU).backlog == pytest.approx(sum(costs), rel=0.15)


def test_a_look_costs_the_same_however_long_the_queue_is(board: Board) -> None:
    send(board, [1.0] * 300)
    look(board)
    before = [calls(board.client, name) for name in ("lindex", "hmget", "evalsha")]
    look(board, sample=8)
    after = [calls(board.client, name) for name in ("lindex", "hmget", "evalsha")]
    assert [b - a for a, b in zip(before, after, strict=True)] == [8, 1, 1]


def test_the_age_is_that_of_the_message_that_is_fetched_next(board: Board) -> None:
    send(board, [1.0])
    sent = time.time()
    time.sleep(0.3)
    send(board, [1.0] * 3, Pool.HEAD)
    found = look(board)
    assert found.pool(Pool.CPU).oldest == pytest.approx(sent, abs=0.25)
    assert (found.pool(Pool.HEAD) + found.pool(Pool.CPU)).oldest == found.pool(Pool.CPU).oldest


def test_a_message_that_cannot_be_read_is_passed_over(board: Board) -> None:
    send(board, [3.0, 3.0])
    for name, junk in (("a", b"\xff no"), ("b", b"[1]"), ("c", b'{"options": {"cost": null}}')):
        board.client.hset(board.keys.messages("cpu.normal"), name, junk)
        board.client.rpush(board.keys.queue("cpu.normal"), name)
    found = look(board).pool(Pool.CPU)
    assert found.waiting == 5
    assert found.backlog == pytest.approx(5 * 2.0)


# What is not sent yet


def test_what_is_not_sent_yet_is_summed_up_by_pool(board: Board) -> None:
    board.note_unsent("a", Unsent(10, 100.5))
    board.note_unsent("b", Unsent(5, 20.0, Pool.GPU))
    board.move_cursor("c", 1, 7, seen=True, unsent=Unsent(3, 9.0))
    found = look(board)
    assert found.plans == {Pool.CPU: Unsent(13, 109.5), Pool.GPU: Unsent(5, 20.0, Pool.GPU)}
    assert found.unsent == pytest.approx(129.5)
    board.note_unsent("a", Unsent(2, 20.0))
    board.note_unsent("b", Unsent())
    assert look(board).plans == {Pool.CPU: Unsent(5, 29.0)}


def test_a_film_that_is_made_anew_for_another_pool_counts_once(board: Board) -> None:
    board.note_unsent("a", Unsent(10, 100.0, Pool.GPU))
    board.note_unsent("b", Unsent(1, 1.0, Pool.GPU))
    board.note_unsent("a", Unsent(9, 90.0))
    assert look(board).plans == {Pool.CPU: Unsent(9, 90.0), Pool.GPU: Unsent(1, 1.0, Pool.GPU)}


def test_the_cursor_is_moved_as_before(board: Board) -> None:
    key = board.keys.cursor("a")
    board.move_cursor("a", 1, 5, seen=False, unsent=Unsent(1, 1.0))
    assert board.client.get(key) is None, "behind a cursor that is gone, parts may be missing"
    board.move_cursor("a", 1, 5, seen=True, unsent=Unsent(1, 1.0))
    board.client.pexpire(key, 5000)
    board.move_cursor("a", 1, 9, seen=False, unsent=Unsent(1, 1.0))
    assert board.client.get(key) == b"1/9"
    assert board.client.pttl(key) <= 5000


def test_nothing_is_left_of_a_film_that_has_ended(board: Board) -> None:
    board.note_unsent("a", Unsent(10, 100.0))
    board.note_unsent("b", Unsent(1, 1.0))
    board.forget("a")
    board.forget("never heard of")
    assert look(board).plans == {Pool.CPU: Unsent(1, 1.0)}
    board.note_unsent("b", Unsent())
    assert not board.client.exists(board.keys.unsent, board.keys.unsent_until)


def test_a_film_that_says_nothing_more_is_forgotten(redis_url: str, namespace: str) -> None:
    board = Board(connect_redis(redis_url), namespace, Timings(unsent_ttl=0.05))
    for number in range(30):
        board.note_unsent(f"v{number}", Unsent(1, 1.0))
    time.sleep(0.1)
    assert look(board).plans == {Pool.CPU: Unsent(10, 10.0)}, "a bounded number at one look"
    assert look(board).plans == {}
    assert not board.client.exists(board.keys.unsent)


def test_hints_come_back_after_redis_was_emptied(board: Board) -> None:
    board.note_unsent("a", Unsent(10, 100.0))
    board.note_unsent("b", Unsent(10, 100.0))
    board.client.flushall()
    assert look(board).plans == {}
    board.note_unsent("a", Unsent(9, 90.0))
    assert look(board).plans == {Pool.CPU: Unsent(9, 90.0)}


# Pace


def test_the_pace_is_what_parts_took_for_what_was_predicted(board: Board) -> None:
    client, namespace = board.client, board.keys.namespace
    assert pace.paces(client, namespace) == {}
    for _ in range(20):
        pace.note(client, namespace, "cpu", 50.0, 100.0)
    pace.note(client, namespace, "gpu", 3.0, 1.0)
    found = pace.paces(client, namespace)
    assert found["cpu"] == pytest.approx(2.0, rel=0.05)
    assert found["gpu"] == pytest.approx(1.0, rel=0.1), "one short part says little"


def test_the_pace_follows_a_change_and_never_forgets_all(board: Board) -> None:
    client, namespace = board.client, board.keys.namespace
    for spent in [100.0] * 200 + [25.0] * 200:
        pace.note(client, namespace, "cpu", 50.0, spent)
    assert pace.paces(client, namespace)["cpu"] == pytest.approx(0.5, rel=0.05)
    predicted = float(client.hget(board.keys.pace, "cpu/predicted"))
    assert predicted == pytest.approx(pace.MEMORY)


@pytest.mark.parametrize(("predicted", "spent"), [(0.0, 5.0), (-1.0, 5.0), (5.0, 0.0)])
def test_a_part_without_a_cost_says_nothing(board: Board, predicted: float, spent: float) -> None:
    pace.note(board.client, board.keys.namespace, "cpu", predicted, spent)
    assert pace.paces(board.client, board.keys.namespace) == {}


# Decisions


def decision(count: int, *, at: float = 100.0, before: int = 0, host: str = "h") -> ScalingDecision:
    return ScalingDecision(at, "cpu", host, "local", before, count, before, "because")


def test_the_present_is_the_newest_of_each_pool_and_host_and_fades(board: Board) -> None:
    client, namespace = board.client, board.keys.namespace
    record(client, namespace, decision(1), decision(2, host="g"))
    record(client, namespace, decision(3, at=120.0), fades=15.0)
    assert current(client, namespace, lambda: 125.0) == (
        decision(2, host="g"), decision(3, at=120.0),
    )  # fmt: skip
    assert current(client, namespace, lambda: 134.0) == (decision(3, at=120.0),)
    assert current(client, namespace, lambda: 5000.0) == ()
    assert not client.exists(board.keys.scaling), "what is left of a host that is gone is removed"


class Clock:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_scaler_records_changes_at_once_and_what_holds_now_and_then(board: Board) -> None:
    client, namespace, clock = board.client, board.keys.namespace, Clock()
    ledger = Ledger(client, namespace, "local", lambda _: 2, host="h", clock=clock, wall=clock)

    def decided(before: int, count: int) -> tuple[ScaledPool]:
        return (ScaledPool("cpu", before, Decision(count, "because"), PoolDemand(3, 1, 7.0)),)

    ledger.note(decided(0, 2))
    [held] = current(client, namespace, clock)
    assert (held.count, held.actual, held.waiting, held.backlog) == (2, 2, 3, 7.0)
    clock.now += 1
    ledger.note(decided(2, 2))
    assert current(client, namespace, clock) == (held,), "said a moment ago"
    clock.now += EVERY
    ledger.note(decided(2, 2))
    [again] = current(client, namespace, clock)
    assert (again.at, again.count) == (clock.now, 2)
    assert [each.count for each in recent(client, namespace)] == [2]


def test_a_change_that_redis_did_not_take_is_recorded_later(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, namespace, clock = board.client, board.keys.namespace, Clock()
    ledger = Ledger(client, namespace, "local", lambda _: 0, clock=clock, wall=clock)
    changed = (ScaledPool("cpu", 0, Decision(2, "because")),)
    with monkeypatch.context() as patch:
        patch.setattr(client, "pipeline", _gone)
        ledger.note(changed)
    clock.now += 1
    ledger.note((ScaledPool("cpu", 2, Decision(2, "still")),))
    assert [each.at for each in recent(client, namespace)] == [100.0]
    assert [each.reason for each in current(client, namespace, clock)] == ["still"]


def _gone(*_: object, **__: object) -> None:
    raise redis.ConnectionError("gone")


def test_only_changes_are_remembered_and_not_for_ever(board: Board) -> None:
    client, namespace = board.client, board.keys.namespace
    record(client, namespace, decision(4, before=4))
    assert recent(client, namespace) == ()
    for count in range(KEPT + 5):
        record(client, namespace, decision(count + 1, before=count))
    found = recent(client, namespace, 2)
    assert [each.count for each in found] == [KEPT + 5, KEPT + 4]
    assert client.llen(board.keys.decisions) == KEPT

"""Sending parts, counting them, and the broker that carries them."""

from __future__ import annotations

import socket
import time

import dramatiq
import pytest
import redis

from jobs.board import Board
from jobs.broker import ACTOR, REDIS_ID, FarmBroker, connect_redis
from jobs.demand import QueueDemand, demand
from jobs.parts import PartRef, Pool, Priority
from jobs.send import COST, QueueUnavailableError, Sender
from jobs.workers import WorkerInfo, announce, list_workers, named_workers, withdraw

VIDEO = "01jz0000000000000000000000"
REF = PartRef(VIDEO, 1, "v00001")


@pytest.fixture
def board(redis_client: redis.Redis, redis_url: str, namespace: str) -> Board:
    return Board(connect_redis(redis_url), namespace)


@pytest.fixture
def broker(board: Board) -> FarmBroker:
    return FarmBroker(board.client, board.keys.namespace)


def send(broker: FarmBroker, board: Board, part: str = "v00001") -> bool:
    ref = PartRef(VIDEO, 1, part)
    return Sender(broker, board).send(ref, Pool.CPU, Priority.NORMAL, cost=2.5)


def test_a_part_is_sent_once_and_needs_no_actor(broker: FarmBroker, board: Board) -> None:
    assert send(broker, board)
    assert not send(broker, board)
    assert broker.get_declared_actors() == set()
    assert demand(board.client, board.keys.namespace).queues["cpu.normal"].waiting == 1


def test_the_message_is_a_pointer_under_the_id_of_its_mark(
    broker: FarmBroker, board: Board
) -> None:
    send(broker, board)
    stored = board.client.hgetall(board.keys.messages("cpu.normal"))
    [(redis_id, data)] = stored.items()
    message = dramatiq.Message.decode(data)
    assert (message.actor_name, message.args) == (ACTOR, (VIDEO, 1, "v00001"))
    assert message.options[REDIS_ID] == redis_id.decode()
    assert message.options[COST] == 2.5
    mark = board.client.hget(board.keys.parts(VIDEO), "1/v00001").split()
    assert mark[0] == b"sent"
    assert mark[2:] == [b"cpu.normal", redis_id]


def test_sending_rings_the_doorbell(broker: FarmBroker, board: Board) -> None:
    with board.client.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(board.keys.doorbell)
        subscription.get_message(timeout=5.0)
        send(broker, board)
        deadline, message = time.monotonic() + 5.0, None
        while message is None and time.monotonic() < deadline:
            message = subscription.get_message(timeout=1.0)
    assert message is not None
    assert message["data"] == b"cpu.normal"


def test_the_doorbell_is_not_rung_for_a_part_that_waits_behind_others(
    broker: FarmBroker, board: Board
) -> None:
    """It would wake every worker of the farm, all of which are busy."""
    channel = board.keys.doorbell
    with board.client.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(channel)
        subscription.get_message(timeout=5.0)
        for number in range(20):
            send(broker, board, f"v{number:05}")
        board.client.publish(channel, "the end")
        heard: list[bytes] = []
        deadline = time.monotonic() + 5.0
        while heard[-1:] != [b"the end"] and time.monotonic() < deadline:
            message = subscription.get_message(timeout=1.0)
            heard += [message["data"]] if message else []
    assert heard == [b"cpu.normal"] * 8 + [b"the end"]


def test_a_queue_that_does_not_take_the_message_leaves_no_mark(
    board: Board, namespace: str
) -> None:
    class Failing(FarmBroker):
        def enqueue(self, message, *, delay=None):
            raise redis.ConnectionError("gone")

    broker = Failing(board.client, namespace)
    with pytest.raises(QueueUnavailableError, match=f"v00001 of video {VIDEO} was not sent"):
        send(broker, board)
    assert board.in_flight([VIDEO]) == [False]


def test_an_unreachable_redis_is_reported_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = connect_redis(f"redis://127.0.0.1:{unused.getsockname()[1]}/0")
        broker, board = FarmBroker(client, "farm"), Board(client, "farm")
        started = time.monotonic()
        with pytest.raises(QueueUnavailableError):
            send(broker, board)
    assert time.monotonic() - started < 1.5


def test_delayed_messages_are_refused(broker: FarmBroker, board: Board) -> None:
    message = dramatiq.Message("cpu.low", ACTOR, (VIDEO, 1, "v00001"), {}, {})
    with pytest.raises(ValueError, match="delayed"):
        broker.enqueue(message, delay=1000)


def test_only_what_we_need_of_dramatiq_takes_part(broker: FarmBroker) -> None:
    assert [type(layer).__name__ for layer in broker.middleware] == ["CurrentMessage"]
    assert broker.maintenance_chance == 0


def test_demand_counts_waiting_running_and_dead(broker: FarmBroker, board: Board) -> None:
    for part in ("v00001", "v00002", "v00003"):
        send(broker, board, part)
    [first] = broker.do_fetch("cpu.normal", 1)
    broker.do_nack("cpu.normal", dramatiq.Message.decode(first).options[REDIS_ID])
    broker.do_fetch("cpu.normal", 1)
    board.take(REF, "run")
    lease = board.take(PartRef(VIDEO, 1, "v00002"), "run")
    assert lease
    board.release(lease, "error", retry_in=60)

    found = demand(board.client, board.keys.namespace)

    queue = found.queues["cpu.normal"]
    assert queue.oldest == pytest.approx(time.time(), abs=60)
    assert queue == QueueDemand(1, 1, 1, queue.oldest, backlog=2.5)
    assert found.pool(Pool.CPU) == queue
    assert found.pool(Pool.HEAD) == QueueDemand()
    assert found.retrying == 1


def test_workers_are_listed_while_they_say_so(board: Board) -> None:
    client, namespace = board.client, board.keys.namespace
    pools = (Pool.HEAD, Pool.CPU)
    first = WorkerInfo("a", "host", 1, pools, 100.0).busy(str(REF), 101.0)
    second = WorkerInfo("b", "host", 2, (Pool.HEAD,), 100.0)
    announce(client, namespace, second, ttl=60, now=1.0)
    announce(client, namespace, first, ttl=60, now=2.0)
    assert list_workers(client, namespace) == [first, second]
    assert named_workers(client, namespace, ["a", "nobody"]) == (first,)
    assert named_workers(client, namespace, []) == ()
    withdraw(client, namespace, "a")
    assert list_workers(client, namespace) == [second]
    client.delete(board.keys.worker("b"))  # as its time to live would
    assert list_workers(client, namespace) == []
    assert not client.exists(board.keys.workers)

"""Worker processes against a real Valkey: order, drains, deaths, and a Redis that goes away."""

from __future__ import annotations

import shutil
import signal
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import dramatiq
import pytest
import redis
from dramatiq.errors import ConnectionClosed

from farm.embedded import Valkey
from jobs.broker import ACTOR, FarmBroker
from jobs.demand import QueueDemand
from jobs.leases import Attempts
from jobs.parts import Pool, Priority, queue_names
from jobs.timings import Timings
from jobs.workers import list_workers
from pipeline.gate import AGEING, Gate
from tests.integration.runtime_farm import SHORT, VIDEO, Farm, eventually

EMPTY = QueueDemand()


@pytest.fixture
def farm(
    redis_client: redis.Redis, redis_url: str, namespace: str, tmp_path: Path
) -> Iterator[Farm]:
    farm = Farm(redis_url, namespace, tmp_path)
    yield farm
    farm.close()


@contextmanager
def sweeping(farm: Farm, *parts: str) -> Iterator[None]:
    """A sweeper at work in a thread."""
    stop = Event()
    thread = Thread(target=farm.sweeper(parts).run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_part_is_run_and_leaves_nothing(farm: Farm) -> None:
    worker = farm.worker()
    farm.send("quick")
    eventually(lambda: farm.seen("end", "quick") and farm.demand() == EMPTY)
    assert farm.board.parts_in_flight(VIDEO) == set()
    assert farm.board.progress(VIDEO) == {}
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0


def test_a_worker_says_what_it_does_and_that_it_is_gone(farm: Farm) -> None:
    worker = farm.worker()
    ref = farm.send("long")
    eventually(lambda: [w.part for w in list_workers(farm.client, farm.namespace)] == [str(ref)])
    eventually(lambda: farm.board.progress(VIDEO) == {"1/long": 1.0})
    [info] = list_workers(farm.client, farm.namespace)
    assert (info.pid, info.pools) == (worker.pid, (Pool.HEAD, Pool.CPU))
    worker.send_signal(signal.SIGTERM)
    eventually(lambda: list_workers(farm.client, farm.namespace)[0].draining)
    farm.go()
    assert worker.wait(10) == 0
    assert list_workers(farm.client, farm.namespace) == []


def test_duplicates_of_a_message_run_once(farm: Farm) -> None:
    ref = farm.send("long")
    duplicate = dramatiq.Message("cpu.high", ACTOR, (VIDEO, 1, "long"), {}, {})
    farm.broker.enqueue(duplicate)
    farm.worker()
    farm.worker()
    eventually(lambda: farm.board.is_leased(ref) and farm.demand().waiting == 0)
    farm.go()
    eventually(lambda: farm.demand() == EMPTY)
    farm.broker.enqueue(duplicate)
    eventually(lambda: farm.demand() == EMPTY)
    assert len(farm.seen("start", "long")) == 1


def test_a_drain_ends_the_part_and_leaves_the_queue_alone(farm: Farm) -> None:
    worker = farm.worker()
    farm.send("long")
    eventually(lambda: farm.seen("start", "long"))
    farm.send("quick")
    worker.send_signal(signal.SIGTERM)
    eventually(lambda: list_workers(farm.client, farm.namespace)[0].draining)
    farm.go()
    assert worker.wait(10) == 0
    assert farm.seen("end", "long")
    assert not farm.seen("start", "quick")
    assert farm.demand() == QueueDemand(waiting=1)
    assert farm.board.parts_in_flight(VIDEO) == {"1/quick"}


def test_a_second_signal_gives_the_part_back_at_once(farm: Farm) -> None:
    worker = farm.worker()
    ref = farm.send("long")
    eventually(lambda: farm.seen("start", "long"))
    worker.send_signal(signal.SIGINT)
    eventually(lambda: list_workers(farm.client, farm.namespace)[0].draining)
    worker.send_signal(signal.SIGINT)
    assert worker.wait(10) == 0
    assert [event.reason for event in farm.seen("cancel")] == ["drain"]
    assert farm.demand() == QueueDemand(waiting=1)
    assert farm.board.attempts(ref) == Attempts(starts=1, drains=1)
    farm.go()
    farm.worker()
    eventually(lambda: farm.seen("end", "long"))


def test_the_drain_timeout_gives_the_part_back(farm: Farm) -> None:
    worker = farm.worker(drain=0.2)
    farm.send("long")
    eventually(lambda: farm.seen("start", "long"))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 0
    assert farm.demand() == QueueDemand(waiting=1)


def test_a_supervised_worker_ends_with_its_supervisor(farm: Farm) -> None:
    worker = farm.worker(supervised=True)
    farm.send("long")
    eventually(lambda: farm.seen("start", "long"))
    assert worker.stdin
    worker.stdin.close()
    assert worker.wait(10) == 0
    assert farm.demand() == QueueDemand(waiting=1)


def test_a_part_that_will_not_end_does_not_keep_the_worker(farm: Farm) -> None:
    farm.timings = replace(SHORT, cancel_grace=0.2)
    worker = farm.worker(drain=0.1)
    farm.send("deaf")
    eventually(lambda: farm.seen("start", "deaf"))
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(10) == 1


def test_the_part_of_a_killed_worker_is_run_by_another(farm: Farm) -> None:
    first = farm.worker()
    ref = farm.send("long")
    eventually(lambda: farm.seen("start", "long"))
    first.kill()
    first.wait()
    with sweeping(farm, "long"):
        second = farm.worker()
        eventually(lambda: farm.seen("start", "long", second.pid))
        assert farm.board.attempts(ref) == Attempts(starts=2, crashes=1)
        farm.go()
        eventually(lambda: farm.seen("end", "long") and farm.demand() == EMPTY)
    assert len(farm.seen("end", "long")) == 1


def test_a_handler_that_fails_is_tried_again_when_due(farm: Farm) -> None:
    farm.worker()
    with sweeping(farm, "failing"):
        eventually(lambda: farm.seen("end", "failing"))
    assert len(farm.seen("start", "failing")) == 2


def test_a_running_part_hears_that_it_is_not_wanted(farm: Farm) -> None:
    farm.timings = replace(SHORT, poll_every=Timings().poll_every)
    farm.worker()
    farm.send("long")
    eventually(lambda: farm.seen("start", "long"))
    farm.board.request_stop(VIDEO)
    eventually(lambda: farm.seen("cancel", "long"), timeout=2.0)
    assert farm.seen("cancel")[0].reason == "stop"
    eventually(lambda: farm.demand() == EMPTY)


def test_a_run_whose_lease_went_to_another_stops_and_leaves_it_alone(farm: Farm) -> None:
    farm.worker()
    ref = farm.send("long")
    eventually(lambda: farm.seen("start", "long"))
    farm.client.hset(farm.board.keys.parts(VIDEO), "1/long", "leased 1 another")
    eventually(lambda: farm.seen("cancel", "long"))
    assert farm.seen("cancel")[0].reason == "lost"
    eventually(lambda: farm.demand() == EMPTY)
    assert farm.board.holder(ref) == "another"


def test_an_emptied_redis_neither_stops_nor_doubles_what_runs(farm: Farm) -> None:
    farm.worker()
    idle = farm.worker()
    ref = farm.send("long")
    eventually(lambda: farm.seen("start", "long"))
    holder = farm.board.holder(ref)
    with sweeping(farm, "long"):
        eventually(lambda: farm.inbox_reads)
        farm.client.flushall()
        eventually(lambda: not farm.board.sentinel_lost())
        reads = farm.inbox_reads
        eventually(lambda: farm.inbox_reads > reads + 1)
        assert farm.board.holder(ref) == holder
        farm.go()
        eventually(lambda: farm.seen("end", "long") and farm.demand() == EMPTY)
    assert len(farm.seen("start", "long")) == 1
    assert idle.poll() is None


@pytest.mark.parametrize("emptied", [False, True])
def test_work_goes_on_after_redis_was_away(tmp_path: Path, namespace: str, emptied: bool) -> None:
    with Valkey(tmp_path / "valkey") as server:
        farm = Farm(server.url, namespace, tmp_path)
        try:
            farm.worker()
            farm.worker()
            farm.send("long")
            eventually(lambda: farm.seen("start", "long"))
            with sweeping(farm, "long"):
                eventually(lambda: farm.inbox_reads)
                url = server.url
                server.stop()
                if emptied:
                    shutil.rmtree(tmp_path / "valkey" / "data")
                farm.go()
                eventually(lambda: farm.seen("end", "long"))
                server.start()
                assert server.url == url
                eventually(lambda: farm.demand() == EMPTY)
                farm.send("after")
                eventually(lambda: farm.seen("end", "after"))
            assert len(farm.seen("start", "long")) == 1
            assert all(worker.poll() is None for worker in farm.workers)
        finally:
            farm.close()


def test_queues_are_served_by_pool_and_priority_and_none_starves(farm: Farm) -> None:
    for number in range(AGEING):
        farm.send(f"q-high{number}", priority=Priority.HIGH)
    farm.send("q-low", priority=Priority.LOW)
    farm.send("q-normal", priority=Priority.NORMAL)
    farm.send("q-head", Pool.HEAD, Priority.LOW)
    farm.worker()
    eventually(lambda: len(farm.seen("end")) == AGEING + 3)
    order = [event.part for event in farm.seen("start")]
    highs = [f"q-high{number}" for number in range(AGEING)]
    assert order == ["q-head", *highs[:6], "q-low", *highs[6:], "q-normal"]


def test_one_slot_never_holds_more_than_one_message(farm: Farm) -> None:
    parts = []
    for pool in (Pool.HEAD, Pool.CPU):
        for priority in Priority:
            farm.send(f"long-{pool}-{priority}", pool, priority)
            parts.append(f"long-{pool}-{priority}")
    assert len(parts) == len(queue_names((Pool.HEAD, Pool.CPU), schema=1))
    farm.worker()
    eventually(lambda: farm.seen("start"))
    assert farm.demand() == QueueDemand(waiting=5, in_flight=1)
    farm.go()
    eventually(lambda: len(farm.seen("end")) == 6)
    assert [event.part for event in farm.seen("start")] == parts


def test_a_head_slot_serves_its_own_pool_only(farm: Farm) -> None:
    farm.worker(pools="head")
    farm.send("quick-cpu")
    farm.send("quick-head", Pool.HEAD)
    eventually(lambda: farm.seen("end", "quick-head"))
    assert not farm.seen("start", "quick-cpu")
    assert farm.demand() == QueueDemand(waiting=1)


def test_what_cannot_be_read_becomes_a_dead_letter_and_blocks_nothing(farm: Farm) -> None:
    farm.broker.do_enqueue("cpu.high", "garbage", b"not a message")
    stray = dramatiq.Message("elsewhere", ACTOR, (VIDEO, 1, "x"), {}, {"redis_message_id": "stray"})
    farm.broker.do_enqueue("cpu.high", "stray", stray.encode())
    unknown = dramatiq.Message("cpu.high", "unknown", (), {}, {})
    farm.broker.enqueue(unknown)
    farm.worker()
    farm.send("quick")
    eventually(lambda: farm.seen("end", "quick") and farm.demand() == QueueDemand(dead=3))


class Losing(FarmBroker):
    """Redis does what it is told, and its answer gets lost once."""

    lose: type[redis.RedisError] | None = redis.TimeoutError

    def do_fetch(self, queue: str, count: int) -> list[bytes]:
        return self._lost(self._dispatch("fetch")(queue, count))

    def do_ack(self, queue: str, redis_id: str) -> None:
        return self._lost(self._dispatch("ack")(queue, redis_id))

    def _lost(self, answer):
        error, self.lose = self.lose, None
        if error:
            raise error("no answer")
        return answer


@pytest.fixture
def losing(farm: Farm) -> Losing:
    return Losing(farm.client, farm.namespace)


def test_a_message_whose_fetch_had_no_answer_is_reclaimed(farm: Farm, losing: Losing) -> None:
    gate = Gate(losing, ("cpu.normal",), fetch_every=0.01)
    farm.send("quick")
    assert gate.next() is None
    assert farm.demand() == QueueDemand(in_flight=1)
    message = gate.next()
    assert message is not None
    assert message.args == (VIDEO, 1, "quick")


@pytest.mark.parametrize("error", [redis.TimeoutError, redis.ConnectionError])
def test_an_acknowledgement_without_an_answer_is_repeated(
    farm: Farm, losing: Losing, error: type[redis.RedisError]
) -> None:
    losing.lose = None
    gate = Gate(losing, ("cpu.normal",), fetch_every=0.01)
    consumer = gate.consumer("cpu.normal")
    farm.send("quick")
    message = gate.next()
    assert message is not None
    losing.lose = error
    with pytest.raises(ConnectionClosed):
        consumer.ack(message)
    assert gate.busy
    consumer.ack(message)
    assert not gate.busy
    assert farm.demand() == EMPTY


def test_work_starts_within_milliseconds(farm: Farm) -> None:
    farm.timings = Timings()
    farm.worker()
    latencies = []
    for number in range(30):
        part = f"quick{number}"
        sent = farm.client.time()
        farm.send(part)
        eventually(lambda part=part: farm.seen("end", part))
        at = farm.seen("start", part)[0].at
        latencies.append(at - (sent[0] + sent[1] / 1e6))
    median = statistics.median(latencies)
    print(f"from enqueue to start: median {median * 1000:.1f} ms, worst {max(latencies):.3f} s")
    assert median < 0.1, "slower than the doorbell; this is what polling takes"


def test_no_ring_of_the_doorbell_is_lost(farm: Farm) -> None:
    """What only a look of its own could find comes after a minute: every start is the bell's."""
    farm.timings = Timings(fetch_every=60.0)
    farm.worker()
    for number in range(10):
        part = f"quick{number}"
        farm.send(part)
        eventually(lambda part=part: farm.seen("end", part))


def test_an_idle_worker_asks_redis_for_little(farm: Farm) -> None:
    """One command for all its queues at each look, however many these are."""
    farm.timings = Timings(fetch_every=0.1, renew_every=60.0)
    farm.worker()
    looks, counts = _calls(farm, "exists"), _calls(farm, "llen")
    eventually(lambda: _calls(farm, "exists") >= looks + 10)
    assert _calls(farm, "llen") == counts


def _calls(farm: Farm, command: str) -> int:
    return int(farm.client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])

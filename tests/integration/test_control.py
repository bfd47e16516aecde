"""The operator's word, obeyed by real workers on a real Valkey."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from jobs import control
from jobs.control import Control
from jobs.keys import Keys
from jobs.parts import Pool
from jobs.workers import WorkerInfo, announce, list_workers
from pipeline.gate import Gate
from tests.integration.runtime_farm import SHORT, Farm, eventually


@pytest.fixture
def farm(
    redis_client: redis.Redis, redis_url: str, namespace: str, tmp_path: Path
) -> Iterator[Farm]:
    farm = Farm(redis_url, namespace, tmp_path)
    yield farm
    farm.close()


def looks(farm: Farm, count: int) -> None:
    """Wait until idle workers have looked at their queues so often again."""
    before = calls(farm, "exists")
    eventually(lambda: calls(farm, "exists") >= before + count)


def calls(farm: Farm, command: str) -> int:
    return int(farm.client.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


def test_what_is_said_is_read_back_at_one_command(
    redis_client: redis.Redis, namespace: str
) -> None:
    control.pause(redis_client, namespace, "cpu")
    control.set_count(redis_client, namespace, "cpu", 4)
    control.set_count(redis_client, namespace, "head", 0)
    control.drain(redis_client, namespace, "host: one")
    redis_client.hset(Keys(namespace).control, mapping={"of a later version": "1", "count:x": "?"})
    found = control.read(redis_client, namespace)
    said = Control(frozenset({"cpu"}), {"cpu": 4, "head": 0}, frozenset({"host: one"}))
    assert found == said

    control.clear_count(redis_client, namespace, "cpu")
    control.resume(redis_client, namespace)
    control.undrain(redis_client, namespace)
    assert control.read(redis_client, namespace) == Control(counts={"head": 0})


def test_a_paused_farm_begins_nothing_and_ends_what_runs(farm: Farm) -> None:
    farm.worker()
    farm.worker()
    farm.send("long-1")
    eventually(lambda: farm.seen("start", "long-1"))
    control.pause(farm.client, farm.namespace)
    farm.send("short-1")
    farm.send("short-2", Pool.HEAD)
    looks(farm, 6)
    farm.go()
    eventually(lambda: farm.seen("end", "long-1"))
    looks(farm, 6)
    assert not farm.seen("start", "short-1")
    assert not farm.seen("start", "short-2")
    assert farm.demand().waiting == 2

    control.resume(farm.client, farm.namespace)
    eventually(lambda: farm.seen("end", "short-1") and farm.seen("end", "short-2"))


def test_one_pool_may_be_paused(farm: Farm) -> None:
    control.pause(farm.client, farm.namespace, "cpu")
    farm.worker()
    farm.send("short-1", Pool.CPU)
    farm.send("short-2", Pool.HEAD)
    eventually(lambda: farm.seen("end", "short-2"))
    looks(farm, 4)
    assert not farm.seen("start", "short-1")


def test_a_pause_holds_for_workers_that_start_later_and_goes_with_redis(farm: Farm) -> None:
    farm.worker().kill()
    control.pause(farm.client, farm.namespace)
    farm.send("short-1")
    farm.worker()
    looks(farm, 4)
    assert not farm.seen("start", "short-1")
    farm.client.delete(Keys(farm.namespace).control)
    eventually(lambda: farm.seen("end", "short-1"))


def test_resuming_is_noticed_at_once(farm: Farm) -> None:
    """By the doorbell: by themselves these workers would look again after more than a minute."""
    farm.timings = replace(SHORT, fetch_every=100.0)
    control.pause(farm.client, farm.namespace)
    farm.worker()
    farm.send("short-1")
    assert not farm.seen("start", "short-1")
    control.resume(farm.client, farm.namespace, "cpu")
    eventually(lambda: farm.seen("end", "short-1"))


def test_the_log_says_once_why_nothing_begins(farm: Farm) -> None:
    gate = Gate(farm.broker, ("cpu.normal",), fetch_every=0.01)
    control.pause(farm.client, farm.namespace)
    farm.send("short-1")
    with capture_logs() as logs:
        assert [gate.next() for _ in range(3)] == [None] * 3
        control.resume(farm.client, farm.namespace)
        assert gate.next() is not None
    told = [(each["event"], each["pools"]) for each in logs if "pools" in each]
    assert told == [("pools_paused", ["cpu"]), ("pools_resumed", [])]


def test_an_idle_worker_of_a_paused_pool_asks_no_more_than_any_other(farm: Farm) -> None:
    farm.timings = replace(SHORT, renew_every=60.0)
    control.pause(farm.client, farm.namespace)
    farm.worker()
    counts = calls(farm, "hmget"), calls(farm, "llen")
    looks(farm, 5)
    assert (calls(farm, "hmget"), calls(farm, "llen")) == counts


def test_a_worker_tells_what_it_makes_and_how_fast(farm: Farm) -> None:
    farm.worker()
    farm.send("long-1")

    def told() -> bool:
        (worker,) = list_workers(farm.client, farm.namespace)
        known = (worker.kind, worker.cost, worker.speed, worker.queue)
        return known == ("video 720p,360p", 12.5, 1.5, "cpu.normal")

    eventually(told)
    farm.go()
    eventually(lambda: list_workers(farm.client, farm.namespace)[0].part is None)
    (idle,) = list_workers(farm.client, farm.namespace)
    assert (idle.kind, idle.cost, idle.speed, idle.queue) == (None, None, None, None)
    assert (idle.cls, bool(idle.version)) == ("cpu", True)


def test_workers_of_other_versions_are_listed(redis_client: redis.Redis, namespace: str) -> None:
    """An older one says less, a newer one more, and one of none but unknown pools is left out."""
    keys = Keys(namespace)
    info = WorkerInfo("newer", "host", 1, (Pool.CPU,), 1.0)
    announce(redis_client, namespace, info, ttl=60, now=1.0)
    fields = json.loads(redis_client.get(keys.worker("newer")) or b"")
    redis_client.set(
        keys.worker("newer"), json.dumps({**fields, "colour": "red", "pools": ["cpu", "quantum"]})
    )
    old = ("name", "host", "pid", "pools", "started_at", "part", "since", "draining")
    for name, pools in (("older", ["cpu"]), ("other", ["quantum"])):
        said = {each: fields[each] for each in old} | {"name": name, "pools": pools}
        redis_client.set(keys.worker(name), json.dumps(said))
        redis_client.zadd(keys.workers, {name: 1.0})
    assert list_workers(redis_client, namespace) == [info, replace(info, name="older")]

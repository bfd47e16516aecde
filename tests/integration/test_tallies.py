"""What processes count adds up in Redis, each count once, whatever becomes of Redis meanwhile."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from farm.embedded import Valkey
from jobs.broker import connect_redis
from jobs.keys import Keys
from jobs.metrics import (
    LEASE_EXPIRIES,
    PART_RETRIES,
    QUEUE_WAIT,
    REDIS_DURATION,
    REDIS_ERRORS,
    WORKER_SECONDS,
)
from jobs.tallies import Tallies, read

VIDEO = ("video",)
QUEUE = ("cpu.normal",)


def test_the_counts_of_many_threads_and_processes_add_up(redis_url: str, namespace: str) -> None:
    many = [Tallies() for _ in range(3)]
    with connect_redis(redis_url) as client, ThreadPoolExecutor(6) as pool:

        def work(number: int) -> None:
            tallies = many[number % 3]
            for _ in range(500):
                tallies.add(PART_RETRIES, VIDEO)
                tallies.observe(QUEUE_WAIT, 0.75, QUEUE)
                if number < 3:
                    tallies.flush(client, namespace)

        list(pool.map(work, range(6)))
        for tallies in many:
            assert tallies.flush(client, namespace)
        found = read(client, namespace)
    assert found.counters[PART_RETRIES] == {VIDEO: 3000}
    waits = found.histograms[QUEUE_WAIT][QUEUE]
    assert sum(waits.counts) == waits.counts[QUEUE_WAIT.buckets.index(1.0)] == 3000
    assert waits.total == pytest.approx(2250)


def test_a_batch_whose_answer_got_lost_counts_once(redis_url: str, namespace: str) -> None:
    tallies = Tallies()
    with connect_redis(redis_url) as client:
        tallies.add(LEASE_EXPIRIES, amount=2)
        assert not tallies.flush(_Deaf(client), namespace)
        tallies.add(LEASE_EXPIRIES, amount=3)
        assert tallies.flush(client, namespace)
        assert read(client, namespace).counters[LEASE_EXPIRIES] == {(): 5}


def test_what_redis_does_not_take_is_kept(tmp_path: Path, namespace: str) -> None:
    tallies = Tallies()
    with Valkey(tmp_path / "valkey") as valkey, connect_redis(valkey.url) as client:
        tallies.add(LEASE_EXPIRIES)
        assert tallies.flush(client, namespace)
        client.config_set("appendfsync", "always")
        tallies.add(LEASE_EXPIRIES)
        assert tallies.flush(client, namespace)
        kill(valkey)
        for _ in range(3):
            tallies.add(LEASE_EXPIRIES)
            assert not tallies.flush(client, namespace)
        valkey.stop()
        valkey.start()
        assert tallies.flush(client, namespace)
        assert read(client, namespace).counters[LEASE_EXPIRIES] == {(): 5}


def test_an_emptied_redis_begins_anew(redis_client: redis.Redis, namespace: str) -> None:
    tallies = Tallies()
    tallies.add(LEASE_EXPIRIES, amount=7)
    tallies.flush(redis_client, namespace)
    redis_client.flushall()
    tallies.add(LEASE_EXPIRIES)
    assert tallies.flush(redis_client, namespace)
    assert read(redis_client, namespace).counters[LEASE_EXPIRIES] == {(): 1}


def test_an_idle_worker_sends_once_a_minute(redis_client: redis.Redis, namespace: str) -> None:
    tallies = Tallies()
    sent = []
    for _ in range(36):  # three minutes of heartbeats
        tallies.add(WORKER_SECONDS, ("cpu",), 5.0)
        before = counted(redis_client)
        assert tallies.flush(redis_client, namespace)
        sent.append(counted(redis_client) - before > 1)
    assert sum(sent) == 3
    assert tallies.flush(redis_client, namespace, last=True)
    found = read(redis_client, namespace).counters[WORKER_SECONDS]
    assert found == {("cpu",): 180}


def test_a_reader_of_another_version_makes_the_best_of_it(
    redis_client: redis.Redis, namespace: str
) -> None:
    hash_ = Keys(namespace).tallies
    redis_client.hset(hash_, "reelfarm_of_tomorrow_total", 4)
    redis_client.hset(hash_, "reelfarm_part_retries_total\tvideo\tlater_label", 4)
    redis_client.hset(hash_, "reelfarm_queue_wait_seconds\tcpu.normal\t0.7", 2)
    redis_client.hset(hash_, "reelfarm_queue_wait_seconds\tcpu.normal\t1e+99", 1)
    found = read(redis_client, namespace)
    assert not found.counters
    counts = found.histograms[QUEUE_WAIT][QUEUE].counts
    assert (counts[QUEUE_WAIT.buckets.index(1.0)], counts[-1], sum(counts)) == (2, 1, 3)


def test_round_trips_are_timed_and_failures_counted(redis_url: str, namespace: str) -> None:
    tallies = Tallies()
    with connect_redis(redis_url, tallies) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(10):
            pipeline.set(f"{namespace}:{number}", number)
        pipeline.execute()
        client.get(f"{namespace}:1")
        client.set(f"{namespace}:text", "text")
        with pytest.raises(redis.ResponseError):
            client.incr(f"{namespace}:text")
        client.register_script("return 1")()
        assert round_trips(tallies) == 4 + 3  # a script that Redis does not know: told, and again
        tallies.flush(client, namespace, last=True)
        found = read(client, namespace)
    assert found.counters[REDIS_ERRORS] == {("ResponseError",): 1}
    assert found.histograms[REDIS_DURATION][()].total < 5


def test_a_server_that_is_not_there_is_counted() -> None:
    tallies = Tallies()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        client = connect_redis(f"redis://127.0.0.1:{unused.getsockname()[1]}/0", tallies)
        with pytest.raises(redis.RedisError):
            client.ping()
    assert tallies.pending["reelfarm_redis_errors_total\tConnectionError"] == 1


def kill(valkey: Valkey) -> None:
    """As the kernel would, without a word."""
    assert valkey.pid is not None
    os.kill(valkey.pid, signal.SIGKILL)


def counted(client: redis.Redis) -> int:
    """Commands that this client's server has served."""
    info: dict[str, Any] = client.info("stats")
    return int(info["total_commands_processed"])


def round_trips(tallies: Tallies) -> float:
    name = f"{REDIS_DURATION.name}\t"
    return sum(v for k, v in tallies.pending.items() if k.startswith(name) and "sum" not in k)


class _Deaf:
    """A client that never hears the answer to what it sends."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def register_script(self, text: str) -> Callable[..., None]:
        script = self._client.register_script(text)

        def call(*arguments: Any) -> None:
            script(*arguments)
            raise redis.TimeoutError("the answer got lost")

        return call

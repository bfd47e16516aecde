"""``GET /metrics`` as it is served: formats, access, and what is told where Redis is not there."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import redis
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parsed_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parsed

from farm.embedded import Valkey
from ingest.config import IngestConfig
from ingest.measures import Measures
from ingest.metrics import TIMEOUT
from jobs import control, scaling
from jobs.board import Board
from jobs.broker import FarmBroker, connect_redis
from jobs.devices import Circuit, DeviceInfo
from jobs.metrics import (
    HTTP_DURATION,
    LEASE_EXPIRIES,
    METRICS,
    POOL_WORKERS,
    QUEUE_WAIT,
    REDIS_DURATION,
)
from jobs.parts import PartRef, Pool, Priority
from jobs.scaling import ScalingDecision
from jobs.send import Sender
from jobs.tallies import Tallies
from jobs.workers import WorkerInfo, announce, withdraw
from storage import layout
from storage.objects import ObjectStore
from tests.integration.api_server import ApiServer, eventually

OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@contextmanager
def serving(
    store: ObjectStore, client: redis.Redis, namespace: str, config: IngestConfig | None = None
) -> Iterator[tuple[ApiServer, Measures]]:
    """An API with measures of that Redis."""
    api = ApiServer(store, config)
    measures = Measures(client, namespace, store, lambda: {"storage": None, "redis": "away"}, "1.2")
    api.use(replace(api.deps, measures=measures))
    with api:
        yield api, measures


def test_both_formats_tell_every_metric(
    object_store: ObjectStore, redis_client: redis.Redis, namespace: str
) -> None:
    tallies = Tallies()
    tallies.add(LEASE_EXPIRIES, amount=3)
    tallies.observe(QUEUE_WAIT, 0.02, ("cpu.normal",))
    tallies.flush(redis_client, namespace)
    with serving(object_store, redis_client, namespace) as (api, measures):
        object_store.put(layout.dead_letter("01k00000000000000000000000-1-v0"), b"{}")
        measures.look()
        plain = api.client.get("/metrics")
        open_ = api.client.get("/metrics", headers={"accept": OPENMETRICS})
    assert plain.headers["content-type"].startswith("text/plain; version=")
    assert open_.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in parsed(plain.text)}
    openly = {family.name: family for family in parsed_openmetrics(open_.text)}
    names = {metric.name.removesuffix("_total") for metric in METRICS}
    assert {each.removesuffix("_total") for each in families} == openly.keys() == names
    assert told(plain.text, "reelfarm_lease_expiries_total") == 3
    assert told(plain.text, "reelfarm_up") == 1
    assert told(plain.text, "reelfarm_dead_letters") == 1
    assert told(plain.text, 'reelfarm_ready{check="redis"}') == 0
    assert told(plain.text, 'reelfarm_ready{check="storage"}') == 1
    assert told(plain.text, 'reelfarm_queue_wait_seconds_bucket{le="0.05",queue="cpu.normal"}') == 1
    assert told(plain.text, 'reelfarm_queue_wait_seconds_bucket{le="0.01",queue="cpu.normal"}') == 0


def test_requests_are_timed_by_route(object_store: ObjectStore) -> None:
    with ApiServer(object_store) as api:
        for _ in range(3):
            assert api.client.get("/v1/videos/01jz0000000000000000000000").status_code == 404
        api.client.get("/v1/videos")
        api.client.get("/no/such/page")
        api.client.request("PROPFIND", "/v1/videos")
        assert eventually(lambda: api.ended == 6)
        found = api.deps.tallies.pending
    counts: Counter[str] = Counter()
    for name, amount in found.items():
        if name.startswith(HTTP_DURATION.name) and not name.endswith("sum"):
            counts[" ".join(name.split("\t")[1:4])] += int(amount)
    assert counts == {
        "GET /v1/videos/{video_id} 4xx": 3,
        "GET /v1/videos 2xx": 1,
        "GET other 4xx": 1,
        "other /v1/videos 4xx": 1,
    }


def test_queues_and_pools_are_looked_up(
    object_store: ObjectStore, redis_client: redis.Redis, namespace: str
) -> None:
    board = Board(redis_client, namespace)
    sender = Sender(FarmBroker(redis_client, namespace), board)
    for number in range(5):
        ref = PartRef("01k00000000000000000000000", 1, f"v{number}")
        sender.send(ref, Pool.CPU, Priority.NORMAL, cost=12.0)
    now = time.time()
    for number in range(4):
        worker = WorkerInfo(f"w{number}", "host", number, (Pool.HEAD, Pool.CPU), now)
        worker = worker.busy("v/1/p" if number else None, now)
        announce(redis_client, namespace, worker, ttl=15, now=now)
    control.pause(redis_client, namespace, "gpu")
    scaling.record(
        redis_client,
        namespace,
        *(
            ScalingDecision(now, "cpu", host, "local", before=1, count=3, actual=2, reason="as is")
            for host in ("one", "another")
        ),
    )
    for device in ("0", "1"):
        circuit = Circuit(redis_client, namespace, DeviceInfo("gpu-1", device, "nvenc"))
        circuit.announce(now)
        if device == "1":
            circuit.open(now, "it does not open")
    with serving(object_store, redis_client, namespace) as (api, _):
        text = api.client.get("/metrics").text
    assert told(text, 'reelfarm_pool_paused{pool="gpu"}') == 1
    assert told(text, 'reelfarm_pool_desired_workers{pool="cpu"}') == 6
    assert told(text, 'reelfarm_pool_actual_workers{pool="cpu"}') == 4
    for device, is_open in (("0", 0), ("1", 1)):
        labels = f'device="{device}",encoder="nvenc",host="gpu-1"'
        assert told(text, f"reelfarm_encoder_circuit_open{{{labels}}}") == is_open
    assert told(text, 'reelfarm_queue_depth{queue="cpu.normal"}') == 5
    assert 0 <= told(text, 'reelfarm_queue_oldest_age_seconds{queue="cpu.normal"}') < 60
    assert told(text, 'reelfarm_parts{state="waiting"}') == 5
    assert told(text, 'reelfarm_backlog_core_seconds{pool="cpu"}') == pytest.approx(60)
    assert told(text, 'reelfarm_backlog_seconds_per_worker{pool="cpu"}') == pytest.approx(15)
    assert told(text, 'reelfarm_pool_workers{pool="cpu"}') == 4
    assert told(text, 'reelfarm_pool_busy_workers{pool="cpu"}') == 3
    assert told(text, 'reelfarm_pool_paused{pool="cpu"}') == 0


def test_the_metrics_token_opens_the_metrics_and_nothing_else(
    object_store: ObjectStore, redis_client: redis.Redis, namespace: str
) -> None:
    config = IngestConfig(api_token="s3cret", metrics_token="scr4pe")
    with serving(object_store, redis_client, namespace, config) as (api, _):

        def status(path: str, token: str | None) -> int:
            headers = {"authorization": f"Bearer {token}"} if token else {}
            return api.client.get(path, headers=headers).status_code

        assert [status("/metrics", token) for token in (None, "wrong", "scr4pe", "s3cret")] == [
            401, 401, 200, 200,
        ]  # fmt: skip
        assert [status("/v1/videos", token) for token in ("scr4pe", "s3cret")] == [401, 200]


def test_without_redis_the_api_tells_what_it_knows(
    object_store: ObjectStore, tmp_path: Path, namespace: str
) -> None:
    with (
        Valkey(tmp_path / "valkey") as valkey,
        connect_redis(valkey.url) as client,
        serving(object_store, client, namespace) as (api, measures),
    ):
        measures.look()
        assert told(api.client.get("/metrics").text, "reelfarm_up") == 1
        assert valkey.pid is not None
        os.kill(valkey.pid, signal.SIGSTOP)
        time.sleep(1)  # what was told a moment ago is told again
        began = time.monotonic()
        hung = api.client.get("/metrics", timeout=30)
        assert time.monotonic() - began < 2 * TIMEOUT
        os.kill(valkey.pid, signal.SIGKILL)
        valkey.stop()
        gone = api.client.get("/metrics", timeout=30)
    for answer in (hung, gone):
        assert answer.status_code == 200
        assert told(answer.text, "reelfarm_up") == 0
        assert told(answer.text, 'reelfarm_ready{check="storage"}') == 1
        assert "_total" not in answer.text


def test_a_scrape_stays_cheap_with_two_thousand_workers(
    object_store: ObjectStore, redis_url: str, redis_client: redis.Redis, namespace: str
) -> None:
    now, tallies, clock = time.time(), Tallies(), [0.0]
    info = WorkerInfo("", "a-host-of-the-farm", 4711, (Pool.HEAD, Pool.CPU), now)
    for number in range(2000):
        announce(redis_client, namespace, replace(info, name=f"w{number}"), ttl=60, now=now)
    with connect_redis(redis_url, tallies) as client:
        measures = Measures(
            client, namespace, object_store, dict, "1.2", monotonic=lambda: clock[0]
        )
        for _ in range(50):
            assert measures().gauges[POOL_WORKERS][("cpu",)] == 2000
        once = round_trips(tallies)
        assert once < 12
        clock[0] += 1.0
        withdraw(redis_client, namespace, "w7")
        assert measures().gauges[POOL_WORKERS][("cpu",)] == 2000  # not read anew by each scrape
        assert round_trips(tallies) - once < once
        clock[0] += 15.0
        measures.look()
        assert measures().gauges[POOL_WORKERS][("cpu",)] == 1999


def round_trips(tallies: Tallies) -> float:
    name = f"{REDIS_DURATION.name}\t"
    return sum(v for k, v in tallies.pending.items() if k.startswith(name) and "sum" not in k)


def told(text: str, series: str) -> float:
    """The value of the one sample of that name and labels."""
    found = re.findall(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert len(found) == 1, f"{series}: {found}"
    return float(found[0])

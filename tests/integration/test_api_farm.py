"""``/v1/farm`` as it is served: what it tells, within bounds, and the operator's word."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from threading import Event
from typing import Any

import pytest
import redis

from ingest.config import IngestConfig
from ingest.live import Live, Look
from jobs import control, scaling
from jobs.board import Board
from jobs.broker import FarmBroker, connect_redis
from jobs.devices import Circuit, DeviceInfo
from jobs.ids import new_video_id
from jobs.letters import AttemptCounts, DeadLetter
from jobs.parts import PartRef, Pool, Priority
from jobs.records import Problem
from jobs.scaling import ScalingDecision
from jobs.send import Sender
from jobs.workers import WorkerInfo, announce
from storage.errors import UnavailableError
from storage.objects import ObjectStore
from tests.integration.api_server import ApiServer

VIDEO = "01jz0000000000000000000000"


@contextmanager
def serving(
    store: ObjectStore, client: redis.Redis, namespace: str, config: IngestConfig | None = None
) -> Iterator[ApiServer]:
    api = ApiServer(store, config)
    api.use(replace(api.deps, live=Live(client, namespace)))
    with api:
        yield api


@pytest.fixture
def api(
    object_store: ObjectStore, redis_client: redis.Redis, namespace: str
) -> Iterator[ApiServer]:
    with serving(object_store, redis_client, namespace) as api:
        yield api


def worker(name: str, **changes: Any) -> WorkerInfo:
    info = WorkerInfo(name, "host-a", 7, (Pool.HEAD, Pool.CPU), time.time(), version="1.2")
    return replace(info, **changes)


def letter(part: str) -> DeadLetter:
    problem = Problem(code="encode_failed", message="it broke", hint="mend it")
    return DeadLetter.model_validate(
        {
            "id": f"{VIDEO}-1-{part}",
            "video_id": VIDEO,
            "filename": "a.mov",
            "generation": 1,
            "part": part,
            "problem": problem,
            "counts": AttemptCounts(),
            "attempts": (),
            "evidence": None,
            "created_at": "2026-01-01T00:00:00Z",
        }
    )


def test_an_idle_farm(api: ApiServer) -> None:
    farm = api.client.get("/v1/farm").json()
    assert farm["backlog"] == {
        "seconds": 0.0,
        "waiting_seconds": 0.0,
        "unsent_seconds": 0.0,
        "retrying": 0,
    }
    assert farm["worker_count"] == {"total": 0, "busy": 0, "draining": 0}
    assert (farm["workers"], farm["pools"], farm["recent_failures"]) == ([], [], [])
    assert farm["control"] == {"paused": [], "counts": {}, "draining": []}
    assert {"head.high", "cpu.normal", "cpu.low"} <= set(farm["queues"])


class Stuck(Live):
    """A look at a Redis that hangs."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        super().__init__(client, namespace)
        self.begun, self.over = Event(), Event()

    def look(self) -> Look:
        self.begun.set()
        assert self.over.wait(60)
        return super().look()


def test_those_who_watch_a_farm_that_hangs_keep_no_one_else_waiting(
    object_store: ObjectStore, redis_client: redis.Redis, namespace: str
) -> None:
    api, stuck = ApiServer(object_store), Stuck(redis_client, namespace)
    api.use(replace(api.deps, live=stuck))
    with api, ExitStack() as stack:
        stack.callback(stuck.over.set)
        for _ in range(40):
            watcher = stack.enter_context(api.connect())
            watcher.sendall(b"GET /v1/farm HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert stuck.begun.wait(20)
        assert api.client.get("/v1/videos", timeout=20).is_success
        assert not stuck.over.is_set()


def test_everything_there_is_to_see(
    api: ApiServer, redis_client: redis.Redis, namespace: str
) -> None:
    board, broker = Board(redis_client, namespace), FarmBroker(redis_client, namespace)
    Sender(broker, board).send(PartRef(VIDEO, 1, "v3"), Pool.CPU, Priority.LOW, cost=20.0)
    now = time.time()
    at_work = worker(
        "w2", part=f"{VIDEO}/1/v2", since=now - 3, queue="cpu.low", cost=9.5,
        kind="video 720p", speed=2.5,
    )  # fmt: skip
    for each in (worker("w1", draining=True), at_work):
        announce(redis_client, namespace, each, ttl=60, now=now)
    decision = ScalingDecision(now, "cpu", "host-a", "local", 1, 3, 2, "grow: 1 waiting")
    scaling.record(redis_client, namespace, decision)
    control.pause(redis_client, namespace, "cpu")
    control.set_count(redis_client, namespace, "cpu", 5)
    api.catalog.letters.put(letter("v1"))
    device = DeviceInfo("host-a", "/dev/dri/renderD128", "vaapi", ("h264",), "encoded 2 pictures")
    circuit = Circuit(redis_client, namespace, device)
    circuit.announce(now)
    circuit.open(now, "the driver hung")

    farm = api.client.get("/v1/farm").json()
    queue = farm["queues"]["cpu.low"]
    assert (queue["waiting"], queue["in_flight"], queue["backlog_seconds"]) == (1, 0, 20.0)
    assert 0 <= queue["oldest_seconds"] < 60
    assert farm["backlog"]["seconds"] == 20.0
    (pool,) = farm["pools"]
    assert {name: pool[name] for name in ("name", "host", "target", "desired", "actual")} == {
        "name": "cpu",
        "host": "host-a",
        "target": "local",
        "desired": 3,
        "actual": 2,
    }
    assert (pool["paused"], pool["override"], pool["reason"]) == (True, 5, "grow: 1 waiting")
    assert farm["worker_count"] == {"total": 2, "busy": 1, "draining": 1}
    busy, idle = farm["workers"]
    assert (busy["name"], busy["pool"], busy["version"]) == ("w2", "cpu", "1.2")
    part = busy["part"]
    assert (part["video_id"], part["part"], part["queue"]) == (VIDEO, "v2", "cpu.low")
    assert (part["kind"], part["cost_seconds"], part["speed"]) == ("video 720p", 9.5, 2.5)
    assert (idle["name"], idle["part"], idle["draining"]) == ("w1", None, True)
    assert [each["count"] for each in farm["decisions"]] == [3]
    (shown,) = farm["devices"]
    assert (shown["encoder"], shown["codecs"], shown["circuit"]) == ("vaapi", ["h264"], "open")
    assert (shown["reason"], shown["until"] > shown["opened_at"]) == ("the driver hung", True)
    (failure,) = farm["recent_failures"]
    assert (failure["part"], failure["code"], failure["filename"]) == (
        *("v1", "encode_failed", "a.mov"),
    )


def test_many_workers_are_counted_and_those_longest_at_work_shown(
    api: ApiServer, redis_client: redis.Redis, namespace: str
) -> None:
    now = time.time()
    for number in range(30):
        busy = {"part": f"{VIDEO}/1/v{number}", "since": now - number} if number % 2 else {}
        announce(redis_client, namespace, worker(f"w{number:02}", **busy), ttl=60, now=now)
    farm = api.client.get("/v1/farm?workers=3").json()
    assert farm["worker_count"] == {"total": 30, "busy": 15, "draining": 0}
    assert [each["name"] for each in farm["workers"]] == ["w29", "w27", "w25"]
    assert api.client.get("/v1/farm?workers=0").json()["workers"] == []
    assert api.client.get("/v1/farm?workers=5000").status_code == 422
    # Workers that nobody scales here are a pool all the same.
    assert [(each["name"], each["desired"], each["actual"]) for each in farm["pools"]] == [
        ("cpu", None, 30)
    ]


def test_a_look_costs_the_same_however_much_there_is_to_do(
    api: ApiServer, redis_client: redis.Redis, namespace: str
) -> None:
    def cost() -> int:
        redis_client.config_resetstat()
        assert api.client.get("/v1/farm").status_code == 200
        stats = redis_client.info("commandstats")
        asked = {name: stats[name]["calls"] for name in stats if name != "cmdstat_config|resetstat"}
        sent = ("evalsha", "eval", "get", "hgetall", "lrange", "mget", "zrange", "zcard")
        return sum(asked.get(f"cmdstat_{name}", 0) for name in sent)

    cost()
    idle = cost()
    board, broker = Board(redis_client, namespace), FarmBroker(redis_client, namespace)
    sender = Sender(broker, board)
    for number in range(100):
        ref = PartRef(new_video_id(), 1, f"v{number}")
        sender.send(ref, Pool.CPU, Priority.NORMAL, cost=1.0)
    for number in range(20):
        announce(redis_client, namespace, worker(f"w{number}"), ttl=60, now=time.time())
    assert cost() <= idle + 2
    assert idle < 30


def test_the_operators_word(api: ApiServer, redis_client: redis.Redis, namespace: str) -> None:
    def said(path: str, **options: Any) -> Any:
        answer = api.client.post(f"/v1/farm{path}", **options)
        assert answer.status_code == 200, answer.text
        assert answer.json() == api.client.get("/v1/farm").json()["control"]
        return answer.json()

    announce(redis_client, namespace, worker("w1"), ttl=60, now=time.time())
    assert said("/pause")["paused"] == sorted(Pool)
    assert "cpu" not in said("/resume?pool=cpu")["paused"]
    assert said("/resume")["paused"] == []
    assert said("/pause?pool=cpu")["paused"] == ["cpu"]
    assert said("/pools/cpu", json={"count": 4})["counts"] == {"cpu": 4}
    assert said("/pools/cpu", json={"count": None})["counts"] == {}
    assert said("/hosts/host-a/drain")["draining"] == ["host-a"]
    assert said("/hosts/host-a/resume")["draining"] == []


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/pause?pool=quantum", None, 404, "unknown_pool"),
        ("/resume?pool=", None, 404, "unknown_pool"),
        ("/pools/quantum", {"count": 1}, 404, "unknown_pool"),
        ("/pools/cpu", {"count": -1}, 422, "invalid_request"),
        ("/pools/cpu", {"count": 1_000_000}, 422, "invalid_request"),
        ("/pools/cpu", {"count": "4"}, 422, "invalid_request"),
        ("/pools/cpu", {}, 422, "invalid_request"),
        ("/pools/cpu", {"count": 1, "more": 1}, 422, "invalid_request"),
        ("/hosts/nowhere/drain", None, 404, "unknown_host"),
        ("/hosts/nowhere/resume", None, 404, "unknown_host"),
    ],
)
def test_orders_that_make_no_sense(
    api: ApiServer, path: str, body: Any, status: int, code: str
) -> None:
    answer = api.client.post(f"/v1/farm{path}", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert api.client.get("/v1/farm").json()["control"] == {
        "paused": [],
        "counts": {},
        "draining": [],
    }


def test_without_redis_a_problem_says_so(object_store: ObjectStore, namespace: str) -> None:
    with (
        connect_redis("redis://127.0.0.1:1/0") as away,
        serving(object_store, away, namespace) as api,
    ):
        for answer in (api.client.get("/v1/farm"), api.client.post("/v1/farm/pause")):
            assert (answer.status_code, answer.json()["code"]) == (503, "queue_unavailable")
            assert answer.headers["retry-after"]


def test_without_storage_the_rest_is_told(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise UnavailableError("ListObjectsV2", "bucket", "key", "503", "away")

    monkeypatch.setattr(ObjectStore, "list", away)
    answer = api.client.get("/v1/farm")
    assert (answer.status_code, answer.json()["recent_failures"]) == (200, None)


def test_the_token_is_asked_for(
    object_store: ObjectStore, redis_client: redis.Redis, namespace: str
) -> None:
    config = IngestConfig(api_token="secret", metrics_token="scrape")
    with serving(object_store, redis_client, namespace, config) as api:
        for token in ("none", "wrong", "scrape"):
            headers = {"authorization": f"Bearer {token}"}
            assert api.client.get("/v1/farm", headers=headers).status_code == 401
            assert api.client.post("/v1/farm/pause", headers=headers).status_code == 401
        headers = {"authorization": "Bearer secret"}
        assert api.client.get("/v1/farm", headers=headers).status_code == 200
        foreign = headers | {"origin": "https://elsewhere.example"}
        assert api.client.post("/v1/farm/pause", headers=foreign).status_code == 403


def test_it_is_described(api: ApiServer) -> None:
    paths = api.client.get("/openapi.json").json()["paths"]
    for path in ("", "/pause", "/resume", "/pools/{pool}", "/hosts/{host}/drain"):
        assert f"/v1/farm{path}" in paths
    look = paths["/v1/farm"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert look == {"$ref": "#/components/schemas/FarmView"}

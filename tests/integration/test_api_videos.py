"""Status, listing, deletion, and what the API tells about itself."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from ingest.config import IngestConfig
from ingest.server import MAX_HEAD
from jobs.ids import new_video_id
from jobs.records import Problem, Rendition, VideoRecord
from jobs.states import State
from media.probed import Probe
from storage import layout
from storage.documents import create_document
from storage.objects import ObjectStore
from tests.integration.api_server import ApiServer, eventually, read_answer
from transcoder.plan import Part, PartKind, Plan

START = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NOBODY = "0" * 26


@pytest.fixture
def api(object_store: ObjectStore) -> Iterator[ApiServer]:
    with ApiServer(object_store) as server:
        yield server


def add(api: ApiServer, number: int = 0, **changes: object) -> VideoRecord:
    """An accepted video, ``number`` seconds younger than the first."""
    created = START + timedelta(seconds=number)
    video_id = new_video_id(created.timestamp())
    record = VideoRecord(id=video_id, state=State.QUEUED, size=3, created_at=created)
    record = record.model_copy(update=changes)
    api.catalog.receive(video_id, 60)
    api.catalog.accept(record)
    if record.state is State.READY:
        api.catalog.settle(video_id)
    return record


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def test_videos_are_listed_newest_first_page_by_page(api: ApiServer) -> None:
    videos = [add(api, n, state=State.READY if n % 2 else State.QUEUED) for n in range(5)]
    wanted = [record.id for record in reversed(videos)]

    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = api.client.get("/v1/videos", params=query).json()
        found += [video["id"] for video in page["videos"]]
        cursor = page["next"]

    assert found == wanted
    ready = api.client.get("/v1/videos", params={"status": "ready"}).json()["videos"]
    assert [video["id"] for video in ready] == wanted[1::2]
    both = api.client.get("/v1/videos?status=ready&status=queued").json()["videos"]
    assert [video["id"] for video in both] == wanted


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "status=done", "cursor=../x", "cursor=" + "x" * 65]
)
def test_a_listing_that_makes_no_sense_is_refused(api: ApiServer, query: str) -> None:
    assert code(api.client.get(f"/v1/videos?{query}")) == (422, "invalid_request")


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("video_id", [NOBODY, "nonsense", "..%2f..%2finbox", "%00"])
def test_an_unknown_video_is_a_problem(api: ApiServer, method: str, video_id: str) -> None:
    status, found = code(api.client.request(method, f"/v1/videos/{video_id}"))

    assert status == 404
    assert found in ("unknown_video", "not_found")


def test_progress_comes_from_receipts_and_from_what_is_running(api: ApiServer) -> None:
    rendition = Rendition(name="360p", width=640, height=360, codec="h264")
    record = add(api, state=State.PROCESSING, renditions=(rendition,))
    path = f"/v1/videos/{record.id}"
    assert api.client.get(path).json()["progress"] == 0.0

    parts = tuple(
        Part(id=f"v{n:05}", kind=PartKind.VIDEO, tracks=("360p",), cost=1.0) for n in range(4)
    )
    probe = Probe(container="mov", duration=8, start=0, size=3, bit_rate=1, indexed=True)
    plan = Plan(
        profile="default", probe=probe, target_duration=6, checkpoint=2, parts=parts, lanes=()
    )
    create_document(api.store, layout.plan(record.id, 1), plan.model_dump(mode="json"))
    create_document(api.store, layout.receipt(record.id, 1, "v00000"), {})
    api.ports.live = {"v00001": 0.5}

    video = api.client.get(path).json()
    assert video["progress"] == pytest.approx(0.375)
    assert video["renditions"][0]["progress"] == pytest.approx(0.375)

    api.ports.fail = ConnectionError("no Redis")
    assert api.client.get(path).json()["progress"] == pytest.approx(0.25)


def test_a_deleted_video_is_gone_at_once(api: ApiServer) -> None:
    record = add(api, state=State.READY)
    path = f"/v1/videos/{record.id}"
    assert api.client.get(path).status_code == 200

    deleted = api.client.delete(path)

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert code(api.client.get(path)) == (404, "unknown_video")
    assert code(api.client.delete(path)) == (404, "unknown_video")
    assert api.client.get("/v1/videos").json() == {"videos": [], "next": None}
    assert list(api.catalog.trash()) == [record.id]
    assert eventually(lambda: api.ports.stopped == [record.id])


@pytest.mark.parametrize("state", [State.QUEUED, State.PROCESSING])
def test_what_is_not_over_can_be_canceled(api: ApiServer, state: State) -> None:
    record = add(api, state=state, playable=True)

    answer = api.client.post(f"/v1/videos/{record.id}/cancel")

    assert answer.status_code == 202
    assert answer.headers["location"].endswith(f"/v1/videos/{record.id}")
    assert (answer.json()["status"], answer.json()["playable"]) == ("canceled", True)
    assert eventually(lambda: api.ports.stopped == [record.id])
    assert api.client.get(f"/v1/videos/{record.id}").json()["status"] == "canceled"
    again = api.client.post(f"/v1/videos/{record.id}/cancel")
    assert code(again) == (409, "wrong_state")
    names = [event.name for event in api.catalog.load(record.id).events]
    assert names == ["accepted", "canceled"]


@pytest.mark.parametrize("state", [State.ERRORED, State.CANCELED])
def test_what_did_not_become_ready_can_be_retried(api: ApiServer, state: State) -> None:
    problem = Problem(code="x", message="y", hint="z")
    record = add(api, state=state, error=problem, playable=True, playable_at=START)
    api.catalog.settle(record.id)

    answer = api.client.post(f"/v1/videos/{record.id}/retry")

    assert answer.status_code == 202
    video = answer.json()
    found = [video[name] for name in ("status", "error", "playable", "playable_at", "progress")]
    assert found == ["queued", None, False, None, 0.0]
    assert eventually(lambda: len(api.ports.handed) == 1)
    assert api.ports.handed[0].generation == 2
    assert list(api.catalog.inbox()) == [record.id]
    assert code(api.client.post(f"/v1/videos/{record.id}/retry")) == (409, "wrong_state")
    listed = api.client.get("/v1/videos").json()["videos"]
    assert [each["id"] for each in listed] == [record.id]
    assert api.client.get("/v1/videos?status=errored").json()["videos"] == []


@pytest.mark.parametrize(
    ("action", "state"),
    [
        *(("cancel", state) for state in (State.READY, State.ERRORED, State.CANCELED)),
        *(("retry", state) for state in (State.READY, State.QUEUED, State.PROCESSING)),
    ],
)
def test_other_states_refuse_and_stay(api: ApiServer, action: str, state: State) -> None:
    record = add(api, state=state)
    before = api.leftovers()

    answer = api.client.post(f"/v1/videos/{record.id}/{action}")

    assert code(answer) == (409, "wrong_state")
    assert state.value in answer.json()["detail"]
    assert api.catalog.load(record.id).state is state
    assert api.leftovers() == before
    assert api.ports.handed == api.ports.stopped == []


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_unknown_and_deleted_videos_are_neither_canceled_nor_retried(
    api: ApiServer, action: str
) -> None:
    record = add(api, state=State.QUEUED)
    api.catalog.delete(record.id)
    for video_id in (NOBODY, "nonsense", record.id):
        answer = api.client.post(f"/v1/videos/{video_id}/{action}")
        assert code(answer) == (404, "unknown_video")


def test_paths_and_methods_that_there_are_not(api: ApiServer) -> None:
    assert code(api.client.get("/v1/nothing")) == (404, "not_found")
    wrong = api.client.put("/v1/videos")
    assert code(wrong) == (405, "method_not_allowed")
    assert set(wrong.headers["allow"].split(", ")) <= {"GET", "POST"}
    assert code(api.client.get("/v1/videos/")) in ((404, "unknown_video"), (404, "not_found"))


def test_an_unexpected_error_tells_nothing_but_its_id(api: ApiServer) -> None:
    record = add(api)
    damaged = json.dumps({"id": record.id, "state": "no such state"}).encode()
    api.store.put(layout.record(record.id), damaged)

    answer = api.client.get(f"/v1/videos/{record.id}", headers={"x-request-id": "abc-1"})

    assert code(answer) == (500, "internal_error")
    assert answer.json()["request_id"] == "abc-1"
    assert "Traceback" not in answer.text
    assert "no such state" not in answer.text
    assert eventually(lambda: len(api.logs) == 2)
    failed, request = api.logs
    assert (failed["event"], failed["log_level"], failed["exc_info"]) == (
        "request_failed",
        "error",
        True,
    )
    assert (request["event"], request["status"]) == ("request", 500)


def test_every_answer_carries_a_request_id(api: ApiServer) -> None:
    given = api.client.get("/healthz", headers={"x-request-id": "from.the-proxy_1"})
    made = api.client.get("/healthz", headers={"x-request-id": "no good; at all"})

    assert given.headers["x-request-id"] == "from.the-proxy_1"
    assert re.fullmatch(r"[0-9a-f]{16}", made.headers["x-request-id"])
    assert given.headers["x-content-type-options"] == "nosniff"
    assert "server" not in given.headers


def test_one_line_is_logged_for_a_request(api: ApiServer) -> None:
    api.client.get("/v1/videos?status=ready")
    api.client.get("/healthz")

    assert eventually(lambda: len(api.logs) == 2)
    listing, health = api.logs
    assert listing["event"] == health["event"] == "request"
    assert (listing["log_level"], health["log_level"]) == ("info", "debug")
    assert (listing["method"], listing["path"], listing["status"]) == ("GET", "/v1/videos", 200)
    assert listing["bytes"] > 10
    assert listing["seconds"] > 0


def test_health_and_readiness(api: ApiServer) -> None:
    assert api.client.get("/healthz").json() == {"status": "ok"}
    ready = api.client.get("/readyz")
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")

    api.ports.checks = {"storage": None, "redis": "it does not answer"}
    missing = api.client.get("/readyz")
    assert missing.status_code == 503
    assert missing.json()["checks"] == {"storage": "ok", "redis": "it does not answer"}

    api.ports.fail = RuntimeError("a secret")
    broken = api.client.get("/readyz")
    assert broken.status_code == 503
    assert "a secret" not in broken.text


def test_profiles_are_listed(object_store: ObjectStore) -> None:
    with ApiServer(object_store, IngestConfig(profiles=("default", "small"))) as api:
        listed = api.client.get("/v1/profiles").json()["profiles"]
    assert listed == [{"name": "default", "default": True}, {"name": "small", "default": False}]


def test_the_documentation_needs_nothing_from_elsewhere(api: ApiServer) -> None:
    for page in ("/docs", "/"):
        answer = api.client.get(page)
        assert answer.status_code == 200
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert not re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+", answer.text)
        for linked in re.findall(r"(?:src|href|url)\s*[=:]\s*[\"'](/[^\"']*)", answer.text):
            assert api.client.get(linked).status_code == 200, linked


def test_the_description_is_one_that_the_page_can_show(api: ApiServer) -> None:
    described = api.client.get("/openapi.json").json()

    assert described["openapi"] == "3.0.3"
    upload = described["paths"]["/v1/videos"]["post"]
    assert set(upload["requestBody"]["content"]) == {
        "application/octet-stream",
        "multipart/form-data",
    }
    assert {parameter["name"] for parameter in upload["parameters"]} == {
        "profile",
        "priority",
        "filename",
        "passthrough",
        "Idempotency-Key",
    }
    text = json.dumps(described)
    assert '"null"' not in text
    for reference in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert reference in described["components"]["schemas"]


def test_a_token_is_asked_for_where_one_is_set(object_store: ObjectStore) -> None:
    with ApiServer(object_store, IngestConfig(api_token="s3cret")) as api:
        refused = api.client.get("/v1/videos")
        assert code(refused) == (401, "unauthorized")
        assert refused.headers["www-authenticate"].startswith("Bearer")
        token = {"authorization": "Bearer s3cret"}
        assert api.client.get("/v1/videos", headers=token).status_code == 200
        assert api.client.get("/healthz").status_code == 200
        assert api.client.get("/openapi.json").json()["security"] == [{"token": []}]


def test_names_that_are_made_to_point_here_are_not_answered(api: ApiServer) -> None:
    answer = api.client.get("/v1/videos", headers={"host": f"rebound.example:{api.port}"})

    assert code(answer) == (403, "host_not_allowed")


def test_a_header_without_end_is_cut_off(api: ApiServer) -> None:
    with api.connect() as connection, pytest.raises(OSError):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        for _ in range(1000):
            connection.sendall(b"x" * MAX_HEAD)


def test_a_head_may_come_byte_by_byte(api: ApiServer) -> None:
    with api.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n":
            connection.sendall(bytes([byte]))
        assert read_answer(connection)[0] == 200

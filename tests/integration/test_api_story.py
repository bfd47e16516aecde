"""A video's trace, and its story as the API tells it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from jobs.letters import Attempt, DeadLetter
from jobs.records import Problem, VideoRecord
from jobs.traceparent import TraceContext
from storage import layout
from storage.documents import create_document, load_document
from storage.objects import ObjectStore
from tests.integration.api_server import ApiServer

CALLER = TraceContext("ab" * 16, "cd" * 8, sampled=True)
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
RUN = Attempt(run="r1", host="h", pid=7, began=BEGAN, ending="running")


@pytest.fixture
def api(object_store: ObjectStore) -> Iterator[ApiServer]:
    server = ApiServer(object_store)
    server.use(replace(server.deps, attempts=lambda _: {"1/v00001": (RUN,)}))
    with server:
        yield server


def upload(api: ApiServer, **headers: str) -> VideoRecord:
    answer = api.client.post("/v1/videos", content=b"a film", headers=headers)
    assert answer.status_code == 202
    return api.catalog.load(answer.json()["id"])


def story(api: ApiServer, video_id: str) -> dict[str, Any]:
    answer = api.client.get(f"/v1/farm/videos/{video_id}")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_an_upload_keeps_its_callers_trace_and_span(api: ApiServer) -> None:
    video = upload(api, traceparent=str(CALLER))
    assert load_document(api.store, layout.record(video.id))[0]["traceparent"] == str(CALLER)
    assert story(api, video.id)["trace_id"] == CALLER.trace_id


def test_without_a_valid_one_it_gets_a_trace_of_its_own(api: ApiServer) -> None:
    traces = {upload(api).trace.trace_id, upload(api, traceparent="00-x").trace.trace_id}
    assert len(traces) == 2
    assert CALLER.trace_id not in traces


def test_a_retry_is_of_the_same_trace(api: ApiServer) -> None:
    video = upload(api)
    api.client.post(f"/v1/videos/{video.id}/cancel")
    assert api.client.post(f"/v1/videos/{video.id}/retry").status_code == 202
    assert api.catalog.load(video.id).trace == video.trace


def test_the_story_tells_events_receipts_runs_and_dead_letters(api: ApiServer) -> None:
    video = upload(api)
    create_document(api.store, layout.receipt(video.id, 1, "v00000"), {})
    letter = DeadLetter(
        id=f"{video.id}-1-v00001",
        video_id=video.id,
        generation=1,
        part="v00001",
        problem=Problem(code="encode_failed", message="it broke", hint="try again"),
        created_at=BEGAN,
    )
    api.catalog.letters.put(letter)
    told = story(api, video.id)
    assert (told["status"], told["generation"]) == ("queued", 1)
    assert [event["name"] for event in told["events"]] == ["accepted"]
    assert [(each["part"], each["checkpoint"]) for each in told["receipts"]] == [("v00000", 0)]
    assert [run["run"] for run in told["attempts"]["1/v00001"]] == ["r1"]
    assert [each["problem"]["code"] for each in told["dead_letters"]] == ["encode_failed"]


def test_without_redis_the_rest_of_the_story_is_told(object_store: ObjectStore) -> None:
    def away(_: str) -> dict[str, tuple[Attempt, ...]]:
        raise redis.ConnectionError("away")

    server = ApiServer(object_store)
    server.use(replace(server.deps, attempts=away))
    with server as api:
        told = story(api, upload(api).id)
    assert told["attempts"] is None
    assert told["events"]


@pytest.mark.parametrize("name", ["0" * 26, "nonsense", "a%2Fb"])
def test_a_video_that_is_not_there_has_no_story(api: ApiServer, name: str) -> None:
    answer = api.client.get(f"/v1/farm/videos/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/problem+json")

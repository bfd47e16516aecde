"""Uploads through a real server into a real storage, and all the ways they end early."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest

from ingest.config import IngestConfig
from jobs.ids import is_video_id
from jobs.states import State
from storage import layout
from storage.client import S3Config
from storage.objects import ObjectStore, connect
from tests.integration.api_server import ApiServer, eventually, read_answer

MIB = 1024**2
#: Three parts, the last a short one.
LARGE = random.Random(7).randbytes(17 * MIB + 12345)
LIMIT = 20 * MIB


@pytest.fixture
def api(object_store: ObjectStore) -> Iterator[ApiServer]:
    config = IngestConfig(max_upload=LIMIT, profiles=("default", "small"))
    with ApiServer(object_store, config) as server:
        yield server


def refusal(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["detail"]
    assert problem["hint"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, problem["code"]


@pytest.mark.parametrize("body", [b"not a film", LARGE], ids=["one part", "several parts"])
def test_a_raw_body_is_stored_as_it_is(api: ApiServer, body: bytes) -> None:
    query = {"filename": "a/ü.mp4", "priority": "high", "passthrough": "mine", "profile": "small"}

    answer = api.client.post(
        "/v1/videos", content=body, params=query, headers={"content-type": "text/plain"}
    )

    assert answer.status_code == 202
    video = answer.json()
    assert is_video_id(video["id"])
    assert answer.headers["location"].endswith(f"/v1/videos/{video['id']}")
    assert video["status"] == "queued"
    assert (video["size"], video["filename"]) == (len(body), "ü.mp4")
    assert (video["priority"], video["passthrough"], video["profile"]) == ("high", "mine", "small")
    assert api.source(video["id"]) == body
    record = api.catalog.load(video["id"])
    assert (record.state, record.content_type) == (State.QUEUED, "text/plain")
    entry = api.catalog.entry(video["id"])
    assert entry is not None
    assert entry.state == "accepted"
    assert eventually(lambda: [handed.id for handed in api.ports.handed] == [video["id"]])
    assert api.client.get(answer.headers["location"]).json() == video
    assert list(api.store.uploads("")) == []


def test_a_body_without_a_length_is_stored_too(api: ApiServer) -> None:
    chunks = (LARGE[start : start + 70_001] for start in range(0, len(LARGE), 70_001))

    answer = api.client.post("/v1/videos", content=chunks)

    assert answer.status_code == 202
    assert api.source(answer.json()["id"]) == LARGE


def test_a_form_is_stored_without_its_wrapping(api: ApiServer) -> None:
    answer = api.client.post(
        "/v1/videos",
        files={"file": ("holiday.mov", LARGE, "video/quicktime")},
        data={"profile": "small", "passthrough": "from the form"},
        params={"priority": "low"},
    )

    assert answer.status_code == 202
    video = answer.json()
    assert api.source(video["id"]) == LARGE
    assert video["filename"] == "holiday.mov"
    assert (video["profile"], video["priority"]) == ("small", "low")
    assert video["passthrough"] == "from the form"
    assert api.catalog.load(video["id"]).content_type == "video/quicktime"


@pytest.mark.parametrize("step", [1, 3, 4096])
def test_a_form_may_come_in_any_pieces_with_fields_after_the_file(
    api: ApiServer, step: int
) -> None:
    tricky = b"\r\n--b\r\n--bx-\r\n--" * 40 + b"\r"
    form = (
        b'--bxx\r\nContent-Disposition: form-data; name="file"; filename="t.mp4"\r\n\r\n'
        + tricky
        + b'\r\n--bxx\r\nContent-Disposition: form-data; name="passthrough"\r\n\r\nlast'
        + b"\r\n--bxx--\r\n"
    )

    answer = api.client.post(
        "/v1/videos",
        content=(form[start : start + step] for start in range(0, len(form), step)),
        headers={"content-type": "multipart/form-data; boundary=bxx"},
    )

    assert answer.status_code == 202
    assert api.source(answer.json()["id"]) == tricky
    assert answer.json()["passthrough"] == "last"


FORM = {"content-type": "multipart/form-data; boundary=b"}


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        ({"content": b""}, (400, "empty_upload")),
        ({"content": iter(())}, (400, "empty_upload")),
        ({"files": {"file": ("e.mp4", b"")}}, (400, "empty_upload")),
        ({"files": {"video": ("e.mp4", b"abc")}}, (400, "missing_file")),
        ({"content": b"--b\r\n\r\nabc", "headers": FORM}, (400, "malformed_form")),
        (
            {"files": {"file": ("e.mp4", b"abc")}, "data": {"profile": "none"}},
            (422, "unknown_profile"),
        ),
        (
            {"files": {"file": ("e.mp4", b"abc")}, "data": {"priority": "none"}},
            (422, "invalid_request"),
        ),
        ({"content": b"abc", "params": {"profile": "none"}}, (422, "unknown_profile")),
        ({"content": b"abc", "params": {"priority": "now"}}, (422, "invalid_request")),
        ({"content": b"abc", "params": {"passthrough": "x" * 1025}}, (422, "invalid_request")),
        (
            {"content": b"abc", "headers": {"content-encoding": "gzip"}},
            (415, "content_encoding_unsupported"),
        ),
        ({"json": {"url": "https://example.com/a.mp4"}}, (501, "url_imports_unavailable")),
        ({"content": b"abc", "headers": {"origin": "https://evil.example"}}, (403, "cross_origin")),
        ({"content": b"abc", "headers": {"idempotency-key": "x" * 256}}, (422, "invalid_request")),
    ],
)
def test_what_is_refused_leaves_nothing(
    api: ApiServer, request_: dict[str, object], wanted: tuple[int, str]
) -> None:
    answer = api.client.post("/v1/videos", **request_)

    assert refusal(answer) == wanted
    assert eventually(lambda: api.leftovers() == [])
    assert api.ports.handed == []


@pytest.mark.parametrize("whole", [True, False], ids=["stated", "found out on the way"])
@pytest.mark.parametrize("form", [True, False], ids=["form", "raw"])
def test_a_body_over_the_limit_is_refused(api: ApiServer, whole: bool, form: bool) -> None:
    body = bytes(LIMIT + (2 * MIB if whole else 1))
    options: dict[str, object] = {"content": body}
    if form:
        options = {"files": {"file": ("f.mp4", body)}}
    elif not whole:
        options = {"content": iter([body])}

    assert refusal(api.client.post("/v1/videos", **options)) == (413, "upload_too_large")
    assert eventually(lambda: api.leftovers() == [])


def test_a_body_of_just_the_limit_is_taken(object_store: ObjectStore) -> None:
    with ApiServer(object_store, IngestConfig(max_upload=1000)) as api:
        assert api.client.post("/v1/videos", content=bytes(1000)).status_code == 202
        form = api.client.post("/v1/videos", files={"file": ("f.mp4", bytes(1001))})
        assert refusal(form) == (413, "upload_too_large")


def head(length: int, more: str = "") -> bytes:
    lines = f"POST /v1/videos HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n"
    return lines.encode()


def test_a_client_that_asks_first_is_answered_before_it_sends(api: ApiServer) -> None:
    with api.connect() as connection:
        connection.sendall(head(5, "Expect: 100-continue\r\n"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"bytes")
        assert read_answer(connection)[0] == 202
    with api.connect() as connection:
        connection.sendall(head(LIMIT + 1, "Expect: 100-continue\r\n"))
        status, _, body = read_answer(connection)
    assert (status, json.loads(body)["code"]) == (413, "upload_too_large")


def test_after_a_refusal_the_connection_is_good_for_the_next_request(api: ApiServer) -> None:
    with api.connect() as connection:
        connection.sendall(head(LIMIT + 1) + bytes(LIMIT + 1))
        assert read_answer(connection)[0] == 413
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read_answer(connection)[0] == 200


@pytest.mark.parametrize("sent", [0, 1000, 9 * MIB, 17 * MIB])
def test_a_broken_off_upload_leaves_nothing(api: ApiServer, sent: int) -> None:
    with api.connect() as connection:
        connection.sendall(head(18 * MIB) + LARGE[:sent])
        if sent > 16 * MIB:
            assert eventually(lambda: len(list(api.store.uploads(""))) == 1)
        elif sent > 8 * MIB:
            assert eventually(lambda: len(list(api.catalog.inbox())) == 1)
    assert eventually(lambda: api.ended == 1)
    assert api.leftovers() == []
    assert api.client.get("/v1/videos").json()["videos"] == []


def test_a_client_that_goes_away_while_parts_are_sent_leaves_nothing(api: ApiServer) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _break_off(api), range(4)))

    assert eventually(lambda: api.ended == 4)
    assert api.leftovers() == []


def _break_off(api: ApiServer) -> None:
    with api.connect() as connection:
        connection.sendall(head(18 * MIB) + LARGE[: 17 * MIB])


def test_a_stalled_upload_is_given_up(object_store: ObjectStore) -> None:
    config = IngestConfig(stall_timeout=0.2)
    with ApiServer(object_store, config) as api, api.connect() as connection:
        connection.sendall(head(18 * MIB) + LARGE[: 17 * MIB])
        status, headers, body = read_answer(connection)

        assert (status, json.loads(body)["code"]) == (408, "upload_stalled")
        assert headers["connection"] == "close"
        assert eventually(lambda: api.leftovers() == [])


def test_an_upload_that_expired_meanwhile_is_not_accepted(api: ApiServer) -> None:
    with api.connect() as connection:
        connection.sendall(head(18 * MIB) + LARGE[: 17 * MIB])
        assert eventually(lambda: len(list(api.store.uploads(""))) == 1)
        (video_id,) = api.catalog.inbox()
        api.catalog.abandon(video_id)
        connection.sendall(bytes(MIB))
        status, _, body = read_answer(connection)

    assert (status, json.loads(body)["code"]) == (408, "upload_expired")
    assert eventually(lambda: api.leftovers() == [])


def test_no_more_uploads_than_there_is_memory_for(object_store: ObjectStore) -> None:
    with ApiServer(object_store, IngestConfig(max_uploads=1)) as api:
        with api.connect() as connection:
            connection.sendall(head(18 * MIB) + LARGE[: 17 * MIB])
            assert eventually(lambda: len(list(api.store.uploads(""))) == 1)
            second = api.client.post("/v1/videos", content=b"abc")
            assert refusal(second) == (503, "busy")
            assert second.headers["retry-after"]
        assert eventually(lambda: api.leftovers() == [])
        assert api.client.post("/v1/videos", content=b"abc").status_code == 202


def test_a_202_does_not_depend_on_the_wake_up(api: ApiServer) -> None:
    api.ports.fail = ConnectionError("no Redis")

    answer = api.client.post("/v1/videos", content=b"abc")

    assert answer.status_code == 202
    assert api.client.delete(f"/v1/videos/{answer.json()['id']}").status_code == 204


def test_without_storage_the_answer_is_to_come_back(free_port: int) -> None:
    lost = connect(S3Config(f"http://127.0.0.1:{free_port}", "us-east-1", "b", "", "k", "s"))
    with ApiServer(lost) as api:
        api.client.timeout = httpx.Timeout(60)
        answer = api.client.post("/v1/videos", content=b"abc")
        assert refusal(answer) == (503, "storage_unavailable")
        assert answer.headers["retry-after"] == "5"
        assert "127.0.0.1" not in answer.json()["detail"]


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class TestIdempotencyKey:
    """The same request sent again is not a second upload."""

    def test_it_is_answered_with_the_first_video(self, api: ApiServer) -> None:
        key = {"idempotency-key": "käse 1".encode()}
        first = api.client.post("/v1/videos", content=b"abc", headers=key)
        again = api.client.post("/v1/videos", content=b"abc", headers=key)

        assert (first.status_code, again.status_code) == (202, 202)
        assert again.json() == first.json()
        assert again.headers["idempotency-replayed"] == "true"
        assert len(api.client.get("/v1/videos").json()["videos"]) == 1
        assert eventually(lambda: len(list(api.catalog.inbox())) == 1)

    def test_it_is_not_for_another_request(self, api: ApiServer) -> None:
        key = {"idempotency-key": "1"}
        api.client.post("/v1/videos", content=b"abc", headers=key)
        other = api.client.post(
            "/v1/videos", content=b"abc", headers=key, params={"passthrough": "x"}
        )

        assert refusal(other) == (422, "idempotency_key_reused")

    def test_racing_requests_make_one_video(self, api: ApiServer) -> None:
        def send(_: int) -> int:
            key = {"idempotency-key": "race"}
            return api.client.post("/v1/videos", content=os.urandom(99), headers=key).status_code

        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(send, range(8)))

        assert set(statuses) <= {202, 409}
        assert 202 in statuses
        assert eventually(lambda: len(list(api.catalog.inbox())) == 1)
        assert len(api.client.get("/v1/videos").json()["videos"]) == 1

    def test_a_broken_off_upload_may_be_sent_again(self, api: ApiServer) -> None:
        with api.connect() as connection:
            connection.sendall(head(18 * MIB, "Idempotency-Key: k\r\n") + LARGE[:1000])
            assert eventually(lambda: len(list(api.catalog.inbox())) == 1)
            waiting = api.client.post(
                "/v1/videos", content=b"abc", headers={"idempotency-key": "k"}
            )
            assert refusal(waiting) == (409, "idempotency_key_in_use")
            assert 250 < int(waiting.headers["retry-after"]) <= 300
            assert f"free in {waiting.headers['retry-after']} s" in waiting.json()["detail"]
        assert eventually(lambda: len(list(api.catalog.inbox())) == 0)

        again = api.client.post("/v1/videos", content=b"abc", headers={"idempotency-key": "k"})

        assert again.status_code == 202
        assert api.source(again.json()["id"]) == b"abc"

    def test_after_an_empty_upload_the_key_is_free(self, api: ApiServer) -> None:
        key = {"idempotency-key": "k"}
        assert refusal(api.client.post("/v1/videos", headers=key)) == (400, "empty_upload")
        assert eventually(lambda: len(list(api.catalog.inbox())) == 0)
        assert api.client.post("/v1/videos", content=b"abc", headers=key).status_code == 202


def test_a_url_given_in_the_settings_stands_in_every_answer(object_store: ObjectStore) -> None:
    config = replace(IngestConfig(), public_url="https://films.example/")
    with ApiServer(object_store, config) as api:
        answer = api.client.post("/v1/videos", content=b"abc")
        assert answer.headers["location"].startswith("https://films.example/v1/videos/")
        assert layout.source(answer.json()["id"]) in api.leftovers()

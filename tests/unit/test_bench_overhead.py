"""The arithmetic of the overhead benchmark: what it counts, and what it counts as whose."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.latency import percentile
from benchmarks.part_costs import covered, kinds, part_costs
from benchmarks.s3_counter import Answers, Requests, Tally, named
from transcoder.plan import Part, PartKind

KINDS = {"chunk-001": "chunk"}


def line(event: str, second: float, part: str, **more: Any) -> dict[str, Any]:
    stamp = f"2026-01-01T00:00:{second:09.6f}Z"
    return {"event": event, "timestamp": stamp, "video_id": "v", "part": part, **more}


def test_what_ran_side_by_side_counts_once() -> None:
    assert covered([(5.0, 6.0), (0.0, 2.0), (1.0, 3.0), (2.5, 2.6)]) == pytest.approx(4.0)
    assert covered([]) == 0.0


def test_a_part_costs_what_is_left_beside_its_processes() -> None:
    log = [
        line("process_ended", 3, "chunk-001", seconds=2.5, max_rss=7),
        line("process_ended", 4, "chunk-002", seconds=1.0, max_rss=1),
        line("process_ended", 4.5, "chunk-001", seconds=1.0, max_rss=9),
        line("slot_freed", 5, "chunk-001", seconds=4.5),
    ]

    (cost,) = part_costs(log, launch=0.0, kind_of=KINDS)

    assert (cost.kind, cost.processes, cost.max_rss) == ("chunk", 2, 9)
    assert cost.media == pytest.approx(3.5)
    assert cost.own == pytest.approx(1.0)
    assert cost.share == pytest.approx(1.0 / 4.5)


def test_launching_a_process_is_the_farms_own_time() -> None:
    log = [
        line("process_ended", 3, "chunk-001", seconds=2.0, max_rss=7),
        line("slot_freed", 3, "chunk-001", seconds=2.0),
    ]

    (cost,) = part_costs(log, launch=0.5, kind_of=KINDS)

    assert cost.own == pytest.approx(0.5)


def test_an_earlier_run_of_a_part_does_not_count_for_a_later_one() -> None:
    log = [
        line("process_ended", 2, "head", seconds=1.0, max_rss=7),
        line("slot_freed", 2, "head", seconds=1.5),
        line("slot_freed", 3, "head", seconds=0.1),
    ]

    first, second = part_costs(log, launch=0.0, kind_of=KINDS)

    assert (first.processes, second.processes) == (1, 0)
    assert second.own == pytest.approx(0.1)


def test_parts_are_called_for_what_they_make() -> None:
    video, audio = PartKind.VIDEO, PartKind.AUDIO
    parts = (
        Part(id="v00000", kind=video, head=True, cost=1.0),
        Part(id="v00001", kind=video, cost=1.0),
        Part(id="a0-head", kind=audio, head=True, cost=1.0),
        Part(id="a0-rest", kind=audio, stream=True, cost=1.0),
        Part(id="pictures", kind=PartKind.PICTURES, cost=1.0),
    )
    names = ["head", "chunk", "sound's head", "sound", "pictures"]
    assert list(kinds(parts).values()) == names


def test_percentiles_are_values_that_were_measured() -> None:
    values = [float(n) for n in range(300, 0, -1)]
    assert (percentile(values, 50), percentile(values, 99), percentile(values, 100)) == (
        *(150.0, 297.0),
        300.0,
    )
    assert percentile([4.0], 99) == 4.0


@pytest.mark.parametrize(
    ("request_line", "name"),
    [
        ("GET /b/videos/x/source?X-Amz-Expires=9", "GetObject source"),
        ("HEAD /b/videos/x/video.json", "HeadObject record"),
        ("PUT /b/videos/x/play/1/run/720p-00001.m4s", "PutObject segment"),
        ("PUT /b/videos/x/play/1/720p-init-0123.mp4", "PutObject init segment"),
        ("PUT /b/videos/x/source?partNumber=2&uploadId=9", "UploadPart source"),
        ("POST /b/videos/x/source?uploads", "CreateUpload source"),
        ("POST /b/videos/x/source?uploadId=9", "CompleteUpload source"),
        ("GET /b?list-type=2&prefix=videos%2Fx%2Fparts%2F1%2F", "ListObjects receipts"),
        ("GET /b?list-type=2&prefix=inbox%2F&max-keys=1", "ListObjects inbox"),
        ("POST /b?delete", "DeleteObjects other"),
    ],
)
def test_requests_are_named_for_what_they_do(request_line: str, name: str) -> None:
    method, target = request_line.split()
    assert named(method, target) == name


def test_bytes_are_counted_however_they_are_cut() -> None:
    put = b"PUT /b/videos/x/source HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    get = b"GET /b/videos/x/source HTTP/1.1\r\n\r\n"
    went_on = b"HTTP/1.1 100 Continue\r\n\r\n"
    for size in (1, 7, 1000):
        tally = Tally()
        requests = Requests(tally)
        answers = Answers(requests)
        for piece in cut(put, size):
            requests.feed(piece)
        for piece in cut(went_on, size):
            answers.feed(piece)
        for piece in cut(b"12345", size):
            requests.feed(piece)
        for piece in cut(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", size):
            answers.feed(piece)
        for piece in cut(get, size):
            requests.feed(piece)
        for piece in cut(b"HTTP/1.1 206 Partial\r\nContent-Length: 3\r\n\r\nabc", size):
            answers.feed(piece)

        assert tally.requests == {"PutObject source": 1, "GetObject source": 1}
        assert tally.sent == {"PutObject source": 5}
        assert +tally.received == {"GetObject source": 3}


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]

"""One trace for a video, from the upload's request to every run of ffmpeg, by real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from farm.log_files import folder_of, present
from tests.e2e.conftest import MakeClip
from tests.e2e.farm_process import Farm, eventually, running_farm
from tests.numbered import ClipSpec
from tests.otlp_receiver import Receiver, SeenSpan, receiving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
SPEC = ClipSpec(frames=60)
#: Seconds: the farm's processes end one after the other, each waiting for the collector a moment.
STOPPED = 20.0
PATIENCE = 30.0


def upload(farm: Farm, file: Path, **headers: str) -> str:
    answer = httpx.post(
        f"{farm.client.url}/v1/videos",
        content=file.read_bytes(),
        headers=headers,
        timeout=60,
        trust_env=False,
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_one_trace_from_the_upload_to_every_ffmpeg_and_nobody_waits_for_the_collector(
    clip: MakeClip, tmp_path: Path
) -> None:
    film = clip("traced", SPEC).path
    with receiving() as collector:
        options = {"otlp_endpoint": collector.url, "otlp_headers": "x-key=s3cret,x-more=a b"}
        with running_farm(tmp_path, **options) as farm:
            video = upload(farm, film, traceparent=f"00-{TRACE}-{CALLER}-01")
            farm.ready(video)
            assert_whole(farm, collector, video)
            assert_lines_tell_the_trace(tmp_path / "data", video, TRACE)
            assert all(seen["x-key"] == "s3cret" for seen in collector.headers)
            assert "s3cret" not in farm.log.read_text()
            assert_told(farm, tmp_path / "data", video)

            collector.hangs.set()
            unheard = upload(farm, film)
            farm.ready(unheard)
            traced = farm.record(unheard).trace.trace_id
            assert_lines_tell_the_trace(tmp_path / "data", unheard, traced)
            ending = time.monotonic()
        assert time.monotonic() - ending < STOPPED
        assert_told_without_a_farm(tmp_path / "data", video)
        warned = [each for each in lines(tmp_path / "data") if each["event"] == "traces_not_sent"]
        assert len({each["process_id"] for each in warned}) == len(warned), "said more than once"


def assert_told(farm: Farm, data_dir: Path, video: str) -> None:
    """The command tells all of it, in order, from the record, the storage and the log."""
    variables = {**os.environ, "REELFARM_DATA_DIR": str(data_dir)}
    argv = (sys.executable, "-P", "-m", "farm", "logs", "--url", farm.client.url, "--json")
    known = subprocess.run([*argv, video, "--follow"], env=variables, capture_output=True)
    assert known.returncode == 0, known.stderr
    entries = [json.loads(line) for line in known.stdout.splitlines()]
    assert entries == sorted(entries, key=lambda entry: str(entry["at"]))
    told = {(entry["source"], entry["what"]) for entry in entries}
    assert told >= {
        ("record", "accepted"),
        ("record", "playable"),
        ("record", "ready"),
        ("api", "request"),
        ("worker", "part_started"),
    }
    done = {entry["part"] for entry in entries if entry["what"] == "receipt"}
    assert done == {part.id for part in farm.plan(video).parts}
    nobody = subprocess.run([*argv, "0" * 26], env=variables, capture_output=True)
    assert (nobody.returncode, nobody.stdout) == (4, b"")
    assert b"no such video" in nobody.stderr.lower() or b"unknown_video" in nobody.stderr


def assert_told_without_a_farm(data_dir: Path, video: str) -> None:
    """What this host logged is there to be read though nothing runs any more."""
    variables = {**os.environ, "REELFARM_DATA_DIR": str(data_dir)}
    argv = (sys.executable, "-P", "-m", "farm", "logs", "--url", "http://127.0.0.1:9", video)
    told = subprocess.run(argv, env=variables, capture_output=True, text=True)
    assert told.returncode == 3
    assert "No farm answers" in told.stderr
    assert " inspect " in told.stdout
    assert "video_ready" in told.stdout


def assert_whole(farm: Farm, collector: Receiver, video: str) -> None:
    """Every part of the plan, and every media process, below the upload."""
    wanted = {"inspect", *(part.id for part in farm.plan(video).parts)}

    def parts() -> dict[str, SeenSpan]:
        runs = [span for span in collector.spans if span.kind == Span.SPAN_KIND_CONSUMER]
        return {span.facts["part"]: span for span in runs}

    def arrived() -> bool:
        finished = any(span.name == "finish" for span in collector.spans)
        return finished and parts().keys() == wanted and has_upload(collector.spans)

    eventually(arrived, PATIENCE, lambda: [(s.name, s.facts) for s in collector.spans])
    spans = {span.span_id: span for span in collector.spans}
    assert {span.trace_id for span in spans.values()} == {TRACE}
    (request,) = (span for span in spans.values() if span.kind == Span.SPAN_KIND_SERVER)
    assert (request.name, request.parent_id) == ("POST /v1/videos", CALLER)
    assert request.facts["video_id"] == video
    assert request.facts["http.response.status_code"] == 202
    for part in parts().values():
        chain = ancestors(spans, part)
        assert [each.name for each in chain] == ["send", "POST /v1/videos"], part
        assert chain[0].kind == Span.SPAN_KIND_PRODUCER
        assert part.facts["video_id"] == video
        assert part.facts["outcome"] == "done"
        assert part.facts["attempt"] == 1
        assert part.resource["process"] == "worker"
    assert_processes(spans.values(), parts())
    waits = [span for span in spans.values() if span.name == "wait"]
    assert {span.facts["part"] for span in waits} == wanted
    assert all(span.ended >= span.began for span in spans.values())


def assert_processes(spans: Iterable[SeenSpan], parts: dict[str, SeenSpan]) -> None:
    """Each below the part it was started for, with its command line."""
    started = {"ffmpeg": set[str](), "ffprobe": set[str]()}
    for span in spans:
        if span.name in started:
            (part,) = (each for each in parts.values() if each.span_id == span.parent_id)
            started[span.name].add(part.facts["part"])
            assert span.facts["exit"] == 0
            assert span.facts["cpu"] >= 0
            assert "/source?" not in span.facts["command"].replace("/source?…", "")
            assert span.began >= part.began - 1 and span.ended <= part.ended + 1
    assert started["ffprobe"] == {"inspect"}
    assert started["ffmpeg"] >= parts.keys() - {"inspect"}
    stored = [part for part in parts.values() if "stored" in part.events]
    assert stored, "no part tells of a segment that it stored"


def has_upload(spans: Iterable[SeenSpan]) -> bool:
    return any(span.kind == Span.SPAN_KIND_SERVER for span in spans)


def ancestors(spans: dict[str, SeenSpan], span: SeenSpan) -> list[SeenSpan]:
    """From the parent up."""
    found: list[SeenSpan] = []
    while (above := spans.get(span.parent_id)) is not None:
        found.append(above)
        span = above
    return found


def lines(data_dir: Path) -> list[dict[str, Any]]:
    """All that the host's processes logged."""
    texts = [path.read_text() for path in present(folder_of(data_dir))]
    return [json.loads(line) for text in texts for line in text.splitlines() if line]


def assert_lines_tell_the_trace(data_dir: Path, video: str, trace_id: str) -> None:
    told = [line for line in lines(data_dir) if line.get("video_id") == video]
    assert {line.get("trace_id") for line in told} == {trace_id}, [
        line for line in told if line.get("trace_id") != trace_id
    ]
    assert {line["process"] for line in told} >= {"api", "worker"}
    names = {line["event"] for line in told}
    assert names >= {"request", "part_started", "part_ended", "video_ready"}
    (request,) = (line for line in told if line["event"] == "request" and line["method"] == "POST")
    assert request["request_id"]

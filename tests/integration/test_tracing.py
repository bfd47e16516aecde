"""Spans reach a collector as they are told; one that is away or hangs holds nobody up."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from dramatiq import Message
from structlog.testing import capture_logs

from farm.settings import Settings
from farm.tracing import tracing
from jobs.board import Board
from jobs.broker import FarmBroker
from jobs.leases import Attempts
from jobs.parts import PartRef, Pool, Priority
from jobs.records import VideoRecord
from jobs.send import TRACEPARENT, Sender
from jobs.states import State
from jobs.traceparent import TraceContext, fresh
from jobs.tracing import OFF, Tracer
from media.execute import Job, execute
from media.reports import ProcessReport, reporting
from pipeline.runs import Retry, Run
from pipeline.spans import parent_of, part_span, tell_outcome
from tests.e2e.farm_process import OWN, eventually
from tests.otlp_receiver import Receiver, SeenSpan, receiving

CALLER = TraceContext("ab" * 16, "cd" * 8, sampled=True)
#: Seconds a process may take to say goodbye to a collector that does not answer.
FAREWELL = 3.0


def settings(**options: Any) -> Settings:
    return Settings(**(OWN | options))


@pytest.fixture
def collector() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def seen(collector: Receiver, count: int = 1) -> list[SeenSpan]:
    eventually(lambda: len(collector.spans) >= count, 10.0, lambda: collector.spans)
    return collector.spans


def record(trace: TraceContext) -> VideoRecord:
    at = "2026-01-01T00:00:00Z"
    known = {"id": "v1", "state": State.QUEUED, "size": 1, "created_at": at}
    return VideoRecord.model_validate(known | {"traceparent": str(trace)})


def a_run(**known: Any) -> Run:
    run = Run(PartRef("v1", 1, "v00000"), "r1", Attempts(starts=2))
    run.queue, run.waited = "cpu.normal", 1.5
    for name, value in known.items():
        setattr(run, name, value)
    return run


def test_off_is_off_and_imports_nothing() -> None:
    with tracing(settings(), "worker") as tracer:
        assert tracer is OFF
    told = "import farm.worker_process, farm.api_process, sys; " + (
        "print([m for m in sys.modules if m.startswith(('opentelemetry.sdk.', 'google.protobuf'))])"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_part_that_is_tried_again_says_why_below_the_message_that_brought_it(
    collector: Receiver,
) -> None:
    with tracing(settings(otlp_endpoint=collector.url), "worker") as tracer:
        run = a_run(traceparent=str(CALLER), kind="video 1080p")
        with part_span(tracer, run, record(CALLER)) as span:
            tell_outcome(span, run, Retry(1.0, "source_unreadable"))
    wait, part = sorted(seen(collector, 2), key=lambda span: span.name, reverse=True)
    assert (wait.name, part.name, part.error) == ("wait", "part video", "source_unreadable")
    assert {span.parent_id for span in (wait, part)} == {CALLER.span_id}
    assert {span.trace_id for span in (wait, part)} == {CALLER.trace_id}
    assert part.facts["attempt"] == 2
    assert wait.ended - wait.began == pytest.approx(1.5, abs=0.01)


def test_the_record_decides_which_trace_it_is() -> None:
    other = fresh()
    assert parent_of(a_run(traceparent=str(other)), record(CALLER)) == CALLER
    assert parent_of(a_run(traceparent="nonsense"), record(CALLER)) == CALLER
    sent = TraceContext(CALLER.trace_id, "1" * 16, sampled=True)
    assert parent_of(a_run(traceparent=str(sent)), record(CALLER)) == sent


def test_a_caller_who_records_nothing_has_nothing_recorded(collector: Receiver) -> None:
    silent = TraceContext(CALLER.trace_id, CALLER.span_id, sampled=False)
    with tracing(settings(otlp_endpoint=collector.url), "worker") as tracer:
        with tracer.span("quiet", parent=silent) as span:
            assert span.context is not None
            assert (span.context.trace_id, span.context.sampled) == (silent.trace_id, False)
        with tracer.span("loud", parent=CALLER):
            pass
    assert [span.name for span in seen(collector)] == ["loud"]


def test_a_share_of_none_traces_only_what_callers_trace(collector: Receiver) -> None:
    with tracing(settings(otlp_endpoint=collector.url, trace_sample=0), "api") as tracer:
        with tracer.span("own"):
            pass
        with tracer.span("asked for", parent=CALLER):
            pass
    assert [span.name for span in seen(collector)] == ["asked for"]


def test_an_exception_that_passes_is_told(collector: Receiver) -> None:
    with (
        tracing(settings(otlp_endpoint=collector.url), "api") as tracer,
        pytest.raises(ValueError, match="odd"),
        tracer.span("store"),
    ):
        raise ValueError("odd")
    (span,) = seen(collector)
    assert "odd" in span.error


def burst(tracer: Tracer, spans: int) -> float:
    """Seconds that so many spans take of the work."""
    began = time.monotonic()
    for _ in range(spans):
        with tracer.span("work", facts={"part": "v00000"}):
            pass
    return time.monotonic() - began


def test_a_collector_that_hangs_costs_spans_and_a_moment_at_the_end(collector: Receiver) -> None:
    collector.hangs.set()
    with tracing(settings(otlp_endpoint=collector.url), "worker") as tracer:
        assert burst(tracer, 5000) < FAREWELL
        ending = time.monotonic()
    assert time.monotonic() - ending < FAREWELL


def test_a_collector_that_is_away_is_told_of_once_and_so_is_its_return(
    collector: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.otel._TIMEOUT", 0.3)
    monkeypatch.setattr("farm.otel._EVERY", 50)
    collector.hangs.set()
    with capture_logs() as logs, tracing(settings(otlp_endpoint=collector.url), "api") as tracer:

        def told() -> list[str]:
            return [log["event"] for log in logs if log.get("endpoint") == collector.url]

        def tried(count: int) -> bool:
            burst(tracer, 1)
            return len(told()) >= count

        eventually(lambda: tried(1), 10.0)
        burst(tracer, 1)
        time.sleep(0.6)
        collector.hangs.clear()
        eventually(lambda: tried(2), 10.0, told)
    assert told() == ["traces_not_sent", "traces_sent_again"]


def test_each_process_is_reported_to_who_listens_and_to_nobody_else(tmp_path: Path) -> None:
    told: list[ProcessReport] = []
    job = Job(Path("/bin/true"), (), {}, deadline=10.0)
    with reporting(told.append):
        execute(job)
    execute(job)
    (report,) = told
    assert (report.program, report.status, report.error) == ("true", 0, None)
    assert report.argv_shown == ("/bin/true",)
    assert report.wall > 0


def sent_options(board: Board, queue: str) -> list[dict[str, Any]]:
    stored = board.client.hvals(board.keys.messages(queue))
    return [dict(Message.decode(data).options) for data in stored]


def test_a_message_carries_the_span_it_was_sent_in(
    collector: Receiver, redis_client: redis.Redis, namespace: str
) -> None:
    board = Board(redis_client, namespace)
    broker, ref = FarmBroker(redis_client, namespace), PartRef("v1", 1, "v00001")
    with tracing(settings(otlp_endpoint=collector.url), "worker") as tracer:
        sender = Sender(broker, board, tracer)
        assert sender.send(ref, Pool.CPU, Priority.NORMAL, cost=2.5, trace=CALLER)
        assert not sender.send(ref, Pool.CPU, Priority.NORMAL, cost=2.5, trace=CALLER)
    (span,) = seen(collector)
    (options,) = sent_options(board, "cpu.normal")
    assert options[TRACEPARENT] == str(TraceContext(CALLER.trace_id, span.span_id, sampled=True))
    assert (span.name, span.parent_id) == ("send", CALLER.span_id)
    assert (span.facts["part"], span.facts["queue"]) == ("v00001", "cpu.normal")


def test_without_traces_the_message_still_says_which_trace_it_is(
    redis_client: redis.Redis, namespace: str
) -> None:
    board = Board(redis_client, namespace)
    sender = Sender(FarmBroker(redis_client, namespace), board)
    sender.send(PartRef("v1", 1, "v00001"), Pool.CPU, Priority.NORMAL, trace=CALLER)
    (options,) = sent_options(board, "cpu.normal")
    assert options[TRACEPARENT] == str(CALLER)

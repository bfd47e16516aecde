"""What a trace tells of a part: how long its message waited, its run, and each media process.

Every message is a span below the video's upload, and the run that it led to a span below that: so
a trace stays flat however long the film, and duplicates and retries stand beside each other.
"""

from __future__ import annotations

import os
import shlex
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from jobs.parts import queue_parts
from jobs.records import VideoRecord
from jobs.traceparent import TraceContext, parse
from jobs.tracing import NO_SPAN, Facts, Span, Tracer
from jobs.workers import worker_name
from media.reports import ProcessReport, reporting
from pipeline.runs import Outcome, Retry, Run

#: Characters of a command line that a span tells.
_LONGEST: Final = 4000


@contextmanager
def part_span(
    tracer: Tracer, run: Run, record: VideoRecord, clock: Callable[[], float] = time.time
) -> Iterator[Span]:
    """The span of a run, for the time of the block, with one in it for each media process."""
    if not tracer.on:
        yield NO_SPAN
        return
    parent, facts, now = parent_of(run, record), _facts(run), clock()
    if run.waited is not None:
        tracer.past("wait", now - run.waited, now, parent=parent, facts=facts)
    listener = partial(_tell_process, tracer, clock)
    with (
        tracer.span("part", kind="consumer", parent=parent, facts=facts) as span,
        reporting(listener),
    ):
        yield span


def parent_of(run: Run, record: VideoRecord) -> TraceContext:
    """The span that the message was sent in, if it is of the trace that the record names."""
    sent = parse(run.traceparent)
    trace = record.trace
    return sent if sent is not None and sent.trace_id == trace.trace_id else trace


def tell_outcome(span: Span, run: Run, outcome: Outcome) -> None:
    """Add what became of the run, and what it made."""
    if run.kind:
        span.rename(f"part {run.kind.partition(' ')[0]}")
    how = type(outcome).__name__.lower()
    span.tell({"kind": run.kind, "cost": run.cost, "outcome": "failed" if run.failed else how})
    if run.failed:
        span.fail("the video errored")
    elif isinstance(outcome, Retry):
        span.fail(outcome.reason)


def _facts(run: Run) -> Facts:
    ref = run.ref
    return {
        "video_id": ref.video_id,
        "generation": ref.generation,
        "part": ref.part,
        "run": run.id,
        "attempt": run.attempts.starts,
        "queue": run.queue,
        "pool": queue_parts(run.queue)[0] if run.queue else None,
        "waited": run.waited,
        "worker": worker_name(socket.gethostname(), os.getpid()),
    }


def _tell_process(tracer: Tracer, clock: Callable[[], float], report: ProcessReport) -> None:
    now = clock()
    facts: Facts = {
        "program": report.program,
        "command": shlex.join(report.argv_shown)[:_LONGEST],
        "exit": report.status,
        "cpu": round(report.cpu, 4),
        "max_rss": report.max_rss,
    }
    error = report.error
    if error is None and report.status:
        error = f"it ended with status {report.status}"
    # What wheels and packagers call their builds would be a name for each of them.
    name = "ffprobe" if "probe" in report.program else "ffmpeg"
    tracer.past(name, now - report.wall, now, facts=facts, error=error)

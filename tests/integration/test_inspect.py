"""The heads of a new film are on their queue before anything is written about them."""

from __future__ import annotations

from threading import Event

import pytest
from dramatiq import Message

from jobs.board import Board
from jobs.ids import new_video_id
from jobs.parts import INSPECT, PartRef, Pool, Priority, queue_name
from jobs.records import VideoRecord
from jobs.send import TRACEPARENT, QueueUnavailableError, Sender
from jobs.states import State
from jobs.traceparent import parse
from media.probed import VideoStream
from pipeline.advance import Advancer
from pipeline.inspect import inspect
from storage import layout
from storage.documents import create_document
from tests.integration.test_publish import Farm, farm, plan
from transcoder.plan import Plan

__all__ = ["farm", "plan"]


def planned(plan: Plan) -> Plan:
    """The farm's plan as one that was made of a probe, with heads."""
    pictures = VideoStream(index=0, codec="h264", width=640, height=360)
    heads = {"v00000", "a0-head"}
    parts = (part.model_copy(update={"head": part.id in heads}) for part in plan.parts)
    probe = plan.probe.model_copy(update={"video": (pictures,)})
    return plan.model_copy(update={"probe": probe, "parts": tuple(parts)})


def waiting(farm: Farm) -> VideoRecord:
    """A second video, accepted and planned."""
    catalog, video_id = farm.bench.catalog, new_video_id()
    record = VideoRecord(
        id=video_id, state=State.QUEUED, size=1, created_at=farm.now, priority=Priority.HIGH
    )
    catalog.receive(video_id, 60)
    catalog.accept(record)
    for generation in (1, 2):
        key = layout.plan(video_id, generation)
        create_document(farm.bench.store, key, planned(farm.plan).model_dump(mode="json"))
    return record


def inspected(farm: Farm, record: VideoRecord) -> set[str]:
    """The parts that are on their way once the record says what was found."""
    generation = farm.bench.catalog.load(record.id).generation
    inspect(farm.bench, PartRef(record.id, generation, INSPECT), Event())
    assert farm.bench.catalog.load(record.id).state is State.PROCESSING
    return set(farm.bench.board.parts_in_flight(record.id))


def test_heads_are_sent_by_whoever_wrote_the_plan(farm: Farm) -> None:
    record = waiting(farm)
    assert inspected(farm, record) == {"1/v00000", "1/a0-head"}
    queue = farm.bench.board.keys.queue("head.high")
    assert farm.bench.board.client.llen(queue) == 2
    inspect(farm.bench, PartRef(record.id, 1, INSPECT), Event())
    assert farm.bench.board.client.llen(queue) == 2


def test_a_retried_film_may_have_them_already(farm: Farm) -> None:
    record = waiting(farm)
    farm.bench.catalog.cancel(record.id)
    farm.bench.catalog.retry(record.id)
    assert inspected(farm, record) == set()


def test_a_queue_that_takes_nothing_keeps_no_film_from_being_planned(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = list[str]()

    def refused(_: Sender, ref: PartRef, *others: object, **more: object) -> bool:
        tried.append(ref.part)
        raise QueueUnavailableError(ref, ConnectionError("away"))

    monkeypatch.setattr(Sender, "send", refused)
    assert inspected(farm, waiting(farm)) == set()
    assert len(tried) == 1, "each may last as long as Redis is given to answer"


def test_what_is_sent_is_of_the_records_trace_also_after_redis_was_emptied(farm: Farm) -> None:
    record, board = waiting(farm), farm.bench.board
    inspected(farm, record)
    before = traces_sent(board, record)
    for key in board.client.scan_iter(f"*{board.keys.namespace}*"):
        board.client.delete(key)
    Advancer(farm.bench).advance(record.id)
    after = traces_sent(board, record)
    assert before.keys() < after.keys()
    assert {*before.values(), *after.values()} == {record.trace.trace_id}


def traces_sent(board: Board, record: VideoRecord) -> dict[str, str]:
    """The trace that each message about the video names, by part."""
    found: dict[str, str] = {}
    for pool in (Pool.HEAD, Pool.CPU):
        for data in board.client.hvals(board.keys.messages(queue_name(pool, record.priority))):
            message: Message[None] = Message.decode(data)
            trace = parse(message.options[TRACEPARENT])
            assert trace is not None
            if message.args[0] == record.id:
                found[str(message.args[2])] = trace.trace_id
    return found

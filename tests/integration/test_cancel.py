"""The end of a canceled video, and a retry, where somebody died in between."""

from __future__ import annotations

import pytest

from jobs.leases import Attempts
from jobs.parts import PartRef
from jobs.states import State
from pipeline.advance import Advancer
from pipeline.runs import Done, Retry, Run
from pipeline.work import Workshop
from storage import layout
from storage.documents import create_document
from tests.integration.test_publish import Farm, farm, plan

__all__ = ["farm", "plan"]


@pytest.fixture
def advancer(farm: Farm) -> Advancer:
    """An advancer; the plan is written."""
    create_document(farm.bench.store, layout.plan(farm.id, 1), farm.plan.model_dump(mode="json"))
    return Advancer(farm.bench)


def running(farm: Farm, generation: int = 1) -> Run:
    """A run of a chunk that has its lease."""
    ref, board = PartRef(farm.id, generation, "v00002"), farm.bench.board
    board.mark_sent(ref, "cpu.normal", "m")
    assert board.take(ref, "owner") is not None
    return Run(ref, "owner", Attempts(starts=1))


def test_a_cancel_that_nobody_was_told_of_is_carried_out_by_the_sweeper(
    farm: Farm, advancer: Advancer
) -> None:
    farm.receive("v00000")
    farm.publish()
    run, board = running(farm), farm.bench.board
    board.mark_sent(PartRef(farm.id, 1, "v00003"), "cpu.normal", "m")
    farm.bench.catalog.cancel(farm.id)

    advancer.advance(farm.id)
    advancer.advance(farm.id)

    entry = farm.bench.board.client.hget(board.keys.parts(farm.id), "1/v00002")
    assert isinstance(entry, bytes)
    assert entry.endswith(b" stop")
    assert board.parts_in_flight(farm.id) == {"1/v00002"}
    assert farm.text("1/180p.m3u8").endswith("#EXT-X-ENDLIST\n")
    assert list(farm.bench.catalog.inbox()) == []
    assert Workshop(farm.bench, advancer)(run) == Done()


def test_a_retry_that_was_cut_off_is_carried_out_by_the_sweeper(
    farm: Farm, advancer: Advancer
) -> None:
    farm.bench.catalog.cancel(farm.id)
    advancer.advance(farm.id)
    entry = layout.inbox(farm.id, 2)
    create_document(farm.bench.store, entry, {"state": "accepted"})

    advancer.advance(farm.id)

    assert farm.bench.catalog.load(farm.id).state is State.QUEUED
    assert farm.bench.board.parts_in_flight(farm.id) == {"2/inspect"}


def test_a_retry_while_the_video_is_being_ended_does_not_wait_for_the_sweeper(
    farm: Farm, advancer: Advancer
) -> None:
    canceled = farm.bench.catalog.cancel(farm.id)
    farm.bench.catalog.retry(farm.id)
    farm.bench.board.mark_sent(PartRef(farm.id, 2, "inspect"), "head.normal", "m")
    advancer._end(canceled)
    assert farm.bench.board.parts_in_flight(farm.id) == {"2/inspect"}


def test_a_stop_that_was_meant_for_the_generation_before_delays_a_part(
    farm: Farm, advancer: Advancer
) -> None:
    workshop = Workshop(farm.bench, advancer)
    farm.bench.store.put(layout.source(farm.id), b"no film")
    run = running(farm)
    run.stop("stop")
    outcome = workshop(run)
    assert isinstance(outcome, Retry)
    assert not outcome.counted

    farm.bench.catalog.cancel(farm.id)
    assert workshop(run) == Done()

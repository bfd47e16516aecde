"""The end of a canceled video, and a retry, where somebody died in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from jobs.board import Board
from jobs.leases import Attempts, Lease
from jobs.parts import CLEAN, INSPECT, PartRef
from jobs.records import Problem
from jobs.states import State
from jobs.timings import Timings
from pipeline import advance
from pipeline.advance import Advancer
from pipeline.errors import PartError, PermanentError, TransientError
from pipeline.publish import Publisher
from pipeline.runs import Done, Drained, Retry, Run
from pipeline.work import Workshop
from storage import layout
from storage.documents import create_document
from tests.integration.test_publish import Farm, farm, plan
from tests.range_server import serve

__all__ = ["farm", "plan"]

PROBLEM = Problem(code="mixed_encoders", message="They do not fit.", hint="Look.")


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
    assert Workshop(farm.bench, advancer)(run) == Done()


def test_what_runs_left_goes_when_the_last_one_has_stopped(farm: Farm, advancer: Advancer) -> None:
    """The to-do list keeps the video until then."""
    farm.receive("v00000")
    for path in ("1/r/lost.m4s", "1/360p-init-lost.mp4", "1/360p.m3u8", "2/r/next.m4s"):
        farm.bench.store.put(layout.play(farm.id, path), b"x")
    before = everything(farm)
    run = running(farm)
    farm.bench.catalog.cancel(farm.id)
    advancer.advance(farm.id)
    assert list(farm.bench.catalog.inbox()) == [farm.id]
    assert [info.key for info in farm.bench.store.list(layout.INDEX)] == [layout.index(farm.id)]
    assert everything(farm) == before
    assert farm.bench.board.client.zcard(farm.bench.board.keys.wakes) == 1

    farm.bench.board.release(Lease(run.ref, run.id, run.attempts), "done")
    advancer.advance(farm.id)
    assert list(farm.bench.catalog.inbox()) == []
    assert before - everything(farm) == {"1/r/lost.m4s", "1/360p-init-lost.mp4"}


def test_looks_at_a_run_that_does_not_stop_grow_rare_and_it_is_said(
    farm: Farm, advancer: Advancer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Board, "wake", lambda *a: pauses.append(a[2]))
    run = running(farm)
    ended = farm.bench.catalog.cancel(farm.id).events[-1].at
    told = []
    for seconds in (0, 1, 2, 4, 8, 16, 32, 62):
        now = ended + timedelta(seconds=seconds)
        monkeypatch.setattr(advance, "utc_now", lambda now=now: now)
        with capture_logs() as logs:
            advancer.advance(farm.id)
        told.append([each["parts"] for each in logs if each["event"] == "parts_do_not_stop"])
    assert pauses == [1, 1, 2, 4, 8, 16, 30, 30]
    assert told == [[]] * 7 + [[["v00002"]]]

    advancer.advance(farm.id, "another run")
    assert list(farm.bench.catalog.inbox()) == [farm.id]
    advancer.advance(farm.id, run.id)
    assert list(farm.bench.catalog.inbox()) == []


def publishing(monkeypatch: pytest.MonkeyPatch, what: Callable[[], None]) -> None:
    """Have publishing do that instead."""
    monkeypatch.setattr(Publisher, "publish", lambda self: what())


@pytest.mark.parametrize("problem", [PermanentError(PROBLEM), TransientError(PROBLEM, 1)])
def test_a_retry_while_publishing_fails_is_not_ended_with_the_generation_before(
    farm: Farm, advancer: Advancer, monkeypatch: pytest.MonkeyPatch, problem: PartError
) -> None:
    catalog, board = farm.bench.catalog, farm.bench.board

    def overtaken() -> None:
        catalog.cancel(farm.id)
        catalog.retry(farm.id)
        board.mark_sent(PartRef(farm.id, 2, INSPECT), "head.normal", "m")
        raise problem

    publishing(monkeypatch, overtaken)
    advancer.advance(farm.id)
    assert catalog.load(farm.id).state is State.QUEUED
    assert catalog.entry(farm.id, 2) is not None
    assert board.parts_in_flight(farm.id) == {"2/inspect"}


def stumbling() -> None:
    raise RuntimeError("can't start new thread")


def hasty(farm: Farm) -> tuple[Advancer, Board]:
    """An advancer whose pauses are short; the plan is written."""
    board = Board(
        farm.bench.board.client, farm.bench.board.keys.namespace, Timings(retry_first=0.01)
    )
    create_document(farm.bench.store, layout.plan(farm.id, 1), farm.plan.model_dump(mode="json"))
    return Advancer(replace(farm.bench, board=board)), board


def due(farm: Farm) -> None:
    eventually(lambda: [each.part for each in farm.bench.board.due()] == ["publish"])


def test_publishing_that_fails_is_tried_four_times_before_the_video_ends(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    advancer, _ = hasty(farm)
    publishing(monkeypatch, stumbling)
    for _ in range(3):
        advancer.advance(farm.id)
        advancer.advance(farm.id)  # for another reason: it counts once
        assert farm.bench.catalog.load(farm.id).state is State.PROCESSING
        assert list(farm.bench.catalog.letters.page(1).letters) == []
        due(farm)
    advancer.advance(farm.id)

    record = farm.bench.catalog.load(farm.id)
    assert record.error is not None
    assert record.error.code == "internal_error"
    (letter,) = farm.bench.catalog.letters.page(9).letters
    assert (letter.part, letter.counts.errors) == ("publish", 4)
    assert [each.ending for each in letter.attempts] == ["error"] * 4
    assert list(farm.bench.catalog.inbox()) == []


def test_publishing_that_works_again_has_all_its_tries_again(
    farm: Farm, monkeypatch: pytest.MonkeyPatch
) -> None:
    (advancer, board), ref = hasty(farm), PartRef(farm.id, 1, "publish")
    with monkeypatch.context() as outage:
        publishing(outage, stumbling)
        for _ in range(3):
            advancer.advance(farm.id)
            due(farm)
    assert board.attempts(ref).errors == 3
    advancer.advance(farm.id)
    assert board.attempts(ref) == Attempts()
    assert "1/publish" not in board.parts_in_flight(farm.id)
    assert len(board.parts_in_flight(farm.id)) == len(farm.plan.parts)


def everything(farm: Farm) -> set[str]:
    root = layout.play(farm.id)
    return {info.key.removeprefix(root) for info in farm.bench.store.list(root)}


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


def test_word_left_with_an_advancer_that_died_is_served_when_its_right_is_over(
    farm: Farm, advancer: Advancer
) -> None:
    board = farm.bench.board
    assert board.begin_advance(farm.id, "dead")
    advancer.advance(farm.id)
    [(_, due)] = board.client.zrange(board.keys.wakes, 0, -1, withscores=True)
    now = time.time()  # before the look at what is left, which gets less; in whole milliseconds
    left = board.client.pttl(board.keys.advance(farm.id))
    assert -0.01 < due / 1000 - now - left / 1000 < 5.0


def test_a_deletion_whose_workers_died_is_tried_again_and_never_given_up(
    farm: Farm, advancer: Advancer
) -> None:
    farm.bench.catalog.delete(farm.id)
    run = Run(PartRef(farm.id, 1, CLEAN), "owner", Attempts(starts=4, crashes=3))
    assert Workshop(farm.bench, advancer)(run) == Done()
    left = [info.key for info in farm.bench.store.list(layout.video(farm.id))]
    assert left == [layout.record(farm.id)]
    assert list(farm.bench.catalog.trash()) == []


@pytest.mark.parametrize("hang_at", [0.0, 0.8], ids=["at once", "near its end"])
def test_a_look_at_a_source_that_does_not_answer_ends_when_it_is_told_to(
    farm: Farm,
    make_clip: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    hang_at: float,
) -> None:
    """And what it has seen by then becomes no plan."""
    noise = {"seconds": 20, "filters": "noise=alls=90:allf=t", "video": ("-g", "25", "-b:v", "3M")}
    film = make_clip("long.mp4", output=("-movflags", "+faststart"), **noise)
    run = Run(PartRef(farm.id, 1, INSPECT), "owner", Attempts(starts=1))
    with serve(film.parent) as server, ThreadPoolExecutor(1) as pool:
        behaviour = server.behaviour
        behaviour.hang_at = round(hang_at * film.stat().st_size)
        lent = nullcontext(server.url(film.name))
        monkeypatch.setattr(farm.bench.sources, "lend", lambda _: lent)
        outcome = pool.submit(Workshop(farm.bench, Advancer(farm.bench)), run)
        eventually(lambda: any(begin >= behaviour.hang_at for begin in begins(behaviour.requests)))
        time.sleep(1.0)  # whatever looks elsewhere has done so
        told = time.monotonic()
        run.stop("drain")
        assert outcome.result(10.0) == Drained()
        assert time.monotonic() - told < 2.0
        behaviour.released.set()
    assert farm.bench.plans.load(farm.id, 1) is None


def begins(requests: list[str]) -> list[int]:
    """Where in the file the requests begin."""
    ranges = [request.partition("bytes=")[2].partition("-")[0] for request in requests]
    return [int(begin or 0) for begin in ranges]


def eventually(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.02)

"""The live record against a real Valkey."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import redis

from jobs.board import Board
from jobs.leases import Attempts, Lease
from jobs.parts import PartRef
from jobs.timings import Timings

VIDEO = "01jz0000000000000000000000"
REF = PartRef(VIDEO, 1, "v00001")
OTHER = PartRef(VIDEO, 1, "v00002")
#: Everything is over at once.
HASTY = Timings(lease_ttl=0.001, sent_grace=0.0, sweeper_ttl=0.001, advance_ttl=0.001)


@pytest.fixture
def board(redis_client: redis.Redis, namespace: str) -> Board:
    return Board(redis_client, namespace)


@pytest.fixture
def hasty(redis_client: redis.Redis, namespace: str) -> Board:
    """The same board to somebody who waits for nothing."""
    return Board(redis_client, namespace, HASTY)


def taken(board: Board, owner: str = "run", ref: PartRef = REF) -> Lease:
    """A lease of the part, sent if need be."""
    board.mark_sent(ref, "cpu.normal", "message")
    lease = board.take(ref, owner)
    assert lease is not None
    return lease


def late(board: Board) -> list[PartRef]:
    """What has lapsed, once it has."""
    found = board.expired()
    while not found:
        found = board.expired()
    return found


def remaining(board: Board) -> list[bytes]:
    return [key for key in board.client.keys("*") if VIDEO.encode() in key]


def test_a_part_is_sent_once(board: Board) -> None:
    assert board.mark_sent(REF, "cpu.normal", "a")
    assert not board.mark_sent(REF, "cpu.normal", "b")
    assert board.parts_in_flight(VIDEO) == {"1/v00001"}
    assert board.in_flight([VIDEO, "another"]) == [True, False]


def test_of_twenty_senders_one_may_send(board: Board) -> None:
    with ThreadPoolExecutor(20) as pool:
        sent = list(pool.map(lambda n: board.mark_sent(REF, "cpu.normal", str(n)), range(20)))
    assert sent.count(True) == 1


def test_of_twenty_takers_one_gets_the_lease(board: Board) -> None:
    board.mark_sent(REF, "cpu.normal", "a")
    barrier = threading.Barrier(20)

    def take(number: int) -> Lease | None:
        barrier.wait()
        return board.take(REF, f"run{number}")

    with ThreadPoolExecutor(20) as pool:
        leases = [lease for lease in pool.map(take, range(20)) if lease]
    assert len(leases) == 1
    assert board.holder(REF) == leases[0].owner
    assert board.attempts(REF).starts == 1


def test_what_is_not_marked_is_not_taken(board: Board) -> None:
    assert board.take(REF, "run") is None
    assert board.attempts(REF) == Attempts()


def test_an_unmarked_part_may_be_sent_again_but_a_lease_stays(board: Board) -> None:
    board.mark_sent(REF, "cpu.normal", "a")
    board.unmark(REF, "a")
    assert board.mark_sent(REF, "cpu.normal", "b")
    board.unmark(REF, "a")
    assert board.parts_in_flight(VIDEO) == {"1/v00001"}, "the mark of another message"
    assert board.take(REF, "run")
    board.unmark(REF, "b")
    assert board.is_leased(REF)


def test_a_run_that_takes_twice_starts_once(board: Board) -> None:
    first = taken(board)
    assert board.take(REF, "run") == first
    assert board.attempts(REF).starts == 1


def test_a_leased_part_is_not_sent(board: Board) -> None:
    taken(board)
    assert not board.mark_sent(REF, "cpu.normal", "b")


def test_a_finished_part_leaves_nothing(board: Board) -> None:
    lease = taken(board)
    board.report(REF, 3.0)
    assert board.release(lease, "done")
    assert remaining(board) == []
    assert board.in_flight([VIDEO]) == [False]
    assert not board.client.exists(board.keys.leases)


def test_the_message_of_a_finished_part_is_not_taken(board: Board) -> None:
    board.release(taken(board), "done")
    assert board.take(REF, "again") is None


def test_an_error_waits_until_it_is_due_and_is_not_sent_before(board: Board) -> None:
    assert board.release(taken(board), "error", retry_in=60.0)
    assert board.due() == []
    assert board.in_flight([VIDEO]) == [True]
    assert not board.mark_sent(REF, "cpu.normal", "b")
    assert board.take(REF, "duplicate") is None


def test_a_due_part_is_handed_out_once_and_may_be_sent(board: Board) -> None:
    board.release(taken(board), "error", retry_in=0.001)
    found = board.due()
    while not found:
        found = board.due()
    assert found == [REF]
    assert board.due() == []
    assert taken(board, "second").attempts == Attempts(starts=2, errors=1)


def test_drains_are_counted_apart(board: Board) -> None:
    board.release(taken(board), "drain")
    assert taken(board, "second").attempts == Attempts(starts=2, drains=1)


def test_a_lapsed_lease_is_handed_out_once_and_counts_as_a_crash(hasty: Board) -> None:
    taken(hasty)
    assert late(hasty) == [REF]
    assert hasty.expired() == []
    assert hasty.attempts(REF) == Attempts(starts=1, crashes=1)
    assert taken(hasty, "second").attempts == Attempts(starts=2, crashes=1)


def test_a_lapsed_lease_may_be_taken_before_anybody_noticed(board: Board, hasty: Board) -> None:
    taken(hasty)
    lease = hasty.take(REF, "second")
    while lease is None:
        lease = hasty.take(REF, "second")
    assert lease.attempts.crashes == 1
    assert not board.renew(Lease(REF, "run", Attempts()))


def test_a_renewed_lease_does_not_lapse(board: Board, hasty: Board) -> None:
    lease = taken(hasty)
    assert board.renew(lease)
    assert board.expired() == []
    assert board.take(REF, "second") is None


def test_a_lease_found_gone_is_taken_again(board: Board) -> None:
    lease = taken(board)
    board.client.flushall()
    assert board.standing(lease) == "gone"
    assert board.renew(lease)
    assert board.standing(lease) == "held"
    assert not board.mark_sent(REF, "cpu.normal", "b")
    assert board.release(lease, "done")


def test_a_running_part_claims_what_was_sent_in_its_stead(board: Board) -> None:
    lease = taken(board)
    board.client.flushall()
    board.mark_sent(REF, "cpu.normal", "again")
    assert board.renew(lease)
    assert board.take(REF, "second") is None


def test_a_lease_that_is_somebody_elses_is_neither_renewed_nor_released(hasty: Board) -> None:
    first = taken(hasty)
    late(hasty)
    second = taken(hasty, "second")
    assert not hasty.renew(first)
    assert not hasty.release(first, "error", retry_in=0.001)
    assert hasty.holder(REF) == second.owner
    assert not hasty.client.exists(hasty.keys.retries)


def test_a_run_that_reports_late_was_no_crash(hasty: Board) -> None:
    first = taken(hasty)
    late(hasty)
    assert hasty.attempts(REF).crashes == 1
    hasty.release(first, "error", retry_in=1.0)
    assert hasty.attempts(REF) == Attempts(starts=1, errors=1)


def test_sent_parts_without_a_message_are_lost_after_a_grace(board: Board, hasty: Board) -> None:
    board.mark_sent(REF, "cpu.normal", "gone")
    board.mark_sent(OTHER, "cpu.normal", "there")
    board.client.hset(board.keys.messages("cpu.normal"), "there", "{}")
    assert board.lost(VIDEO) == []
    found = hasty.lost(VIDEO)
    while not found:
        found = hasty.lost(VIDEO)
    assert found == [REF]
    assert hasty.lost(VIDEO) == []
    assert board.parts_in_flight(VIDEO) == {"1/v00002"}


def test_a_stop_reaches_what_runs_and_nothing_that_comes_later(board: Board) -> None:
    lease = taken(board)
    board.request_stop(VIDEO)
    assert board.stop_requested(lease)
    assert board.renew(lease)
    assert board.stop_requested(lease), "a renewal must not lose the request"
    assert not board.stop_requested(taken(board, ref=OTHER))


def test_forgetting_a_video_leaves_running_parts_their_leases_only(board: Board) -> None:
    running = taken(board)
    board.report(REF, 1.0)
    board.release(taken(board, ref=OTHER), "error", retry_in=60.0)
    board.mark_sent(PartRef(VIDEO, 1, "pictures"), "cpu.low", "m")
    board.forget(VIDEO)
    assert board.parts_in_flight(VIDEO) == {"1/v00001"}
    assert not board.client.exists(board.keys.retries)
    assert board.release(running, "done")
    assert remaining(board) == []


def test_live_records_of_a_video_end_by_themselves(board: Board) -> None:
    taken(board)
    board.report(REF, 1.0)
    assert all(board.client.pttl(key) > 0 for key in remaining(board))


def test_what_a_run_says_after_its_video_was_forgotten_ends_by_itself(board: Board) -> None:
    taken(board)
    board.forget(VIDEO)
    board.progressed(REF)
    assert board.client.exists(board.keys.attempts(VIDEO))
    assert all(board.client.pttl(key) > 0 for key in remaining(board))


def test_a_second_advancer_leaves_word_instead_of_waiting(board: Board) -> None:
    assert board.begin_advance(VIDEO, "a")
    assert not board.begin_advance(VIDEO, "b")
    assert board.end_advance(VIDEO, "a"), "somebody left word"
    assert not board.begin_advance(VIDEO, "b")
    assert board.end_advance(VIDEO, "a")
    assert not board.end_advance(VIDEO, "a")
    assert board.begin_advance(VIDEO, "b")
    assert not board.end_advance(VIDEO, "b")
    assert remaining(board) == []


def test_an_advancer_that_died_is_replaced_and_ends_nothing(board: Board, hasty: Board) -> None:
    assert hasty.begin_advance(VIDEO, "a")
    while not board.begin_advance(VIDEO, "b"):
        pass
    assert not board.end_advance(VIDEO, "a")
    assert board.end_advance(VIDEO, "b"), "what a wrote since may have come too late for b"
    assert not board.begin_advance(VIDEO, "c"), "b still advances"


def test_an_advancer_whose_right_lapsed_looks_again(board: Board) -> None:
    """It may have slept through the end of the video, and written after that."""
    assert board.begin_advance(VIDEO, "a")
    board.client.flushall()
    assert board.end_advance(VIDEO, "a")
    assert not board.begin_advance(VIDEO, "b"), "a advances again"
    assert board.end_advance(VIDEO, "a")
    assert not board.end_advance(VIDEO, "a")


def test_no_request_to_advance_is_lost_in_a_race(board: Board) -> None:
    """Whatever was asked for is looked at by a step that begins afterwards."""
    asked, seen = [0], [0]
    lock = threading.Lock()

    def ask(owner: str) -> None:
        for _ in range(25):
            with lock:
                asked[0] += 1
            again = board.begin_advance(VIDEO, owner)
            while again:
                with lock:
                    seen[0] = asked[0]
                again = board.end_advance(VIDEO, owner)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, "abcdefgh"))
    assert seen == asked == [200]


def test_progress_is_of_parts_on_their_way_only(board: Board) -> None:
    board.report(REF, 5.0)
    assert board.progress(VIDEO) == {}
    lease = taken(board)
    board.report(REF, 2.5)
    assert board.progress(VIDEO) == {"1/v00001": 2.5}
    board.release(lease, "done")
    assert board.progress(VIDEO) == {}


def test_the_sentinel_tells_that_redis_was_emptied(board: Board) -> None:
    assert board.sentinel_lost()
    board.plant_sentinel()
    assert not board.sentinel_lost()
    board.client.flushall()
    assert board.sentinel_lost()


def test_one_sweeper_leads_until_it_falls_silent_or_resigns(board: Board, hasty: Board) -> None:
    assert hasty.lead("a")
    while not board.lead("b"):
        pass
    assert not board.lead("a")
    board.resign("a")
    assert not board.lead("a"), "only the leader can resign"
    board.resign("b")
    assert board.lead("a")


def test_boards_of_two_namespaces_share_nothing(board: Board) -> None:
    other = Board(board.client, board.keys.namespace + "-other", replace(HASTY))
    taken(board)
    assert other.parts_in_flight(VIDEO) == set()
    assert other.expired() == []

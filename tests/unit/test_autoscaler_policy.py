"""The scaling arithmetic: prompt to grow, slow to shrink, never beyond its bounds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoscaler.policy import Decision, Peak, PoolDemand, PoolSpec, desired

POOL = PoolSpec("cpu", minimum=1, maximum=8, cooldown=60)


def decide(needs: list[tuple[float, int]], pool: PoolSpec, current: int = 0) -> list[Decision]:
    """The decisions over a series of (time, parts to do), each made on top of the one before."""
    decisions: list[Decision] = []
    peaks: tuple[Peak, ...] = ()
    for now, need in needs:
        decision = desired(PoolDemand(need, 0), pool, current, peaks, now)
        current, peaks = decision.count, decision.peaks
        decisions.append(decision)
    return decisions


def counts(needs: list[tuple[float, int]], pool: PoolSpec = POOL, current: int = 0) -> list[int]:
    return [decision.count for decision in decide(needs, pool, current)]


def test_it_grows_at_once_and_no_further_than_the_maximum() -> None:
    assert counts([(0, 3), (1, 100)]) == [3, 8]


def test_parts_in_work_count_as_much_as_waiting_ones() -> None:
    assert desired(PoolDemand(waiting=2, in_flight=3), POOL, 3, (), 0).count == 5


def test_it_shrinks_only_after_a_quiet_cooldown() -> None:
    assert counts([(0, 5), (30, 0), (59, 0), (60, 0)]) == [5, 5, 5, 1]


def test_it_shrinks_to_the_highest_need_of_the_cooldown() -> None:
    assert counts([(0, 5), (30, 3), (59, 0), (61, 0), (91, 0)]) == [5, 5, 5, 3, 1]


def test_a_pool_may_sleep_and_wakes_at_once() -> None:
    sleepy = PoolSpec("head", minimum=0, maximum=2, cooldown=10)
    assert counts([(0, 1), (11, 0), (12, 1)], sleepy) == [1, 0, 1]


def test_steps_are_limited_both_ways() -> None:
    pool = PoolSpec("cpu", minimum=0, maximum=8, cooldown=5, step_up=2, step_down=3)
    assert counts([(0, 8), (1, 8), (2, 8), (3, 8), (10, 0), (11, 0), (12, 0)], pool) == [
        *(2, 4, 6, 8),
        *(5, 2, 0),
    ]


def test_a_lowered_maximum_is_obeyed() -> None:
    assert counts([(0, 100)], PoolSpec("cpu", 0, 2), current=6) == [2]


def test_the_reason_names_what_was_seen() -> None:
    grow, hold = decide([(0, 3), (1, 1)], POOL)
    assert grow.reason == "grow: 3 waiting, 0 in work, at least 1 wanted"
    assert hold.reason == "hold: 1 waiting, 0 in work, at least 1 wanted; cooling down"


@pytest.mark.parametrize(("minimum", "maximum", "step"), [(2, 1, 1), (-1, 1, 1), (0, 1, 0)])
def test_nonsense_bounds_are_refused(minimum: int, maximum: int, step: int) -> None:
    with pytest.raises(ValueError, match="pool cpu"):
        PoolSpec("cpu", minimum, maximum, step_up=step)


SERIES = st.lists(st.tuples(st.floats(0.1, 30), st.integers(0, 20)), min_size=1, max_size=60)


@given(SERIES, st.integers(0, 3), st.integers(0, 10), st.floats(1, 90))
def test_it_never_flaps(
    steps: list[tuple[float, int]], minimum: int, spread: int, cooldown: float
) -> None:
    """A worker goes only when nothing in the whole cooldown before wanted it."""
    pool = PoolSpec("cpu", minimum, minimum + spread, cooldown)
    needs: list[tuple[float, int]] = []
    for delay, need in steps:
        needs.append(((needs[-1][0] if needs else 0.0) + delay, need))
    current = 0
    for index, decision in enumerate(decide(needs, pool)):
        now, need = needs[index]
        wanted = max(pool.minimum, min(pool.maximum, need))
        recent = [max(pool.minimum, min(pool.maximum, n)) for at, n in needs[: index + 1]
                  if at > now - cooldown]  # fmt: skip
        assert pool.minimum <= decision.count <= pool.maximum
        assert decision.count >= wanted
        if decision.count < current:
            assert decision.count == max(recent)
        current = decision.count


DRAINING = PoolSpec("cpu", minimum=0, maximum=100, cooldown=60, target_drain=60)


def work(seconds: float, parts: int = 1000, **more: float) -> PoolDemand:
    """Waiting parts of so many seconds altogether."""
    return PoolDemand(waiting=parts, in_flight=0, backlog=seconds, **more)  # type: ignore[arg-type]


def wanted(demand: PoolDemand, pool: PoolSpec = DRAINING, current: int = 0) -> int:
    return desired(demand, pool, current, (), 0).count


def test_there_are_enough_workers_to_be_done_within_the_target() -> None:
    assert wanted(work(600)) == 10
    assert wanted(work(601)) == 11


def test_work_that_goes_on_counts() -> None:
    assert wanted(PoolDemand(10, 5, backlog=500, in_flight_left=100)) == 10


def test_what_is_not_sent_yet_calls_for_enough_to_be_done_in_a_longer_time() -> None:
    """The parts of a film of many short ones that have room would never call for more."""
    film = PoolDemand(8, 8, backlog=40, in_flight_left=20, unsent=7200, unsent_parts=1500)
    assert wanted(film, current=8) == 8, "it follows as there is room"
    patient = replace(DRAINING, follow_drain=600)
    assert wanted(film, patient, current=8) == 12
    assert wanted(replace(film, unsent_parts=10), patient) == 10, "no more than there are parts"
    assert wanted(PoolDemand(50, 0, backlog=3000, unsent=7200, unsent_parts=9), patient) == 50


def test_there_are_never_more_workers_than_parts() -> None:
    assert wanted(work(6000, parts=3)) == 3
    assert wanted(PoolDemand(2, 1, backlog=6000)) == 3


def test_parts_in_work_keep_their_workers() -> None:
    assert wanted(PoolDemand(0, 7, in_flight_left=1.0), current=7) == 7


def test_a_single_part_gets_a_worker_however_short_it_is() -> None:
    assert wanted(PoolDemand(1, 0, backlog=0.0)) == 1
    assert wanted(PoolDemand(0, 0)) == 0


def test_a_part_that_waits_too_long_calls_for_one_worker_more() -> None:
    late = work(60, parts=50, oldest=61)
    assert [wanted(late, current=count) for count in (1, 2, 7)] == [2, 3, 8]
    assert wanted(work(60, parts=50, oldest=59), current=1) == 1
    assert wanted(work(60, parts=2, oldest=61), current=2) == 2, "no more than there are parts"


def test_workers_that_take_a_while_to_start_have_less_time_left() -> None:
    slow = PoolSpec("cpu", 0, 100, target_drain=60, start_delay=30)
    assert wanted(work(600), slow) == 20
    assert wanted(work(600), slow, current=10) == 10, "what there is already is no later for it"
    glacial = PoolSpec("cpu", 0, 100, target_drain=60, start_delay=600)
    assert wanted(work(600), glacial) == 40, "later than the target, but not without bounds"


def test_the_reason_tells_work_target_and_age() -> None:
    reason = desired(work(600, 20, oldest=75, unsent_parts=4), DRAINING, 0, (), 0).reason
    assert reason == (
        "grow: 20 waiting, 0 in work, 4 to follow, 600 s of work for 60 s, "
        "one has waited for 75 s, at least 0 wanted"
    )


def test_times_are_not_negative() -> None:
    with pytest.raises(ValueError, match="pool cpu"):
        PoolSpec("cpu", 0, 1, target_drain=-1)


SECONDS = st.floats(0, 1e6)
COUNTS = st.integers(0, 500)
DEMANDS = st.builds(PoolDemand, COUNTS, COUNTS, SECONDS, SECONDS, SECONDS, COUNTS, SECONDS)
POOLS = st.builds(
    lambda least, spread, cooldown, up, down, drain, start, follow: PoolSpec(
        "cpu", least, least + spread, cooldown, up, down, drain, start, follow
    ),
    st.integers(0, 20), st.integers(0, 300), st.floats(0, 600), st.integers(1, 50),
    st.integers(1, 50), st.floats(0, 900), st.floats(0, 900), st.floats(0, 900),
)  # fmt: skip


@given(DEMANDS, POOLS, st.integers(0, 400))
def test_a_decision_keeps_within_bounds_and_steps(
    demand: PoolDemand, pool: PoolSpec, current: int
) -> None:
    count = desired(demand, pool, current, (), 0).count
    assert count <= max(pool.maximum, current - pool.step_down)
    assert count >= min(pool.minimum, current + pool.step_up)
    assert -pool.step_down <= count - current <= pool.step_up
    assert count <= max(current, demand.parts + demand.unsent_parts, pool.minimum)


@given(DEMANDS, POOLS, st.integers(0, 400))
def test_what_does_not_change_does_not_flap(
    demand: PoolDemand, pool: PoolSpec, current: int
) -> None:
    """Under a constant demand a pool grows, then at the most shrinks, then rests."""
    peaks: tuple[Peak, ...] = (Peak(0, current),)
    moves: list[int] = []
    for step in range(1, 1200):
        decision = desired(demand, pool, current, peaks, step * (pool.cooldown / 50 + 1))
        if decision.count != current:
            moves.append(1 if decision.count > current else -1)
        current, peaks = decision.count, decision.peaks
    assert moves == sorted(moves, reverse=True), "it grew again after it shrank"
    assert min(pool.maximum, demand.in_flight) <= current <= max(pool.maximum, 0)


@given(DEMANDS, POOLS, st.integers(0, 400), COUNTS, SECONDS, SECONDS)
def test_more_to_do_never_means_fewer_workers(
    demand: PoolDemand, pool: PoolSpec, current: int, parts: int, seconds: float, age: float
) -> None:
    more = replace(
        demand,
        waiting=demand.waiting + parts,
        backlog=demand.backlog + seconds,
        oldest=demand.oldest + age,
    )
    counts = [desired(each, pool, current, (), 0).count for each in (demand, more)]
    assert counts[0] <= counts[1]


@given(st.lists(st.tuples(st.floats(0.1, 30), DEMANDS), max_size=40), POOLS)
def test_parts_in_work_are_never_without_a_worker_for_long(
    steps: list[tuple[float, PoolDemand]], pool: PoolSpec
) -> None:
    """No decision goes below what is in work, but for the steps of growing up to it."""
    current, now, peaks = 0, 0.0, ()
    for delay, demand in steps:
        now += delay
        decision = desired(demand, pool, current, peaks, now)
        floor = min(demand.in_flight, pool.maximum, current + pool.step_up)
        assert decision.count >= floor
        current, peaks = decision.count, decision.peaks

"""The scaling arithmetic: prompt to grow, slow to shrink, never beyond its bounds."""

from __future__ import annotations

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

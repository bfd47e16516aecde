"""Parameters follow from how long a worker takes to start."""

from __future__ import annotations

import pytest

from autoscaler.tuning import FOLLOW_DRAIN, cooldown, target_drain, tuned


@pytest.mark.parametrize(
    ("start", "drain", "rest"),
    [(0.0, 10.0, 10.0), (1.0, 11.0, 12.5), (30.0, 30.0, 85.0), (120.0, 30.0, 150.0)],
)
def test_slower_starts_have_longer_targets_and_cooldowns(
    start: float, drain: float, rest: float
) -> None:
    assert target_drain(start) == drain
    assert cooldown(start) == rest


def test_a_tuned_pool_has_its_bounds_and_no_limit_to_its_steps() -> None:
    pool = tuned("cpu", 2, 40, start_delay=30.0)
    assert (pool.name, pool.minimum, pool.maximum) == ("cpu", 2, 40)
    assert (pool.step_up, pool.step_down) == (40, 40)
    assert pool.follow_drain == FOLLOW_DRAIN
    assert tuned("gpu", 0, 0, start_delay=0.0).step_up == 1

"""What a run tells of itself while it is at work."""

from __future__ import annotations

import pytest

from jobs.leases import Attempts
from jobs.parts import PartRef
from pipeline.runs import Run


@pytest.mark.parametrize(
    ("film", "seconds", "speed"), [(10.0, 4.0, 2.5), (0.0, 4.0, None), (1.0, 0.0, None)]
)
def test_its_speed_is_known_once_there_is_film(
    film: float, seconds: float, speed: float | None
) -> None:
    run = Run(PartRef("video", 1, "v0"), "run", Attempts())
    run.pace(film, seconds)
    assert run.speed == speed


def test_a_standstill_does_not_take_back_what_was_known() -> None:
    run = Run(PartRef("video", 1, "v0"), "run", Attempts())
    run.pace(2.0, 1.0)
    run.pace(0.0, 9.0)
    assert run.speed == 2.0

"""Films come through a farm that is broken at random; ``make soak`` does the same for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import harm
from tests.chaos.soak import Order, soak, table

#: Faults that are over soon, and after which nobody waits for a lease to lapse.
QUICK = (
    "ffmpeg killed",
    "worker drained",
    "Valkey killed",
    "Valkey emptied",
    "S3 answers 503",
    "S3 answers 409",
    "answers to writes lost",
    "sources cut",
)


def test_films_come_through_a_few_faults(tmp_path: Path) -> None:
    order = Order(
        videos=4,
        faults=6,
        every=0.8,
        seed=7,
        pace=0.2,
        kinds=QUICK,
        films=("short", "mkv", "ts", "silent"),
        wishes=False,
        head_start=True,
    )
    out = soak(tmp_path, order)
    assert out.good, table(out)
    assert out.ready == 4
    assert sum(out.faults.values()) >= 6


@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seed", [1, 2])
def test_films_come_through_every_kind_of_fault(tmp_path: Path, seed: int) -> None:
    out = soak(tmp_path, Order(videos=20, faults=40, every=3.0, seed=seed))
    assert out.good, table(out)
    assert out.ready + out.deleted == 20
    assert set(out.faults) <= set(harm.KINDS)

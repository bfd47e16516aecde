"""The arithmetic of the control plane's benchmark, and the films its stand-in makes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.control_plane import MANY, ONE, Cost, Upkeep, draw, pairs, promises
from benchmarks.fleet import Load, Spent
from benchmarks.stand_in import RUNG, film, receipt
from transcoder.segments import joined

LOAD = Load(ONE, slots=10, films=1, parts=100, seconds=1, goal=50)


def spent(parts: int = 50, commands: int = 6000, cpu: float = 3.0) -> Spent:
    return Spent(
        at=10.0,
        parts=parts,
        requests=Counter(PutObject=150, GetObject=100),
        commands=Counter(get=commands),
        slots_cpu=cpu,
        sweeper_cpu=0.5,
        redis_cpu=0.25,
        s3_cpu=1.0,
    )


def test_what_is_spent_is_the_difference_of_two_moments() -> None:
    earlier = replace(spent(20, 1000, 1.0), at=4.0)
    between = spent().since(earlier)
    assert (between.at, between.parts, between.commands["get"]) == (6.0, 30, 5000)
    assert between.slots_cpu == 2.0
    assert between.requests.total() == 0


def test_a_part_does_not_pay_for_the_slots_heartbeat() -> None:
    upkeep = Upkeep.of(spent(0, 200, 0.5), slots=10)
    assert upkeep == Upkeep(commands=2.0, cpu=0.0125)
    cost = Cost.of(LOAD, spent(), upkeep)
    assert cost.commands == (6000 - 200) / 50
    assert cost.cpu == pytest.approx(1000 * (3.5 - 1.25) / 50)
    assert (cost.requests, cost.rate, cost.servers) == (5.0, 5.0, 25.0)
    assert cost.by_request == {"PutObject": 3.0, "GetObject": 2.0}


def cost(slots: int, commands: int, **changes: int | str) -> Cost:
    load = replace(LOAD, slots=slots, **changes)  # type: ignore[arg-type]
    return Cost.of(load, spent(commands=commands), Upkeep())


def test_only_loads_that_differ_tenfold_in_one_thing_are_compared() -> None:
    costs = [
        *(cost(10, 100), cost(100, 110), cost(1000, 150), cost(100, 100, name=MANY)),
        *(cost(100, 100, done=1000), cost(100, 130, done=10_000)),
    ]
    found = [what for *_, what in pairs(costs)]
    assert found == ["10 → 100 slots", "100 → 1000 slots", "1000 → 10000 parts done"]
    commands = [p for p in promises(costs) if p.what.startswith("commands")]
    assert [round(p.measured, 2) for p in commands] == [1.1, 1.36, 1.3]
    assert [p.holds for p in commands] == [True, False, False]


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    path = draw([cost(10, 100), cost(100, 110), cost(10, 90, name=MANY)], tmp_path / "a.png")
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_a_stand_in_film_has_its_parts_and_they_make_a_whole() -> None:
    plan = film(7)
    assert [part.head for part in plan.parts] == [True, *[False] * 6]
    made = [receipt(part, number).tracks[0] for number, part in enumerate(plan.parts)]
    whole = joined(made)
    assert whole.track == RUNG
    assert float(whole.duration) == 2 + 6 * 6
    assert plan.video is not None
    assert plan.video.frames == 25 * 38

"""The simulated farm: what has to be so whatever the figures are, and small cases by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.farm_model import Costs, Farm, Film, Task, simulate
from benchmarks.model_costs import KindCost, Line, Sample, cut, film_of, first, fit, kind_costs
from benchmarks.plot import Series, curves
from benchmarks.scale_films import (
    bend,
    curve,
    farm_of,
    fixed,
    growing,
    late_clip,
    long_film,
    longest,
    with_chunks,
)
from transcoder.profile import load_profile

FREE = Costs()
REAL = Costs(hop=0.02, send=0.001, advance=0.05, finish=0.3, finish_each=0.01)
LOOK = Task("inspect", 0.0, head=True)


def film(count: int, cpu: float = 10.0, **more: float) -> Film:
    return Film(LOOK, tuple(Task(f"v{n}", cpu, **more) for n in range(count)))


CLIP = Film(
    Task("inspect", 0.3, 0.1, head=True),
    (
        Task("v0", 0.6, head=True, width=2),
        Task("a0-head", 0.1, head=True),
        Task("a0-rest", 0.4),
        Task("v1", 5.0),
        Task("v2", 4.0),
        Task("pictures", 0.5, 0.2),
    ),
)


def test_one_worker_takes_the_sum() -> None:
    assert simulate([film(5)], Farm(1, 1), FREE).makespan == pytest.approx(50.0)

    waits = CLIP.inspect.wait + sum(task.wait for task in CLIP.tasks)
    together = simulate([CLIP, film(5)], Farm(1, 1), FREE).makespan
    assert 0 <= together - CLIP.cpu - film(5).cpu <= waits + 1e-6


@pytest.mark.parametrize("workers", [1, 2, 8, 64, 1024])
@pytest.mark.parametrize("costs", [FREE, REAL])
def test_never_better_than_ideal(workers: int, costs: Costs) -> None:
    films = [CLIP] * 50 + [film(30)]
    outcome = simulate(films, farm_of(workers, 16), costs)

    assert outcome.makespan >= outcome.cpu / workers - 1e-6
    assert outcome.makespan >= max(task.cpu / task.width for each in films for task in each.tasks)
    assert 0 < outcome.efficiency <= 1 + 1e-9


def test_parts_of_equal_length_are_shared_out() -> None:
    assert simulate([film(8)], Farm(4, 1), FREE).makespan == pytest.approx(20.0)
    assert simulate([film(9)], Farm(4, 1), FREE).makespan == pytest.approx(30.0)


def test_a_window_of_one_makes_one_part_after_another() -> None:
    assert simulate([film(8)], Farm(4, 2, window=1), FREE).makespan == pytest.approx(80.0)
    assert simulate([film(8)], Farm(4, 2, window=2), FREE).makespan == pytest.approx(40.0)


def test_films_have_windows_of_their_own() -> None:
    assert simulate([film(8)] * 8, Farm(4, 2, window=1), FREE).makespan == pytest.approx(80.0)


def test_slots_of_a_host_share_its_cores() -> None:
    """A head slot is a slot, but no core."""
    head = Film(LOOK, (Task("head", 10.0, head=True),), arrival=1.0)

    ready = simulate([film(2), head], Farm(1, 2), FREE).ready

    assert ready == pytest.approx((1 + 9 * 1.5, 15.5))


def test_wide_parts_use_idle_cores_and_no_more() -> None:
    assert simulate([film(1, width=4)], Farm(1, 2), FREE).makespan == pytest.approx(5.0)
    assert simulate([film(1, width=4)], Farm(1, 8), FREE).makespan == pytest.approx(2.5)


def test_heads_go_before_chunks_that_wait_longer() -> None:
    late = Film(LOOK, (Task("head", 1.0, head=True),), arrival=5.0)
    farm = Farm(1, 1, head_slots=0)

    ready = simulate([film(8), late], farm, FREE).ready

    assert ready[1] == pytest.approx(11.0)  # after the chunk that runs
    assert ready[0] == pytest.approx(81.0)


def test_what_the_farm_adds_adds_up() -> None:
    outcome = simulate([film(1)], Farm(1, 1), REAL)

    look = 0.02 + 0.05 + 0.001
    part = 0.02 + 10.0 + 0.05 + 0.3 + 0.01
    assert outcome.makespan == pytest.approx(look + part)
    assert outcome.advances == 2


def test_one_advancer_serves_those_who_end_meanwhile() -> None:
    """A hundred parts that end at once need two steps after the first, not a hundred."""
    costs = Costs(advance=1.0)
    outcome = simulate([film(100)], Farm(100, 1, window=100), costs)

    assert outcome.advances == 3
    assert outcome.makespan == pytest.approx(1.0 + 10.0 + 2.0)


def test_a_step_waits_for_the_one_before_it() -> None:
    costs = Costs(advance=1.0)
    apart = Film(LOOK, tuple(Task(f"v{n}", 10.0 + 0.1 * n) for n in range(5)))

    assert simulate([apart], Farm(5, 1), costs).makespan == pytest.approx(1 + 10 + 2.0)


def test_every_film_becomes_ready_and_in_order_of_upload() -> None:
    films = [replace(CLIP, arrival=float(n)) for n in range(20)]
    ready = simulate(films, Farm(2, 2), REAL).ready

    assert len(ready) == 20
    assert all(at > each.arrival for at, each in zip(ready, films, strict=True))


def test_speed_up_is_told_from_one_worker() -> None:
    points = curve([film(64)], FREE, fixed(1000), (1, 8, 64, 128))

    assert [round(point.speed_up) for point in points] == [1, 8, 64, 64]
    assert [point.efficiency for point in points] == pytest.approx([1, 1, 1, 0.5])
    assert bend(points) == 128
    assert bend(points, 0.9) == 64
    assert bend(points, 1.1) == 0


def test_farms_have_the_workers_that_they_are_said_to_have() -> None:
    assert [farm_of(n, 1).workers for n in (1, 2, 4, 8, 64, 10_000)] == [1, 2, 4, 8, 64, 10_000]


def test_a_window_that_grows_is_never_smaller_than_before() -> None:
    assert [growing(16)(n) for n in (1, 10, 11, 1000)] == [16, 16, 16, 1500]


def test_a_clip_waits_behind_what_a_film_has_queued() -> None:
    clip = Film(LOOK, (Task("v0", 1.0),))
    soon, late = (late_clip(film(1000), clip, FREE, 8, window) for window in (8, 1000))

    assert soon <= 11.0 + 1e-6
    assert late > 100


def test_the_long_film_is_cut_as_the_planner_cuts() -> None:
    profile = load_profile()
    plan, finer = long_film(profile), long_film(with_chunks(profile, 12.0))

    assert plan.video is not None
    assert plan.video.frames == 180_000
    assert plan.video.height == 2160
    assert 230 < len(plan.parts) < 300
    assert len(finer.parts) > 2 * len(plan.parts)
    assert sum(part.stream for part in plan.parts) == 1


def test_a_plan_becomes_a_film_at_measured_costs() -> None:
    plan = long_film(load_profile())
    kinds = ("inspect", "head", "chunk", "sound's head", "sound", "pictures")
    costs = {kind: KindCost(Line(0.0, 0.5), 1.0) for kind in kinds}

    made = film_of(plan, costs, burden=2.0, arrival=3.0)

    assert len(made.tasks) == len(plan.parts)
    assert made.cpu == pytest.approx(1.0 + sum(part.cost for part in plan.parts))
    assert [task.head for task in made.tasks] == [part.head for part in plan.parts]
    assert made.arrival == 3.0


def test_cutting_a_part_leaves_the_work_as_it_is() -> None:
    pieces = cut(CLIP, "a0-rest", 4)

    assert pieces.cpu == pytest.approx(CLIP.cpu)
    assert len(pieces.tasks) == len(CLIP.tasks) + 3
    assert longest(pieces)["a0-rest"] == pytest.approx(0.1)
    assert longest(CLIP)["chunk"] == 5.0


def test_what_is_long_is_better_sent_first() -> None:
    last = Film(LOOK, (*film(8, 5.0).tasks, Task("pictures", 20.0)))
    farm = Farm(2, 1, head_slots=0)

    assert simulate([last], farm, FREE).makespan == pytest.approx(40.0)
    assert simulate([first(last, "pictures")], farm, FREE).makespan == pytest.approx(30.0)


def test_lines_are_laid_only_through_different_sizes() -> None:
    assert fit([(10, 6), (20, 11), (40, 21)]) == Line(pytest.approx(1.0), pytest.approx(0.5))
    assert fit([(10, 6), (10, 4)]) == Line(0.0, 0.5)
    assert fit([(10, 6), (40, 4)]) == Line(0.0, 0.2)
    assert Line(-1.0, 0.1).at(1) > 0


def test_kinds_have_costs_and_widths_of_their_own() -> None:
    found = kind_costs(
        [
            Sample("chunk", 10, slot=12, media=11, cpu=10),
            Sample("chunk", 10, slot=13, media=12, cpu=10),
            Sample("head", 1, slot=1.1, media=1, cpu=1.8),
        ]
    )

    assert found["chunk"] == KindCost(Line(0.0, 1.0), 1.0)
    assert found["head"].width == pytest.approx(1.8)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_pictures_are_drawn_and_are_the_same_again(tmp_path: Path, suffix: str) -> None:
    lines = [Series("a", [1, 10, 100], [1, 9, 50], [1, 8, 40], [1, 10, 60])]
    ideal = Series("ideal", [1, 100], [1, 100], ideal=True)

    drawn = [
        curves(tmp_path / name / f"picture{suffix}", "t", "x", "y", [*lines, ideal], log="xy")
        for name in ("one", "two")
    ]

    assert drawn[0].stat().st_size > 5_000
    if suffix == ".png":
        assert drawn[0].read_bytes() == drawn[1].read_bytes()

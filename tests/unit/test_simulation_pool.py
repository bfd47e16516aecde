"""The simulated pool against cases worked out by hand, and what must hold in every run."""

from __future__ import annotations

import pytest

from simulation.films import Film
from simulation.platforms import Platform
from simulation.policies import fixed, one_each
from simulation.pool import Policy, Run, Seen, simulate
from simulation.traces import MAKERS, Trace, trace
from simulation.uploads import Upload
from transcoder.cost import LOOK_COST

AT_ONCE = Platform("at once", start=0.0, interval=1.0, stale=0.0, maximum=50, load=4.0)
SLOW = Platform("slow", start=30.0, interval=15.0, stale=15.0, maximum=50, load=4.0)


def film(*costs: float) -> Film:
    return Film("film", costs, (False,) * len(costs))


def upload(at: float, *spent: float, look: float = 0.0) -> Upload:
    return Upload(at, film(*spent), look, spent)


def run(
    *uploads: Upload, policy: Policy, platform: Platform = AT_ONCE, seconds: float = 100.0
) -> Run:
    return simulate(Trace("by hand", uploads, seconds), policy, platform, tail=0.0)


def test_one_worker_and_equal_parts_are_a_queue_of_textbooks() -> None:
    arrivals = [0.0, 1.0, 1.5, 9.0, 9.0, 9.5, 30.0, 31.0]
    took = run(*(upload(at, 2.0) for at in arrivals), policy=fixed(1))
    # Lindley: each begins when it is there and the one before it is done.
    ready, free = [], 0.0
    for at in arrivals:
        free = max(at, free) + 2.0
        ready.append(free)
    assert took.ready == pytest.approx(ready)


def test_parts_go_side_by_side_after_the_look() -> None:
    took = run(upload(3.0, 5.0, 7.0, 6.0, look=1.0), policy=fixed(3))
    assert took.begun == (3.0,)
    assert took.ready == (11.0,)
    two = run(upload(3.0, 5.0, 7.0, 6.0, look=1.0), policy=fixed(2))
    assert two.ready == (15.0,)


def test_a_worker_comes_after_its_start_and_by_figures_that_are_old() -> None:
    # Seen at 15 s, decided at 30 s, there at 60 s.
    took = run(upload(10.0, 5.0, look=1.0), policy=one_each(), platform=SLOW)
    assert took.begun == (60.0,)
    assert took.ready == (66.0,)


def test_heads_stand_before_everything_else() -> None:
    long = upload(0.0, 10.0, 10.0, 10.0)
    clip = Upload(1.0, Film("clip", (1.0, 1.0), (True, False)), 1.0, (1.0, 1.0))
    took = run(long, clip, policy=fixed(1))
    # After the first part of the film come the look and the head, but not the rest of the clip.
    assert took.begun[1] == 10.0
    assert took.ready == (32.0, 33.0)


def test_a_film_has_a_window_of_parts_on_their_way() -> None:
    most = []

    def watch(seen: Seen, _current: int, _now: float) -> int:
        demand = seen.demand
        most.append(demand.waiting + demand.in_flight)
        assert demand.waiting + demand.in_flight + demand.unsent_parts <= 100
        return 4

    run(upload(0.0, *[3.0] * 100), policy=watch)
    assert max(most) == 16


def test_the_window_grows_with_the_farm() -> None:
    took = run(upload(10.0, *[3.0] * 40), policy=fixed(40))
    assert took.ready == (13.0,)


def test_who_is_to_go_finishes_its_part() -> None:
    def leave(_seen: Seen, _current: int, now: float) -> int:
        return 2 if now < 3 else 0

    took = run(upload(0.0, 10.0), policy=leave)
    assert took.ready == (10.0,)
    # One was idle and went at once.
    assert took.paid == pytest.approx(3.0 + 10.0)


def test_those_that_start_are_paid_for_and_can_be_sent_back() -> None:
    def regret(_seen: Seen, _current: int, now: float) -> int:
        return 5 if now < 30 else 0

    took = run(policy=regret, platform=SLOW)
    assert took.starts == 5
    assert took.paid == pytest.approx(5 * 15.0)


def test_a_fixed_pool_is_paid_for_to_the_end() -> None:
    took = run(upload(0.0, 10.0), policy=fixed(3))
    assert took.paid == pytest.approx(300.0)
    assert took.worked == pytest.approx(10.0)


def test_the_backlog_is_told_by_the_pace_that_was_found() -> None:
    seen: list[Seen] = []

    def watch(each: Seen, _current: int, _now: float) -> int:
        seen.append(each)
        return 1

    slow = [Upload(0.0, film(10.0), 3.0, (30.0,)) for _ in range(20)]
    run(*slow, policy=watch, seconds=400.0)
    last = next(each for each in reversed(seen) if each.demand.waiting)
    assert last.demand.backlog == pytest.approx(30.0 * last.demand.waiting, rel=0.2)
    # Nobody has looked at any of them yet.
    assert seen[0].demand.backlog == pytest.approx(20 * LOOK_COST)


@pytest.mark.parametrize("platform", [AT_ONCE, SLOW])
@pytest.mark.parametrize("name", [name for name, _, _ in MAKERS])
def test_every_part_is_done_once_and_every_second_is_paid_for(
    name: str, platform: Platform
) -> None:
    made = trace(name, platform.load, seed=3, scale=0.05)
    took = simulate(made, one_each(), platform)
    assert took.parts == sum(1 + len(each.spent) for each in made.uploads)
    assert took.worked == pytest.approx(made.work)
    assert took.paid >= took.worked
    assert len(took.ready) == len(made.uploads)
    for each, ready in zip(made.uploads, took.ready, strict=True):
        assert ready >= each.at + each.shortest - 1e-6
    assert all(look.target <= platform.maximum for look in took.looks)
    assert all(look.serving <= look.target for look in took.looks)


def test_a_seed_makes_the_same_uploads_and_the_same_run() -> None:
    first, again, other = (trace("bursty", 4.0, seed, scale=0.1) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert simulate(first, one_each(), SLOW) == simulate(again, one_each(), SLOW)


def test_traces_bring_the_load_they_are_asked_for() -> None:
    for name in ("steady", "bursty", "diurnal", "flash crowd"):
        made = [trace(name, 200.0, seed, scale=0.2) for seed in range(3)]
        work = sum(each.work for each in made) / sum(each.seconds for each in made)
        assert work == pytest.approx(200.0, rel=0.25), name

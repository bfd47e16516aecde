"""What the comparison says: the bounds bound, the shipped policy wins, and it does not flap."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoscaler.policy import PoolDemand
from simulation.__main__ import app
from simulation.compare import Result, Scenario, all_compared, compared, scores
from simulation.films import planned
from simulation.measures import flap_count
from simulation.platforms import CLOUD, LOCAL, PODS, Platform
from simulation.policies import Highest, Rise, per_worker, shipped, tuned, utilised
from simulation.pool import Look, Seen, simulate
from simulation.show import markdown, rows, score_columns, score_rows
from simulation.sweep import swept
from simulation.traces import MAKERS, Trace
from simulation.uploads import Upload

SMALL = tuple(
    Scenario(platform, name, seed=4, scale=scale)
    for platform, scale in ((LOCAL, 0.05), (PODS, 0.1))
    for name, _, _ in MAKERS
    if (platform, name) != (LOCAL, "giant film")
)


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return [compared(each, tuned(each.platform)) for each in SMALL]


def seen(waiting: int = 0, in_flight: int = 0, serving: int = 0, busy: int = 0) -> Seen:
    return Seen(0.0, PoolDemand(waiting, in_flight), serving, busy)


def looks(*targets: tuple[float, int]) -> list[Look]:
    return [Look(at, target, target, 0) for at, target in targets]


def test_nobody_does_better_than_the_bound(results: list[Result]) -> None:
    for result in results:
        for figures in (*result.policies, result.clairvoyant):
            assert figures.worker_hours >= result.bound.worker_hours * (1 - 1e-9)
            assert figures.ready_mean >= result.bound.ready_mean * (1 - 1e-9)
            assert result.bound.price() <= figures.price()


def test_no_policy_is_cheaper_than_who_knows_everything(results: list[Result]) -> None:
    for result in results:
        assert all(result.ratio(figures) >= 1.0 for figures in result.policies), result.scenario


def test_the_shipped_policy_wins(results: list[Result]) -> None:
    found = scores(results)
    assert next(iter(found)) == "shipped"


def test_the_shipped_policy_does_not_flap_where_uploads_come_steadily() -> None:
    clip = planned("30 s 1080p", 30.0, 1920, 1080)
    uploads = tuple(Upload(float(at), clip, 1.0, clip.costs) for at in range(1800))
    run = simulate(Trace("regular", uploads, 1800.0), shipped(tuned(PODS)), PODS)
    settled = [look for look in run.looks if 300 <= look.at <= 1800]
    assert flap_count(settled, within=PODS.start) == 0
    # It stays near the number that is busy in the mean.
    busy = sum(upload.work for upload in uploads) / 1800
    assert all(busy * 0.8 <= look.target <= busy * 1.25 for look in settled)


def test_it_flaps_less_than_a_worker_for_each_part(results: list[Result]) -> None:
    for result in results:
        if (result.scenario.platform, result.scenario.trace) == (PODS, "steady"):
            flaps = {figures.policy: figures.flaps for figures in result.policies}
            assert flaps["shipped"] <= min(1, flaps["one per part"])


def test_a_policy_of_each_kind_takes_part(results: list[Result]) -> None:
    assert set(scores(results)) == {
        *("shipped", "one per part", "5 waiting per worker", "70% busy", "best fixed size"),
    }


def test_waits_are_in_order(results: list[Result]) -> None:
    for result in results:
        for figures in result.policies:
            assert 0 <= figures.wait_p50 <= figures.wait_p95 <= figures.wait_p99


def test_the_same_seed_gives_the_same_figures() -> None:
    assert compared(SMALL[-1], tuned(PODS)) == compared(SMALL[-1], tuned(PODS))


def test_a_flap_is_a_growth_too_soon_after_a_shrink() -> None:
    course = looks((0, 5), (10, 4), (15, 4), (19, 5), (30, 3), (41, 6))
    assert flap_count(course, within=10.0) == 1
    assert flap_count(course, within=11.0) == 2
    assert flap_count(looks((0, 5), (5, 6), (9, 4)), within=10.0) == 0
    # A growth in two steps is one; that one goes and another comes is none.
    assert flap_count(looks((0, 5), (10, 4), (12, 6), (13, 9)), within=10.0) == 1
    assert flap_count(looks((0, 50), (10, 48), (12, 50)), within=10.0) == 0


def test_the_highest_of_a_while() -> None:
    highest = Highest(10.0)
    asked = [(0.0, 5), (4.0, 3), (9.0, 1), (10.0, 1), (14.0, 1), (15.0, 7)]
    assert [highest(at, count) for at, count in asked] == [5, 5, 5, 3, 1, 7]


def test_a_rise_is_by_four_or_to_twice_as_many() -> None:
    rise = Rise()
    asked = [(0.0, 0), (5.0, 4), (15.0, 4), (30.0, 8)]
    assert [rise(at, current, 50) for at, current in asked] == [4, 4, 8, 16]
    assert rise(31.0, 16, 3) == 3


def test_so_many_parts_for_a_worker() -> None:
    assert per_worker(5)(seen(waiting=11), 2, 0.0) == 3
    assert per_worker(5)(seen(in_flight=7), 2, 0.0) == 1
    assert per_worker(5)(seen(), 0, 0.0) == 0


def test_so_large_a_share_is_busy() -> None:
    assert utilised(0.7)(seen(serving=10, busy=10), 10, 0.0) == 15
    assert utilised(0.7)(seen(serving=10, busy=7), 10, 0.0) == 10
    assert utilised(0.7)(seen(serving=10, busy=1), 10, 0.0) == 2
    # Those that start will have something to do.
    assert utilised(0.7)(seen(serving=5, busy=5), 10, 0.0) == 10


def test_tables_have_a_row_for_everything(results: list[Result]) -> None:
    found = rows(results)
    assert len(found) == len(results) * (len(results[0].policies) + 2)
    table = markdown(score_columns(results), score_rows(results))
    assert table.startswith("| policy | local | pods | all |")
    assert table.count("\n") == 2 + len(results[0].policies)


def test_a_sweep_is_best_first() -> None:
    pools = (tuned(LOCAL), tuned(CLOUD))
    with ThreadPoolExecutor(1) as executor:
        found = swept(LOCAL, pools, executor, scale=0.05)
    assert found[0].score <= found[1].score
    assert len(found[0].ratios) == len(MAKERS)
    assert all(ratio >= 1.0 for tried in found for ratio in tried.ratios)


def test_a_platform_has_the_pool_that_belongs_to_it() -> None:
    tiny = Platform("tiny", 1.0, 1.0, 0.0, maximum=4, load=2.0)
    with ThreadPoolExecutor(1) as executor:
        (result,) = all_compared(
            [Scenario(tiny, "steady", scale=0.1)], {"tiny": tuned(tiny)}, executor
        )
    assert result.policies[0].policy == "shipped"


def test_the_command_keeps_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulation.__main__.PLATFORMS", (PODS,))
    monkeypatch.setattr("simulation.__main__.MAKERS", MAKERS[:1])
    monkeypatch.setattr("simulation.__main__._DRAWN", ("steady",))
    done = CliRunner().invoke(app, ["compare", "--quick", "--json", "--out", str(tmp_path)])
    kept = json.loads((tmp_path / "comparison.json").read_text())
    assert json.loads(done.stdout) == kept
    assert kept["parameters"].keys() == {"pods"}
    assert [each["trace"] for each in kept["results"]] == ["steady"]
    assert (tmp_path / "autoscaling.png").read_bytes().startswith(b"\x89PNG")

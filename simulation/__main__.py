"""``python -m simulation compare`` and ``python -m simulation sweep``."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from autoscaler.policy import PoolSpec
from farm.display import Display
from simulation.clairvoyant import foreseen
from simulation.compare import Result, Scenario, all_compared, run_of, scores
from simulation.measures import WEIGHT
from simulation.picture import Course, draw
from simulation.platforms import PLATFORMS
from simulation.policies import contenders, tuned
from simulation.show import (
    COLUMNS,
    document,
    keep,
    markdown,
    price_columns,
    price_rows,
    rows,
    score_columns,
    score_rows,
    tried_document,
    tried_rows,
)
from simulation.sweep import SCALE, grid, swept
from simulation.traces import MAKERS

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Scaling policies, simulated.")

#: Traces whose course is drawn.
_DRAWN: Final = ("bursty", "diurnal", "giant film")

Out = Annotated[Path, typer.Option(help="Where the JSON and the picture go.")]
Quick = Annotated[bool, typer.Option("--quick", help="Short traces: whether it works.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]

_OUT: Final = Path(".reelfarm/simulation")


@app.command()
def compare(
    quick: Quick = False,
    as_json: AsJson = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Tables for documents.")] = False,
    picture: Annotated[Path | None, typer.Option(help="Where else the picture goes.")] = None,
    seed: Annotated[int, typer.Option(help="Of the uploads.")] = 1,
    out: Out = _OUT,
) -> None:
    """Every policy in every trace on every platform. Exit code 1 where the shipped one loses."""
    display, scale = Display(as_json=as_json), 0.1 if quick else 1.0
    pools = {platform.name: tuned(platform) for platform in PLATFORMS}
    scenarios = [
        Scenario(platform, name, seed, scale) for platform in PLATFORMS for name, _, _ in MAKERS
    ]
    drawn = PLATFORMS[len(PLATFORMS) // 2]
    chosen = [Scenario(drawn, name, seed, scale) for name in _DRAWN]
    with ProcessPoolExecutor(os.cpu_count()) as executor:
        results = all_compared(scenarios, pools, executor)
        courses = list(executor.map(_course, chosen, [pools[drawn.name]] * len(chosen)))
    found = document(results) | {"parameters": {name: asdict(p) for name, p in pools.items()}}
    if as_json:
        display.document(found)
    elif as_markdown:
        display.line(markdown(score_columns(results), score_rows(results)))
        display.line(markdown(price_columns(results), price_rows(results)))
        display.line(markdown(COLUMNS, rows(results)))
    else:
        display.table(COLUMNS, rows(results))
        display.line("\nPrice by the clairvoyant's, the mean over all traces:", "bold")
        display.table(score_columns(results), score_rows(results))
    display.say(f"kept in {keep(out / 'comparison.json', found)}")
    for path in (out / "autoscaling.png", *((picture,) if picture else ())):
        display.say(f"drawn in {draw(path, courses, results)}")
    if not _wins(results):
        display.complain("The shipped policy is not the best: sweep its parameters anew.")
        raise typer.Exit(1)


@app.command()
def sweep(
    quick: Quick = False,
    as_json: AsJson = False,
    only: Annotated[str | None, typer.Option(help="One platform.")] = None,
    out: Out = _OUT,
) -> None:
    """The parameters of the shipped policy on every platform; takes some minutes."""
    display, found = Display(as_json=as_json), {}
    columns = ("", "drain", "cool-down", "step up", "step down", "score", *_names(), "flaps")
    with ProcessPoolExecutor(os.cpu_count()) as executor:
        for platform in (each for each in PLATFORMS if only in (None, each.name)):
            scale = 0.05 if quick else SCALE
            tried = swept(platform, grid(platform), executor, scale)
            found[platform.name] = tried_document(tried)
            display.line(f"\n{platform.name}", "bold")
            display.table(columns, tried_rows(tried, tuned(platform)))
    if as_json:
        display.document(found)
    display.say(f"kept in {keep(out / 'sweep.json', found)}")


def _names() -> tuple[str, ...]:
    return tuple(name for name, _, _ in MAKERS)


def _wins(results: list[Result]) -> bool:
    return next(iter(scores(results))) == "shipped"


def _course(scenario: Scenario, pool: PoolSpec) -> Course:
    """Every policy's workers over time."""
    looks = {each.name: run_of(scenario, each).looks for each in contenders(pool)}
    made = scenario.made()
    needed = foreseen(made, scenario.platform.start, WEIGHT).needed
    return Course(f"{scenario.platform.name}: {scenario.trace}", looks, needed, made.seconds)


if __name__ == "__main__":
    app()

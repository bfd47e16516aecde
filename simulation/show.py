"""What was found, as tables for people and documents, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from autoscaler.policy import PoolSpec
from simulation.compare import Result, scores
from simulation.measures import WEIGHT, Figures
from simulation.sweep import Tried

Row = tuple[str, ...]

COLUMNS: Final[Row] = (
    "trace",
    "policy",
    "wait p50",
    "p95",
    "p99",
    "ready p95",
    "worker-h",
    "starts",
    "flaps",
    "× cost",
    "× ready",
    "× price",
)

#: Other prices of waiting at which the ranking is told, to see whether it depends on that.
WEIGHTS: Final = (1.0, 100.0)


def rows(results: Iterable[Result]) -> list[Row]:
    """One for each policy of each result. Ratios are to the clairvoyant."""
    return [
        _row(result, figures)
        for result in results
        for figures in (*result.policies, result.clairvoyant, result.bound)
    ]


def score_rows(results: Sequence[Result]) -> list[Row]:
    """Each policy's score: on each platform, on all, and for other prices of waiting."""
    platforms = list(dict.fromkeys(result.scenario.platform.name for result in results))
    columns = [
        scores([each for each in results if each.scenario.platform.name == name])
        for name in platforms
    ]
    columns += [scores(results, weight) for weight in (WEIGHT, *WEIGHTS)]
    return [(name, *(f"{column[name]:.2f}" for column in columns)) for name in scores(results)]


def score_columns(results: Sequence[Result]) -> Row:
    """Headings of :func:`score_rows`."""
    platforms = dict.fromkeys(result.scenario.platform.name for result in results)
    return ("policy", *platforms, "all", *(f"all, wait × {weight:g}" for weight in WEIGHTS))


def price_rows(results: Iterable[Result]) -> list[Row]:
    """Each policy's price by the clairvoyant's, and the bound's, one row for each trace."""
    return [
        (
            _name(result),
            str(result.uploads),
            *(f"{result.ratio(figures):.2f}" for figures in (*result.policies, result.bound)),
        )
        for result in results
    ]


def price_columns(results: Sequence[Result]) -> Row:
    """Headings of :func:`price_rows`."""
    return ("trace", "uploads", *(each.policy for each in results[0].policies), "bound")


def tried_rows(tried: Iterable[Tried], shipped: PoolSpec) -> list[Row]:
    """One for each set of parameters; that which ships is marked."""
    return [
        (
            "ships" if each.pool == shipped else "",
            f"{each.pool.target_drain:g}",
            f"{each.pool.cooldown:g}",
            str(each.pool.step_up),
            str(each.pool.step_down),
            f"{each.score:.3f}",
            *(f"{ratio:.2f}" for ratio in each.ratios),
            str(each.flaps),
        )
        for each in tried
    ]


def markdown(columns: Row, found: Iterable[Row]) -> str:
    """A table for a document; figures to the right."""
    lines = [columns, ("---", *("---:" for _ in columns[1:])), *found]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def document(results: Sequence[Result]) -> dict[str, Any]:
    """Everything, fit for JSON."""
    return {
        "weight": WEIGHT,
        "scores": {f"{weight:g}": scores(results, weight) for weight in (WEIGHT, *WEIGHTS)},
        "results": [_document(result) for result in results],
    }


def tried_document(tried: Iterable[Tried]) -> list[dict[str, Any]]:
    """The sweep, fit for JSON."""
    return [asdict(each) for each in tried]


def keep(path: Path, value: object) -> Path:
    """Write JSON; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def _row(result: Result, figures: Figures) -> Row:
    best = result.clairvoyant
    return (
        _name(result),
        figures.policy,
        f"{figures.wait_p50:.0f}",
        f"{figures.wait_p95:.0f}",
        f"{figures.wait_p99:.0f}",
        f"{figures.ready_p95:.0f}",
        f"{figures.worker_hours:.1f}",
        str(figures.starts),
        str(figures.flaps),
        f"{figures.worker_hours / best.worker_hours:.2f}",
        f"{figures.ready_mean / best.ready_mean:.2f}",
        f"{result.ratio(figures):.2f}",
    )


def _name(result: Result) -> str:
    return f"{result.scenario.platform.name}: {result.scenario.trace}"


def _document(result: Result) -> dict[str, Any]:
    every = (*result.policies, result.clairvoyant, result.bound)
    figures = [
        {**asdict(each), "price": each.price(), "by_clairvoyant": result.ratio(each)}
        for each in every
    ]
    scenario = asdict(result.scenario)
    return {**scenario, "uploads": result.uploads, "parts": result.parts, "policies": figures}

"""The alert rules and the dashboard: they parse, name what there is, and fire when they should.

The scenarios stand in ``deploy/prometheus/alerts.test.yaml`` in the form that ``promtool test
rules`` reads, so that whoever has promtool can run them as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from jobs.metrics import METRICS
from tests.promql import Sample, Series, evaluate, groupings, selectors

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text(encoding="utf-8"))
SCENARIOS = yaml.safe_load((DEPLOY / "prometheus/alerts.test.yaml").read_text(encoding="utf-8"))
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]

#: What Prometheus adds to every series of a target.
TARGET = {"job", "instance", "pod"}


def dashboard_expressions() -> Iterator[str]:
    """As Grafana would send them."""
    board = json.loads((DEPLOY / "grafana/reelfarm.json").read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"].replace("$__rate_interval", "1m").replace("$job", "reelfarm")


EXPRESSIONS = [*(rule["expr"] for rule in ALERTS), *dashboard_expressions()]


def known_labels() -> dict[str, set[str]]:
    """Labels of every series there can be, by its name."""
    known: dict[str, set[str]] = {}
    for metric in METRICS:
        labels = {*metric.labels, *TARGET}
        known[metric.name] = labels
        if metric.kind == "histogram":
            known |= {f"{metric.name}_{each}": labels for each in ("sum", "count")}
            known[f"{metric.name}_bucket"] = labels | {"le"}
            del known[metric.name]
    return known


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_parses_and_names_what_there_is(expression: str) -> None:
    promql_parser.parse(expression)
    known, found = known_labels(), selectors(expression)
    assert found
    for name, labels in found:
        assert name in known, f"there is no {name}"
        assert labels <= known[name]
    assert groupings(expression) <= set().union(*(known[name] for name, _ in found))


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_says_what_to_do_and_where_to_read_on(rule: Mapping[str, Any]) -> None:
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    document, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE)
    assert rule["alert"] in headings
    assert anchor == rule["alert"].lower()
    labels = groupings(rule["expr"])
    told = re.findall(r"\$labels\.(\w+)", json.dumps(rule["annotations"]))
    assert set(told) <= labels


@dataclass(frozen=True)
class Check:
    """At a time of a scenario: which alerts fire, with which labels."""

    series: Series
    at: float
    alert: str
    expected: list[dict[str, str]]


def expanded(text: str, interval: float) -> list[Sample]:
    """promtool's notation: ``1+2x3`` is 1 3 5 7, ``4x2`` is 4 4 4, ``_x5`` is nothing."""
    values: list[float | None] = []
    for word in text.split():
        match = re.fullmatch(r"(_|-?[\d.]+)(?:([+-][\d.]+))?(?:x(\d+))?", word)
        assert match, word
        first, step, times = match[1], float(match[2] or 0), int(match[3] or 0)
        if first == "_":
            values += [None] * max(1, times)
        else:
            values += [float(first) + step * number for number in range(times + 1)]
    return [(n * interval, value) for n, value in enumerate(values) if value is not None]


def _seconds(text: str) -> float:
    return float(promql_parser.parse_duration(text).total_seconds())


def checks() -> Iterator[Any]:
    for scenario in SCENARIOS["tests"]:
        interval = _seconds(scenario["interval"])
        series = Series()
        for each in scenario["input_series"]:
            selector = promql_parser.parse(each["series"])
            labels = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
            series.add(selector.name, labels, expanded(each["values"], interval))
        for test in scenario["promql_expr_test"]:
            alert = re.fullmatch(r'ALERTS\{alertname="(\w+)",alertstate="firing"\}', test["expr"])
            assert alert, test["expr"]
            fired = [
                {m.name: m.value for m in promql_parser.parse(sample["labels"]).matchers.matchers}
                for sample in test["exp_samples"]
            ]
            at = _seconds(test["eval_time"])
            check = Check(series, at, alert[1], fired)
            yield pytest.param(check, id=f"{scenario['name']} {alert[1]} {test['eval_time']}")


@pytest.mark.parametrize("check", list(checks()))
def test_alerts_fire_when_they_should_and_only_then(check: Check) -> None:
    rule = next(rule for rule in ALERTS if rule["alert"] == check.alert)
    own = {"alertname": check.alert, "alertstate": "firing", **rule["labels"]}
    expected = [frozenset(each.items()) for each in check.expected]
    found = [frozenset({**dict(labels), **own}.items()) for labels in firing(rule, check)]
    assert sorted(map(sorted, found)) == sorted(map(sorted, expected))


def test_every_alert_fires_in_some_scenario_and_in_some_does_not() -> None:
    tested: dict[str, set[bool]] = {}
    for check in checks():
        tested.setdefault(check.values[0].alert, set()).add(bool(check.values[0].expected))
    assert tested == {rule["alert"]: {True, False} for rule in ALERTS}


def firing(rule: Mapping[str, Any], check: Check) -> list[frozenset[tuple[str, str]]]:
    """What the alert's expression has given at every evaluation of the last ``for``."""
    held = _seconds(rule["for"]) if "for" in rule else 0.0
    step = _seconds(SCENARIOS["evaluation_interval"])
    begin = check.at - held
    if begin < 0:
        return []
    times = [begin + number * step for number in range(int(held // step) + 1)]
    found = [evaluate(rule["expr"], check.series, time) for time in times]
    assert all(isinstance(each, dict) for each in found)
    return [labels for labels in found[-1] if all(labels in each for each in found)]

"""The small evaluator agrees with Prometheus where its documentation and sources say how."""

from __future__ import annotations

import pytest

from tests.promql import Series, evaluate


def made() -> Series:
    """Two counters over ten minutes, one of which was started anew, and a gauge."""
    series = Series()
    series.add("c", {"a": "1"}, [(t, t / 10) for t in range(0, 601, 15)])
    series.add("c", {"a": "2"}, [(t, (t % 300) / 10) for t in range(0, 601, 15)])
    series.add("g", {"a": "1"}, [(t, 5.0) for t in range(0, 301, 15)])
    return series


@pytest.mark.parametrize(
    ("expression", "at", "expected"),
    [
        ('rate(c{a="1"}[5m])', 600, 0.1),
        ('increase(c{a="1"}[5m])', 600, 30.0),
        ("sum(rate(c[5m]))", 600, 0.2),
        ("g", 300, 5.0),
        ("g", 590, 5.0),
        ("g", 601, None),
        ("count(c)", 600, 2.0),
        ("absent(g)", 900, 1.0),
        ("absent(g)", 300, None),
        ("sum by (a) (g) * on (a) max by (a) (c)", 300, 150.0),
        ('g > 4 and on (a) c{a="1"} == 30', 300, 5.0),
        ('g unless on (a) c{a="1"}', 300, None),
        ("delta(g[2m])", 300, 0.0),
        ("(1 + 2) * 3 / sum(g)", 300, 1.8),
        ("max without (a) (g)", 300, 5.0),
        ('max_over_time(c{a="2"}[10m])', 600, 28.5),
    ],
)
def test_expressions(expression: str, at: float, expected: float | None) -> None:
    found = evaluate(expression, made(), at)
    assert isinstance(found, dict)
    values = list(found.values())
    assert values == ([] if expected is None else [pytest.approx(expected, rel=0.15)])


def test_quantiles_are_linear_within_a_bucket() -> None:
    series = Series()
    for bound, rate in (("0.1", 0.0), ("0.5", 5.0), ("1.0", 10.0), ("+Inf", 10.0)):
        series.add("h_bucket", {"le": bound}, [(t, t * rate) for t in range(0, 301, 15)])
    found = evaluate("histogram_quantile(0.75, sum by (le) (rate(h_bucket[5m])))", series, 300)
    assert found == {frozenset(): pytest.approx(0.75)}


def test_a_quantile_of_nothing_is_nothing() -> None:
    series = Series()
    series.add("h_bucket", {"le": "+Inf"}, [(t, 0.0) for t in range(0, 301, 15)])
    series.add("h_bucket", {"le": "1.0"}, [(t, 0.0) for t in range(0, 301, 15)])
    assert evaluate("histogram_quantile(0.75, rate(h_bucket[5m])) > 0", series, 300) == {}


def test_what_is_not_understood_is_refused() -> None:
    with pytest.raises(NotImplementedError):
        evaluate("predict_linear(g[5m], 60)", made(), 300)

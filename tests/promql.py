"""As much of PromQL as the farm's rules and dashboard use, by the rules of Prometheus.

Parsing is the work of ``promql-parser``, a port of Prometheus' own. What is not known here is
refused, so that no rule is taken for tested that was not understood.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import promql_parser as pql

#: Seconds for which the last sample of a series holds.
LOOKBACK: Final = 300.0

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Sample = tuple[float, float]

_ARITHMETIC: Final[dict[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / b if b else (float("nan") if a == 0 else float("inf")),
}
_COMPARISONS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}
_AGGREGATES: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "sum": sum,
    "max": max,
    "min": min,
    "count": len,
    "avg": lambda values: sum(values) / len(values),
}
_OVER_TIME: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "max_over_time": max,
    "min_over_time": min,
    "avg_over_time": lambda values: sum(values) / len(values),
}


@dataclass
class Series:
    """Samples (seconds, value) by name and labels, in the order of time."""

    samples: dict[tuple[str, Labels], list[Sample]] = field(default_factory=dict)

    def add(self, name: str, labels: Mapping[str, str], values: Sequence[Sample]) -> None:
        self.samples[name, frozenset(labels.items())] = list(values)

    def selected(self, selector: Any) -> Iterator[tuple[Labels, list[Sample]]]:
        for (name, labels), samples in self.samples.items():
            if name == selector.name and all(
                _matches(m, dict(labels)) for m in _matchers(selector)
            ):
                yield labels, samples


def evaluate(text: str, series: Series, at: float) -> Vector | float:
    """The value of an expression at a time in seconds."""
    return _value(pql.parse(text), series, at)


def selectors(text: str) -> list[tuple[str, set[str]]]:
    """Name of every series that an expression reads, and the labels that it picks it by."""
    found: list[tuple[str, set[str]]] = []

    def visit(node: Any) -> None:
        if isinstance(node, pql.VectorSelector):
            found.append((node.name, {matcher.name for matcher in _matchers(node)}))

    pql.walk(pql.parse(text), visit)
    return found


def groupings(text: str) -> set[str]:
    """The labels by which an expression adds up or matches."""
    found: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, pql.AggregateExpr) and node.modifier is not None:
            found.update(node.modifier.labels)
        if isinstance(node, pql.BinaryExpr) and node.modifier and node.modifier.matching:
            found.update(node.modifier.matching.labels)

    pql.walk(pql.parse(text), visit)
    return found


def _value(node: Any, series: Series, at: float) -> Any:
    match node:
        case pql.NumberLiteral():
            return node.val
        case pql.ParenExpr():
            return _value(node.expr, series, at)
        case pql.VectorSelector():
            return _instant(node, series, at)
        case pql.AggregateExpr():
            return _aggregate(node, _value(node.expr, series, at))
        case pql.Call():
            return _call(node, series, at)
        case pql.BinaryExpr():
            return _binary(node, _value(node.lhs, series, at), _value(node.rhs, series, at))
    raise NotImplementedError(f"{type(node).__name__}: {node}")


def _instant(node: Any, series: Series, at: float) -> Vector:
    found: Vector = {}
    when = at - _seconds(node.offset)
    for labels, samples in series.selected(node):
        held = [value for time, value in samples if when - LOOKBACK < time <= when]
        if held:
            found[labels] = held[-1]
    return found


def _window(node: Any, series: Series, at: float) -> Iterator[tuple[Labels, list[Sample], float]]:
    length = node.range.total_seconds()
    for labels, samples in series.selected(node.vector_selector):
        yield labels, [s for s in samples if at - length < s[0] <= at], length


def _aggregate(node: Any, values: Vector) -> Vector:
    if node.param is not None:
        raise NotImplementedError(str(node))
    groups: defaultdict[Labels, list[float]] = defaultdict(list)
    for labels, value in values.items():
        groups[_grouped(node.modifier, labels)].append(value)
    return {labels: _AGGREGATES[str(node.op)](found) for labels, found in groups.items()}


def _grouped(modifier: Any, labels: Labels) -> Labels:
    if modifier is None:
        return frozenset()
    by = modifier.type == pql.AggModifierType.By
    return frozenset(pair for pair in labels if (pair[0] in modifier.labels) is by)


def _call(node: Any, series: Series, at: float) -> Any:
    name, args = node.func.name, node.args
    if name in ("rate", "increase", "delta"):
        found = {}
        for labels, samples, length in _window(args[0], series, at):
            value = extrapolated(samples, length, at, counter=name != "delta")
            if value is not None:
                found[labels] = value / length if name == "rate" else value
        return found
    if name in _OVER_TIME:
        windows = _window(args[0], series, at)
        over = _OVER_TIME[name]
        return {labels: over([v for _, v in samples]) for labels, samples, _ in windows if samples}
    if name == "histogram_quantile":
        return quantiles(_value(args[0], series, at), _value(args[1], series, at))
    if name == "absent":
        selector = args[0]
        equal = [m for m in _matchers(selector) if m.op == pql.MatchOp.Equal]
        labels = frozenset((m.name, m.value) for m in equal)
        return {} if _value(selector, series, at) else {labels: 1.0}
    if name in ("clamp_min", "clamp_max"):
        limit, bound = (max, min)[name == "clamp_max"], _value(args[1], series, at)
        return {labels: limit(v, bound) for labels, v in _value(args[0], series, at).items()}
    raise NotImplementedError(name)


def extrapolated(
    samples: Sequence[Sample], length: float, at: float, *, counter: bool
) -> float | None:
    """As ``extrapolatedRate`` in Prometheus' promql/functions.go has it."""
    if len(samples) < 2:
        return None
    (first, begin), (last, end) = samples[0], samples[-1]
    result = end - begin
    if counter:
        pairs = itertools.pairwise(samples)
        result += sum(before for (_, before), (_, after) in pairs if after < before)
    sampled = last - first
    each = sampled / (len(samples) - 1)
    to_start, to_end = first - (at - length), at - last
    if to_start >= each * 1.1:
        to_start = each / 2
    if counter and result > 0 and begin >= 0:
        to_start = min(to_start, sampled * (begin / result))
    if to_end >= each * 1.1:
        to_end = each / 2
    return result * (sampled + to_start + to_end) / sampled


def quantiles(wanted: float, buckets: Vector) -> Vector:
    """As ``bucketQuantile`` there: linear within a bucket."""
    groups: defaultdict[Labels, list[tuple[float, float]]] = defaultdict(list)
    for labels, count in buckets.items():
        bound = float(dict(labels)["le"].replace("+Inf", "inf"))
        groups[frozenset(pair for pair in labels if pair[0] != "le")].append((bound, count))
    found = {labels: _quantile(wanted, sorted(each)) for labels, each in groups.items()}
    return {labels: value for labels, value in found.items() if value == value}


def _quantile(wanted: float, buckets: list[tuple[float, float]]) -> float:
    total = buckets[-1][1]
    if len(buckets) < 2 or buckets[-1][0] != float("inf") or not total:
        return float("nan")
    rank = wanted * total
    place = next(i for i, (_, count) in enumerate(buckets) if count >= rank)
    if place == len(buckets) - 1:
        return buckets[-2][0]
    bound, count = buckets[place]
    lower, below = buckets[place - 1] if place else (0.0, 0.0)
    return lower + (bound - lower) * (rank - below) / (count - below)


def _binary(node: Any, left: Any, right: Any) -> Any:
    op = str(node.op)
    if op in ("and", "or", "unless"):
        return _set(node, op, left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        matched = {_matched(node.modifier, labels): value for labels, value in right.items()}
        assert len(matched) == len(right), f"many to one: {node}"
        # Of two vectors that are matched by some labels, the result has those and no others.
        pairs = {
            key: (value, matched[key])
            for labels, value in left.items()
            if (key := _matched(node.modifier, labels)) in matched
        }
    elif isinstance(left, dict):
        pairs = {labels: (value, right) for labels, value in left.items()}
    elif isinstance(right, dict):
        pairs = {labels: (left, value) for labels, value in right.items()}
    else:
        return _ARITHMETIC[op](left, right)
    if op in _COMPARISONS:
        return {labels: a for labels, (a, b) in pairs.items() if _COMPARISONS[op](a, b)}
    return {labels: _ARITHMETIC[op](a, b) for labels, (a, b) in pairs.items()}


def _set(node: Any, op: str, left: Vector, right: Vector) -> Vector:
    there = {_matched(node.modifier, labels) for labels in right}
    if op == "or":
        mine = {_matched(node.modifier, labels) for labels in left}
        others = {k: v for k, v in right.items() if _matched(node.modifier, k) not in mine}
        return {**left, **others}
    wanted = op == "and"
    return {k: v for k, v in left.items() if (_matched(node.modifier, k) in there) is wanted}


def _matched(modifier: Any, labels: Labels) -> Labels:
    if modifier is None or modifier.matching is None:
        return labels
    included = modifier.matching.type == pql.LabelModifierType.Include
    return frozenset(pair for pair in labels if (pair[0] in modifier.matching.labels) is included)


def _matchers(selector: Any) -> list[Any]:
    return list(selector.matchers.matchers)


def _matches(matcher: Any, labels: Mapping[str, str]) -> bool:
    value = labels.get(matcher.name, "")
    if matcher.op == pql.MatchOp.Equal:
        return bool(value == matcher.value)
    if matcher.op == pql.MatchOp.NotEqual:
        return bool(value != matcher.value)
    found = re.fullmatch(matcher.value, value) is not None
    return found is (matcher.op == pql.MatchOp.Re)


def _seconds(offset: timedelta | None) -> float:
    return offset.total_seconds() if offset else 0.0

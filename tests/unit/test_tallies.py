"""Counts are exact, bounded in number, and safe in threads."""

from __future__ import annotations

import pytest

from jobs.metrics import METRICS, PART_DURATION, PART_RETRIES, S3_ERRORS, Metric
from jobs.tallies import MOST_SERIES, Tallies


def test_names_and_units_are_as_prometheus_wants_them() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    for metric in METRICS:
        assert metric.name.startswith("reelfarm_")
        assert metric.name.endswith("_total") is (metric.kind == "counter"), metric.name
        assert bool(metric.buckets) is (metric.kind == "histogram"), metric.name
        assert list(metric.buckets) == sorted(set(metric.buckets)), metric.name
        assert metric.help.endswith("."), metric.name


def test_labels_have_to_be_those_of_the_metric() -> None:
    with pytest.raises(ValueError, match="has the labels"):
        Tallies().add(PART_RETRIES, ("video", "and more"))


def test_a_metric_has_so_many_series_and_no_more() -> None:
    tallies = Tallies()
    for number in range(MOST_SERIES + 50):
        tallies.add(S3_ERRORS, ("PutObject", f"Strange{number}"))
    deltas = dict(tallies.pending)
    assert len(deltas) == MOST_SERIES + 1
    assert deltas["reelfarm_s3_errors_total\tother\tother"] == 50


def test_a_label_cannot_pass_for_two() -> None:
    tallies = Tallies()
    tallies.add(S3_ERRORS, ("PutObject", "a\tb"))
    assert list(tallies.pending) == ["reelfarm_s3_errors_total\tPutObject\ta b"]


def test_a_value_falls_in_the_bucket_whose_bound_it_does_not_pass() -> None:
    tallies = Tallies()
    metric = Metric("m", "histogram", "M.", buckets=(1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.5, 1e9):
        tallies.observe(metric, value)
    assert dict(tallies.pending) == {
        "m\t1.0": 2.0,
        "m\t2.0": 1.0,
        "m\t+Inf": 2.0,
        "m\tsum": 1e9 + 5.5,
    }


def test_what_parts_there_can_be_fits_within_the_series_of_a_process() -> None:
    kinds = 10 * 2 + 4  # rungs by software and on a device; sound, inspect, pictures, clean
    endings = 6
    assert kinds * endings < MOST_SERIES
    assert PART_DURATION.labels == ("kind", "codec", "rung", "outcome")

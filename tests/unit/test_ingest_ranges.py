"""Ranges and conditions as viewers send them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ingest.ranges import (
    ByteRange,
    EmptySuffixError,
    accepts_gzip,
    http_date,
    is_unchanged,
    parse_range,
    range_holds,
)

ETAG = '"abc"'
MODIFIED = datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
DATE = "Sun, 01 Mar 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("bytes=0-99", ByteRange(0, 99)),
        ("bytes=5-5", ByteRange(5, 5)),
        ("bytes=100-", ByteRange(100)),
        ("bytes=-500", ByteRange(-500)),
        (" Bytes = 1-2 ", ByteRange(1, 2)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=9-3", None),
        ("bytes=0-1,5-6", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=٣-٤", None),
        ("bytes=" + "9" * 40 + "-", None),
    ],
)
def test_one_range_is_taken_and_anything_odd_is_ignored(
    value: str | None, wanted: ByteRange | None
) -> None:
    assert parse_range(value) == wanted


def test_a_suffix_of_no_bytes_cannot_be_satisfied() -> None:
    with pytest.raises(EmptySuffixError):
        parse_range("bytes=-0")


@pytest.mark.parametrize(
    ("headers", "unchanged"),
    [
        ({}, False),
        ({"if-none-match": ETAG}, True),
        ({"if-none-match": f'W/"x", W/{ETAG}'}, True),
        ({"if-none-match": '"abc-gzip"'}, True),
        ({"if-none-match": "*"}, True),
        ({"if-none-match": '"abcd"'}, False),
        ({"if-modified-since": DATE}, True),
        ({"if-modified-since": "Sun, 01 Mar 2026 11:59:59 GMT"}, False),
        ({"if-modified-since": "yesterday"}, False),
        ({"if-none-match": '"other"', "if-modified-since": DATE}, False),
    ],
)
def test_conditions(headers: dict[str, str], unchanged: bool) -> None:
    assert is_unchanged(headers, ETAG, MODIFIED) is unchanged


@pytest.mark.parametrize(
    ("if_range", "holds"),
    [
        (None, True),
        (ETAG, True),
        (f"W/{ETAG}", False),
        ('"abc-gzip"', False),
        (DATE, True),
        ("Sun, 01 Mar 2026 12:00:01 GMT", False),
        ("nonsense", False),
    ],
)
def test_a_range_holds_for_exactly_this_version(if_range: str | None, holds: bool) -> None:
    assert range_holds(if_range, ETAG, MODIFIED) is holds


def test_dates_are_whole_seconds_of_gmt() -> None:
    assert http_date(MODIFIED) == DATE


@pytest.mark.parametrize(
    ("value", "accepted"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("identity", False),
        (None, False),
    ],
)
def test_gzip_is_sent_to_those_who_take_it(value: str | None, accepted: bool) -> None:
    assert accepts_gzip(value) is accepted

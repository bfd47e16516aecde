"""Which videos a purge is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from farm.errors import SettingsError
from farm.purge import Choice, parse_age

NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("45m", timedelta(minutes=45)),
        ("12h", timedelta(hours=12)),
        ("30d", timedelta(days=30)),
        ("8w", timedelta(weeks=8)),
        ("0m", timedelta()),
    ],
)
def test_ages(text: str, age: timedelta) -> None:
    assert parse_age(text) == age


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5h", "30 d", "9999999d", "1y", "1d2h"])
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(SettingsError, match="no age"):
        parse_age(text)


@pytest.mark.parametrize("statuses", ["", ",", "processing", "ready,queued", "deleting", "all"])
def test_what_is_in_work_is_not_purged(statuses: str) -> None:
    with pytest.raises(SettingsError, match="--status"):
        Choice.parse(statuses, timedelta(), NOW)


def test_an_age_before_all_calendars() -> None:
    with pytest.raises(SettingsError, match="no videos"):
        Choice.parse("ready", parse_age("999999w"), NOW)


def test_a_video_fits_by_state_and_age() -> None:
    choice = Choice.parse("ready, errored", timedelta(days=30), NOW)
    old, young = "2025-12-31T23:59:59Z", "2026-01-01T00:00:01Z"
    assert choice.fits({"status": "ready", "created_at": old})
    assert choice.fits({"status": "errored", "created_at": old})
    assert not choice.fits({"status": "canceled", "created_at": old})
    assert not choice.fits({"status": "ready", "created_at": young})

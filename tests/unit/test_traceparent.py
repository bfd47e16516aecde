"""What is taken for a trace, and what a process remembers of it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from jobs.records import VideoRecord
from jobs.states import State
from jobs.traceparent import TraceContext, TraceIds, derived, fresh, parse

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_valid_header_is_read_and_written_back() -> None:
    context = parse(f"00-{TRACE}-{SPAN}-01")
    assert context == TraceContext(TRACE, SPAN, sampled=True)
    assert str(context) == f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("ff", True)])
def test_only_the_first_flag_is_ours(flags: str, sampled: bool) -> None:
    context = parse(f"00-{TRACE}-{SPAN}-{flags}")
    assert context is not None
    assert context.sampled is sampled


def test_a_later_version_may_say_more() -> None:
    assert parse(f"cc-{TRACE}-{SPAN}-00-what-comes") == TraceContext(TRACE, SPAN)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01-" + "x" * 600,
    ],
)
def test_anything_else_is_none(text: str | None) -> None:
    assert parse(text) is None


def test_a_record_without_one_has_the_same_trace_for_everybody() -> None:
    old = VideoRecord(id="v", state=State.QUEUED, size=1, created_at=NOW)
    assert old.trace == derived("v") == parse(str(derived("v")))
    assert derived("w").trace_id != derived("v").trace_id
    given = fresh()
    assert old.model_copy(update={"traceparent": str(given)}).trace == given


def test_the_record_decides_and_a_message_only_hints() -> None:
    ids = TraceIds(2)
    ids.hint("v", f"00-{TRACE}-{SPAN}-01")
    assert ids.get("v") == TRACE
    ids.remember("v", "a" * 32)
    ids.hint("v", f"00-{TRACE}-{SPAN}-01")
    assert ids.get("v") == "a" * 32
    ids.hint("w", "nonsense")
    assert ids.get("w") is None


def test_no_more_are_remembered_than_there_is_room_for() -> None:
    ids = TraceIds(2)
    for name in ("a", "b", "a", "c"):
        ids.remember(name, TRACE)
    assert [name for name in "abc" if ids.get(name)] == ["a", "c"]

"""A dead letter in words and rows. Pure: the API's document in, text out."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Any

from farm.display import time_text

LIST_COLUMNS = ("ID", "VIDEO", "PART", "CODE", "FAILED", "AGE", "FILE")
ATTEMPT_COLUMNS = ("BEGAN", "SECONDS", "HOST", "PID", "RUN", "ENDED", "WHY")


def list_row(letter: dict[str, Any], now: float) -> tuple[str, ...]:
    """The letter's row under ``LIST_COLUMNS``; ``now`` is in seconds since 1970."""
    return (
        letter["id"],
        letter["video_id"],
        letter["part"],
        letter["problem"]["code"],
        counts_text(letter["counts"]),
        time_text(max(0.0, now - _seconds(letter["created_at"]))),
        letter.get("filename") or "-",
    )


def counts_text(counts: dict[str, int]) -> str:
    """How the runs failed, such as ``3 crashes, 1 error``; a dash where none did."""
    names = (("crashes", "crash"), ("errors", "error"), ("drains", "drain"))
    told = [
        f"{counts[many]} {one if counts[many] == 1 else many}"
        for many, one in names
        if counts[many]
    ]
    return ", ".join(told) or "-"


def facts(letter: dict[str, Any]) -> list[tuple[str, str]]:
    """What there is to know of a letter but its attempts, as (name, text)."""
    problem = letter["problem"]
    known = [
        ("id", letter["id"]),
        ("video", f"{letter['video_id']}, generation {letter['generation']}"),
        ("file", letter.get("filename") or "-"),
        ("part", letter["part"]),
        ("since", letter["created_at"]),
        ("problem", f"{problem['message']} ({problem['code']})"),
        ("hint", problem["hint"]),
        ("failed", counts_text(letter["counts"])),
    ]
    return known + _evidence(letter.get("evidence"))


def attempt_rows(letter: dict[str, Any]) -> list[tuple[str, ...]]:
    """One row under ``ATTEMPT_COLUMNS`` for each run that is remembered, oldest first."""
    return [_attempt_row(attempt) for attempt in letter["attempts"]]


def _attempt_row(attempt: dict[str, Any]) -> tuple[str, ...]:
    seconds = attempt["seconds"]
    why = ": ".join(filter(None, (attempt["code"], attempt["message"])))
    return (
        attempt["began"] or "-",
        "-" if seconds is None else f"{seconds:.1f}",
        attempt["host"] or "-",
        str(attempt["pid"] or "-"),
        attempt["run"],
        attempt["ending"],
        " ".join(why.split()) or "-",
    )


def _evidence(evidence: dict[str, Any] | None) -> list[tuple[str, str]]:
    if evidence is None:
        return []
    told = [
        ("command", shlex.join(evidence["argv"])),
        ("exit", f"{_exit_text(evidence)} after {evidence['seconds']:.1f} s"),
    ]
    return told + [("stderr", line) for line in evidence["stderr"]]


def _exit_text(evidence: dict[str, Any]) -> str:
    if evidence["signal"]:
        return f"killed by {evidence['signal']}"
    status = evidence["exit_status"]
    return "no exit status" if status is None else f"exit status {status}"


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()

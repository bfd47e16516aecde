"""A video's story: what the farm recorded and what this host logged of it, in order. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from farm.display import shown_in_line

#: How much each matters.
LEVELS: Final = ("debug", "info", "warning", "error", "critical")

#: Of a log line, what has a column of its own or says nothing new.
_TOLD: Final = frozenset(
    (
        *("timestamp", "level", "event", "part", "video_id", "trace_id"),
        *("logger", "process", "process_id"),
    )
)

#: Requests that only look are many, and seldom what is looked for.
_LOOKS: Final = frozenset(("GET", "HEAD", "OPTIONS"))
_LEVEL_OF: Final = {"errored": "error", "error": "warning", "crash": "error"}
_LONGEST: Final = 2000

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that happened at a time, in seconds since 1970. Nothing in it is escaped."""

    at: float
    level: str
    #: Who tells: ``record``, ``storage``, ``redis`` or ``letter``, or a process by its kind.
    source: str
    what: str
    part: str = ""
    facts: Facts = ()


def entries_of(story: Mapping[str, Any]) -> Iterator[Entry]:
    """What the farm recorded, of the API's document."""
    for event in story["events"]:
        name, generation = event["name"], event["id"].split(":")[1]
        facts: Facts = (("generation", generation),)
        if name == "accepted":
            facts = (*facts, ("file", story["filename"] or "-"))
        yield Entry(_seconds(event["at"]), _LEVEL_OF.get(name, "info"), "record", name, facts=facts)
    for receipt in story["receipts"]:
        facts = (("checkpoint", str(receipt["checkpoint"])),)
        at = _by_then(receipt["at"])
        yield Entry(at, "info", "storage", "receipt", receipt["part"], facts)
    for name, runs in (story["attempts"] or {}).items():
        yield from _entries_of_runs("redis", name.partition("/")[2], runs)
    for letter in story["dead_letters"]:
        facts = (("code", letter["problem"]["code"]), ("message", letter["problem"]["message"]))
        yield Entry(
            _seconds(letter["created_at"]), "error", "letter", "dead_letter", letter["part"], facts
        )
        yield from _entries_of_runs("letter", letter["part"], letter["attempts"])


def _entries_of_runs(source: str, part: str, runs: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    for run in runs:
        who = (("run", run["run"]), ("host", run["host"]), ("pid", str(run["pid"])))
        if run["began"]:
            yield Entry(_seconds(run["began"]), "info", source, "run_began", part, who)
        at = run["ended"] or run["began"]
        if at and run["ending"] not in ("running", "done"):
            why = tuple((key, run[key]) for key in ("code", "message") if run[key])
            level = _LEVEL_OF.get(run["ending"], "info")
            yield Entry(_seconds(at), level, source, f"run_{run['ending']}", part, who[:1] + why)


def entry_of_line(line: bytes, video_id: str, trace_id: str) -> Entry | None:
    """What a line of the log tells of the video; None for other lines, and for what is no line."""
    if video_id.encode() not in line and trace_id.encode() not in line:
        return None
    try:
        told = json.loads(line)
        at = _seconds(told["timestamp"])
    except (ValueError, TypeError, KeyError):
        return None
    if told.get("video_id") != video_id and (
        told.get("trace_id") != trace_id or told.get("video_id") is not None
    ):
        return None
    looks = told.get("event") == "request" and told.get("method") in _LOOKS
    return Entry(
        at=at,
        level="debug" if looks else str(told.get("level", "info")),
        source=str(told.get("process", "log")),
        what=str(told.get("event", "")),
        part=str(told.get("part", "")),
        facts=tuple((name, _text(value)) for name, value in told.items() if name not in _TOLD),
    )


def matters(entry: Entry, level: str) -> bool:
    """Whether an entry is of that level or above. What is of no level that we know does."""
    known = entry.level if entry.level in LEVELS else LEVELS[-1]
    return LEVELS.index(known) >= LEVELS.index(level)


def as_text(entry: Entry, begun: float) -> str:
    """One line for a terminal; times count from ``begun``. Whatever was logged, it is harmless."""
    facts = " ".join(f"{name}={value[:_LONGEST]}" for name, value in entry.facts)
    columns = f"{entry.at - begun:+10.3f}  {entry.level:<7}  {entry.source:<10}  "
    return shown_in_line(f"{columns}{entry.part or '-':<12}  {entry.what}  {facts}".rstrip())


def as_document(entry: Entry, begun: float) -> dict[str, Any]:
    """One line of JSON."""
    at = datetime.fromtimestamp(entry.at, UTC).isoformat(timespec="milliseconds")
    return {
        "at": at.replace("+00:00", "Z"),
        "after": round(entry.at - begun, 3),
        "level": entry.level,
        "source": entry.source,
        "part": entry.part or None,
        "what": entry.what,
        "facts": dict(entry.facts),
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _by_then(time: str) -> float:
    """When an object was there for certain: most storages tell the second that had begun."""
    at = _seconds(time)
    return at + 0.999 if at.is_integer() else at


def _seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()

"""A video's story in words: in order, complete, and harmless to the terminal it is shown on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from farm.display import json_text, shown, shown_in_line
from farm.story import Entry, as_document, as_text, entries_of, entry_of_line, matters

VIDEO, TRACE = "01k" + "a" * 23, "ab" * 16
EVIL = "\x1b]0;owned\x07\x1b[2J\r\nforged \u202e\x9b31m"

RUN = {
    "run": "r1", "host": "h", "pid": 7, "began": "2026-01-01T00:00:02Z",
    "ended": None, "seconds": None, "ending": "crash", "code": "", "message": "",
}  # fmt: skip
STORY: dict[str, Any] = {
    "filename": "a.mp4",
    "events": [{"id": f"{VIDEO}:1:accepted", "name": "accepted", "at": "2026-01-01T00:00:00Z"}],
    "receipts": [{"part": "v0", "checkpoint": 0, "at": "2026-01-01T00:00:01Z"}],
    "attempts": {"1/v1": [RUN]},
    "dead_letters": [
        {
            "part": "v2",
            "problem": {"code": "damaged_media", "message": EVIL},
            "attempts": [{**RUN, "ended": "2026-01-01T00:00:04Z", "ending": "error"}],
            "created_at": "2026-01-01T00:00:05Z",
        }
    ],
}


def line(**told: Any) -> bytes:
    known = {"timestamp": "2026-01-01T00:00:03Z", "level": "info", "event": "part_started"}
    return json.dumps({**known, "process": "worker", **told}).encode()


def test_records_receipts_runs_and_letters_are_all_told() -> None:
    found = [(each.source, each.part, each.what, each.level) for each in entries_of(STORY)]
    assert found == [
        ("record", "", "accepted", "info"),
        ("storage", "v0", "receipt", "info"),
        ("redis", "v1", "run_began", "info"),
        ("redis", "v1", "run_crash", "error"),
        ("letter", "v2", "dead_letter", "error"),
        ("letter", "v2", "run_began", "info"),
        ("letter", "v2", "run_error", "warning"),
    ]


def test_a_storage_that_tells_whole_seconds_puts_no_receipt_before_its_part() -> None:
    exact = [{"part": "v0", "checkpoint": 0, "at": "2026-01-01T00:00:01.250Z"}]
    (whole,) = (each for each in entries_of(STORY) if each.what == "receipt")
    (told,) = (each for each in entries_of({**STORY, "receipts": exact}) if each.what == "receipt")
    assert whole.at % 1 == pytest.approx(0.999, abs=1e-3)
    assert told.at % 1 == pytest.approx(0.25, abs=1e-3)


def test_without_redis_the_rest_is_told() -> None:
    sources = {each.source for each in entries_of({**STORY, "attempts": None})}
    assert sources == {"record", "storage", "letter"}


def test_lines_of_the_video_and_of_its_trace_are_taken_and_no_others() -> None:
    taken = entry_of_line(line(video_id=VIDEO, part="v0", run="r1"), VIDEO, TRACE)
    assert taken == Entry(1767225603.0, "info", "worker", "part_started", "v0", (("run", "r1"),))
    assert entry_of_line(line(trace_id=TRACE), VIDEO, TRACE) is not None
    for other in (
        line(video_id="01k" + "b" * 23, trace_id=TRACE),
        line(error=f"it is not about {VIDEO}"),
        b'{"video_id": "' + VIDEO.encode(),
        b'"' + VIDEO.encode() + b'"\n',
        b"\xff\xfe " + VIDEO.encode(),
        line(video_id=VIDEO, timestamp=5),
        line(video_id=VIDEO, timestamp="yesterday"),
    ):
        assert entry_of_line(other, VIDEO, TRACE) is None


def test_requests_that_only_look_are_for_those_who_ask_for_everything() -> None:
    looking = entry_of_line(line(video_id=VIDEO, event="request", method="GET"), VIDEO, TRACE)
    changing = entry_of_line(line(video_id=VIDEO, event="request", method="POST"), VIDEO, TRACE)
    assert looking is not None
    assert changing is not None
    assert not matters(looking, "info")
    assert matters(looking, "debug")
    assert matters(changing, "info")


def test_what_is_of_no_known_level_is_told() -> None:
    assert matters(Entry(0.0, "strange", "log", "x"), "error")


def test_whatever_was_logged_the_terminal_obeys_none_of_it() -> None:
    told = line(video_id=VIDEO, event=EVIL, part=EVIL, process=EVIL, level=EVIL, **{EVIL: EVIL})
    entry = entry_of_line(told, VIDEO, TRACE)
    assert entry is not None
    for text in (as_text(entry, 0.0), json_text(as_document(entry, 0.0))):
        assert text.isprintable()
    assert json.loads(json_text(as_document(entry, 0.0)))["what"] == EVIL
    for each in entries_of({**STORY, "filename": EVIL}):
        assert as_text(each, 0.0).isprintable()


def test_letters_of_all_languages_stay_as_they_are() -> None:
    assert shown("Übung 映画 …") == "Übung 映画 …"
    assert json_text({"name": "Übung 映画"}) == '{"name": "Übung 映画"}'
    assert shown("two\nlines") == "two\nlines"
    assert shown_in_line("two\nlines\x1b[m") == "two\\nlines\\x1b[m"
    assert json.loads(json_text({"a": "\U000e0001\x9b"})) == {"a": "\U000e0001\x9b"}

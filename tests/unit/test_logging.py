"""Lines of our own and of libraries come out alike."""

from __future__ import annotations

import io
import json
import logging as stdlib
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from farm import logging


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = stdlib.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_carry_the_bound_context_whoever_logs() -> None:
    stream = io.StringIO()
    logging.configure("auto", "info", stream)
    with structlog.contextvars.bound_contextvars(video_id="v1", part="a0-rest", run="r1"):
        structlog.get_logger("pipeline").info("part_done", seconds=1.5)
        stdlib.getLogger("library").warning("lost %s", "it")
    ours, theirs = lines(stream)
    assert ours["event"] == "part_done"
    assert ours["seconds"] == 1.5
    assert (theirs["event"], theirs["level"], theirs["logger"]) == (
        "lost it",
        "warning",
        "library",
    )
    for line in (ours, theirs):
        assert (line["video_id"], line["part"], line["run"]) == ("v1", "a0-rest", "r1")
        assert line["timestamp"].endswith("Z")


def test_a_terminal_gets_text() -> None:
    stream = Terminal()
    logging.configure("auto", "info", stream)
    structlog.get_logger("x").info("farm_up", port=8000)
    assert "farm_up" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_the_level_holds_for_both_and_libraries_are_kept_quiet() -> None:
    stream = io.StringIO()
    logging.configure("json", "info", stream)
    structlog.get_logger("x").debug("hidden")
    stdlib.getLogger("x").debug("hidden")
    stdlib.getLogger("botocore").info("hidden")
    stdlib.getLogger("x").error("seen")
    assert [line["event"] for line in lines(stream)] == ["seen"]


def test_an_exception_stays_on_its_line() -> None:
    stream = io.StringIO()
    logging.configure("json", "info", stream)
    try:
        int("why")
    except ValueError:
        structlog.get_logger("x").exception("failed")
    (line,) = lines(stream)
    assert "ValueError: invalid literal" in line["exception"]

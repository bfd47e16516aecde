"""A farm as a screenful: it fits, it counts what it leaves out, and nothing breaks the screen."""

from __future__ import annotations

import copy
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console, RenderableType

from farm.client import Client
from farm.top import Watch
from farm.top_screen import away, screen

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
URL = "http://127.0.0.1:8000"


def lines(shown: RenderableType, width: int = 80) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, height=500, color_system=None, force_terminal=True)
    console.print(shown)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def worker(number: int, *, busy: bool = True) -> dict[str, Any]:
    part = {
        "video_id": "01jz0000000000000000000000",
        "generation": 1,
        "part": f"v{number:05}",
        "queue": "cpu.normal",
        "kind": "video 1080p,720p,480p,360p",
        "cost_seconds": 42.0,
        "since": (NOW - timedelta(seconds=number)).isoformat(),
        "speed": 1.25,
    }
    return {
        "name": f"encoder-host-{number}-12345",
        "host": f"encoder-host-{number}",
        "pid": 1,
        "pool": "cpu",
        "worker_class": "cpu",
        "version": "1.0",
        "draining": False,
        "started_at": NOW.isoformat(),
        "part": part if busy else None,
    }


def queue(waiting: int = 0) -> dict[str, Any]:
    return {
        "waiting": waiting,
        "in_flight": 0,
        "dead": 0,
        "backlog_seconds": 30.0 * waiting,
        "oldest_seconds": 12.0 if waiting else None,
    }


def farm(count: int = 200) -> dict[str, Any]:
    names = [f"{pool}.{level}" for pool in ("head", "cpu") for level in ("high", "normal", "low")]
    pool = {
        "target": "local",
        "desired": 4,
        "actual": 3,
        "paused": False,
        "override": None,
        "reason": "grow: 12 waiting, 3 in work, 200 s of work for each",
        "at": NOW.isoformat(),
    }
    failure = {
        "id": "x",
        "video_id": "01jz",
        "filename": "a film.mov",
        "part": "v00001",
        "code": "encode_failed",
        "message": "it broke in a way that takes long to tell " * 4,
        "created_at": (NOW - timedelta(hours=2)).isoformat(),
    }
    return {
        "now": NOW.isoformat(),
        "queues": {name: queue(3) for name in names},
        "backlog": {
            "seconds": 5400.0,
            "waiting_seconds": 540.0,
            "unsent_seconds": 4860.0,
            "retrying": 2,
        },
        "pools": [pool | {"name": "cpu", "host": f"encoder-host-{n}"} for n in range(20)],
        "workers": [worker(n, busy=n < 150) for n in range(min(count, 200))],
        "worker_count": {"total": count, "busy": min(count, 150), "draining": 1},
        "decisions": [],
        "control": {"paused": ["cpu"], "counts": {"cpu": 4}, "draining": ["encoder-host-3"]},
        "recent_failures": [failure] * 10,
    }


@pytest.mark.parametrize(("width", "height"), [(80, 24), (80, 50), (132, 40), (200, 80), (60, 20)])
def test_it_fits_whatever_the_size(width: int, height: int) -> None:
    shown = lines(screen(farm(), URL, width, height), width)
    assert max(map(len, shown)) <= width
    # What is least is shown however low the screen is.
    assert len(shown) <= max(height, 36)


def test_with_many_workers_the_busiest_are_shown_and_the_rest_counted() -> None:
    shown = lines(screen(farm(), URL, 80, 50))
    workers = [line for line in shown if line.startswith("encoder-host-") and "v000" in line]
    assert 3 <= len(workers) < 50
    (rest,) = [line for line in shown if line.startswith("… and")]
    assert rest == f"… and {200 - len(workers)} more, {150 - len(workers)} of them busy"


def test_a_wide_screen_tells_more() -> None:
    narrow, wide = (lines(screen(farm(3), URL, width, 50), width) for width in (80, 160))
    assert not any("01jz0000000000000000000000" in line for line in narrow)
    assert any("01jz0000000000000000000000" in line for line in wide)
    assert any("1080p,720p,480p,360p" in line for line in wide)


def test_what_the_operator_has_said_is_on_top() -> None:
    shown = lines(screen(farm(3), URL, 80, 50))
    assert shown[3:6] == [
        *("paused: cpu", "set by the operator: cpu 4", "draining: encoder-host-3"),
    ]
    assert "3.8×" in shown[1], "three workers at 1.25 each"


def test_a_device_that_is_taken_out_is_told_of() -> None:
    device = {"host": "h1", "device": "0", "encoder": "nvenc", "reason": "no session left"}
    broken = farm(1) | {"devices": [device | {"circuit": "open"}, device | {"circuit": "closed"}]}
    told = [text for text in lines(screen(broken, URL, 80, 40)) if "nvenc" in text]
    assert told == ["out of work: nvenc on h1 0: no session left"]


def test_an_empty_farm_says_so() -> None:
    idle = farm(0) | {"queues": {"cpu.normal": queue()}, "pools": [], "recent_failures": []}
    idle["control"] = {"paused": [], "counts": {}, "draining": []}
    idle["backlog"] = dict.fromkeys(idle["backlog"], 0)
    told = "\n".join(lines(screen(idle, URL, 80, 24)))
    for words in ("nothing waits", "all queues are empty", "no pools", "no workers", "no dead"):
        assert words in told
    silent = "\n".join(lines(screen(idle | {"recent_failures": None}, URL, 80, 24)))
    assert "the storage does not tell" in silent


def test_names_from_outside_do_not_move_the_cursor() -> None:
    hostile = farm(1)
    hostile["recent_failures"][0]["filename"] = "\x1b[2J[bold]a\nb\r\x07"
    shown = lines(screen(hostile, URL, 120, 40), 120)
    told = "\n".join(shown)
    assert "\x1b" not in told
    assert "\x07" not in told
    assert "[2J[bold]a b" in told


def test_a_farm_that_is_away_is_told_of_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with Client("http://127.0.0.1:1") as client:
        watch = Watch(client)
        watch.look()
        told = "\n".join(lines(watch.shown(80, 24)))
        assert "No farm answers at http://127.0.0.1:1" in told
        assert "Trying again" in told

        seen = farm(1)
        with monkeypatch.context() as there:
            there.setattr(client, "farm", lambda _: copy.deepcopy(seen))
            watch.look()
            assert "WORKER" in "\n".join(lines(watch.shown(80, 24)))
        watch.look()
        told = "\n".join(lines(watch.shown(80, 24)))
        assert "No farm answers" in told
        assert "WORKER" in told, "what was last seen stays"


def test_a_long_complaint_is_told_in_lines() -> None:
    shown = lines(away(URL, "It does not answer.\nSee to it."))
    assert shown == [f"reelfarm  {URL}", "", "It does not answer.", "See to it.", "Trying again …"]

"""What the command says of videos, and of what it read back."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from farm import describe, running
from farm.display import Display, bytes_text, rate_text, time_text
from farm.doctor_redis import judge_redis
from farm.named import UnreadableError, named_by_manifest, named_by_playlist

VIDEO: dict[str, Any] = {
    "id": "v1",
    "status": "processing",
    "playable": True,
    "progress": 0.424,
    "filename": "holiday.mov",
    "size": 73_400_320,
    "source": {
        "container": "mov",
        "duration": 61.2,
        "width": 1080,
        "height": 1920,
        "fps": "30000/1001",
        "video_codec": "hevc",
        "audio": [{"codec": "aac", "channels": 2}],
    },
    "renditions": [
        {
            "name": "720p",
            "width": 406,
            "height": 720,
            "codec": "h264",
            "bandwidth": 2_500_000,
            "average_bandwidth": 900_400,
        },
        {"name": "audio-0", "width": None, "height": None, "codec": "aac", "bandwidth": 0},
    ],
    "playback": {"hls": "http://x/master.m3u8", "dash": None},
    "error": None,
    "warnings": [{"code": "damaged", "message": "damage at 0:07"}],
    "created_at": "2026-01-01T10:00:00Z",
    "playable_at": "2026-01-01T10:00:02.500000Z",
    "ready_at": None,
}


def test_a_row_of_the_list() -> None:
    row = ("v1", "processing (playable)", "42 %", "1:01", "73.4 MB", "holiday.mov")
    assert describe.list_row(VIDEO) == row


def test_what_there_is_to_know() -> None:
    facts = describe.facts(VIDEO)
    assert ("source", "mov, 1:01, 1080×1920 hevc 30000/1001 fps, aac 2 ch") in facts
    assert ("playable", "2.5 s after the upload") in facts
    assert ("hls", "http://x/master.m3u8") in facts
    assert ("warning", "damage at 0:07") in facts
    assert "dash" not in dict(facts)


def test_measured_bit_rates() -> None:
    assert describe.rendition_rows(VIDEO) == [
        ("720p", "h264", "406×720", "900 kbit/s", "2.50 Mbit/s"),
        ("audio-0", "aac", "-", "-", "-"),
    ]


def test_an_error_says_what_to_do() -> None:
    error = {"code": "unsupported_media", "message": "This is a text", "hint": "Send a film."}
    video = VIDEO | {"error": error, "status": "errored"}
    assert describe.error_text(video) == "This is a text (unsupported_media). Send a film."


def test_a_video_of_which_nothing_is_known_yet() -> None:
    bare = {"id": "v", "status": "queued", "size": 0, "created_at": "2026-01-01T10:00:00Z"}
    assert describe.list_row(bare) == ("v", "queued", "0 %", "-", "0 B", "-")
    assert ("ready", "-") in describe.facts(bare)


def test_quantities() -> None:
    assert [bytes_text(n) for n in (0, 999, 1500, 73_400_320, 2**41)] == [
        *("0 B", "999 B", "1.5 kB", "73.4 MB", "2.2 TB"),
    ]
    assert [rate_text(n) for n in (0, 96_000, 2_410_000)] == ["-", "96 kbit/s", "2.41 Mbit/s"]
    assert [time_text(n) for n in (None, 6.6, 3723)] == ["-", "0:07", "1:02:03"]


def test_pipes_get_plain_text_and_json_nothing_but_documents() -> None:
    out, err = io.StringIO(), io.StringIO()
    plain = Display(as_json=False, out=out, err=err)
    plain.table(("A", "B"), [("1", "[red]2")])
    plain.say("by the way", "bold")
    assert (out.getvalue(), err.getvalue()) == ("A\tB\n1\t[red]2\n", "by the way\n")
    out, err = io.StringIO(), io.StringIO()
    formal = Display(as_json=True, out=out, err=err)
    formal.line("talk")
    formal.say("talk")
    formal.document({"ä": 1})
    assert (json.loads(out.getvalue()), err.getvalue()) == ({"ä": 1}, "")


MASTER = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",URI="1/a0.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=1
1/720p.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,URI="1/720p-iframes.m3u8"
"""
MEDIA = """#EXTM3U
#EXT-X-MAP:URI="720p-init-00.mp4"
#EXTINF:6,
r1/720p-00000.m4s
#EXT-X-ENDLIST
"""


def test_what_playlists_name() -> None:
    master = named_by_playlist("http://h/play/v/master.m3u8", MASTER)
    names = ("a0", "720p", "720p-iframes")
    assert master.playlists == {f"http://h/play/v/1/{name}.m3u8" for name in names}
    assert not master.objects
    media = named_by_playlist("http://h/play/v/1/720p.m3u8", MEDIA)
    names = ("720p-init-00.mp4", "r1/720p-00000.m4s")
    assert media.objects == {f"http://h/play/v/1/{name}" for name in names}


MPD = """<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet>
<Representation><SegmentList><Initialization sourceURL="1/i.mp4"/><SegmentURL media="1/s.m4s"/>
</SegmentList></Representation></AdaptationSet></Period></MPD>"""


def test_what_a_manifest_names() -> None:
    named = named_by_manifest("http://h/play/v/manifest.mpd", MPD)
    assert named.objects == {"http://h/play/v/1/i.mp4", "http://h/play/v/1/s.m4s"}


@pytest.mark.parametrize("text", ["", "<html>", "#EXTM3U\n", MEDIA.replace("#EXT-X-ENDLIST", "")])
def test_half_a_playlist_is_noticed(text: str) -> None:
    with pytest.raises(UnreadableError, match="http://h/x"):
        named_by_playlist("http://h/x", text)


@pytest.mark.parametrize("text", ["", "<MPD/>", MPD.replace(' media="1/s.m4s"', "")])
def test_half_a_manifest_is_noticed(text: str) -> None:
    with pytest.raises(UnreadableError, match="http://h/x"):
        named_by_manifest("http://h/x", text)


def test_a_running_farm_is_found_until_it_is_gone(tmp_path: Path) -> None:
    assert running.find(tmp_path) is None
    farm = running.here("http://x", {"redis_url": "redis://:geheim@x"})
    running.announce(tmp_path, farm)
    assert running.find(tmp_path) == farm
    assert running.path(tmp_path).stat().st_mode & 0o077 == 0
    running.withdraw(tmp_path)
    assert running.find(tmp_path) is None


def test_a_process_that_merely_has_the_pid_is_no_farm(tmp_path: Path) -> None:
    here = running.here("http://x", {})
    running.announce(tmp_path, running.RunningFarm(here.url, here.pid, here.started - 60, {}))
    assert running.find(tmp_path) is None


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        (
            {"redis_version": "7.2.4", "maxmemory_policy": "noeviction", "aof_enabled": 1},
            ["ok", "ok", "ok", "ok"],
        ),
        (
            {"redis_version": "6.0.9", "maxmemory_policy": "allkeys-lru"},
            ["fail", "fail", "ok", "warn"],
        ),
        (
            {
                "redis_version": "8.0.0",
                "maxmemory_policy": "noeviction",
                "aof_enabled": 1,
                "maxmemory": 100,
                "used_memory": 81,
                "aof_last_write_status": "err",
            },
            ["ok", "ok", "warn", "fail"],
        ),
        ({}, ["fail", "fail", "ok", "warn"]),
    ],
)
def test_what_is_asked_of_redis(info: dict[str, Any], expected: list[str]) -> None:
    checks = list(judge_redis(info))
    assert [check.status for check in checks] == expected
    assert all(check.fix for check in checks if check.status != "ok")

"""What Shaka Streamer is told, and how it is seen when its output plays."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks import shaka
from benchmarks.farms import BenchmarkError
from benchmarks.scale_films import long_film
from media.binaries import Tools
from transcoder.profile import load_profile

PLAN = long_film(load_profile())
MASTER = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,URI="stream_4.m3u8",GROUP-ID="aac"
#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="aac"
stream_0.m3u8

#EXT-X-STREAM-INF:BANDWIDTH=2,AUDIO="aac"
stream_1.m3u8
"""


def test_the_ladder_and_the_rates_are_the_plans() -> None:
    assert PLAN.video is not None
    rates = {rung.name: 1000 + order for order, rung in enumerate(PLAN.video.rungs)}

    told, piped = shaka.bitrates(PLAN, rates), shaka.pipeline(PLAN)

    assert [(r["max_width"], r["max_height"]) for r in told["video_resolutions"].values()] == [
        (rung.width, rung.height) for rung in PLAN.video.rungs
    ]
    assert told["video_resolutions"][PLAN.video.rungs[0].name]["bitrates"] == {"h264": "1000"}
    assert piped["resolutions"] == list(told["video_resolutions"])
    assert piped["segment_size"] == 2.0
    (layout,) = piped["channel_layouts"]
    assert told["audio_channel_layouts"][layout] == {
        "max_channels": 2,
        "bitrates": {"aac": "128000"},
    }


def test_sound_is_an_input_of_its_own() -> None:
    kinds = [each["media_type"] for each in shaka.inputs(Path("film.mp4"), PLAN)["inputs"]]
    assert kinds == ["video", "audio"]
    silent = PLAN.model_copy(update={"audio": ()})
    assert len(shaka.inputs(Path("film.mp4"), silent)["inputs"]) == 1


def test_it_plays_once_every_named_playlist_has_a_segment(tmp_path: Path) -> None:
    names = ("stream_0.m3u8", "stream_1.m3u8", "stream_4.m3u8")
    assert not shaka.is_playable(tmp_path)
    (tmp_path / "hls.m3u8").write_text(MASTER)
    for name in names:
        assert not shaka.is_playable(tmp_path)
        (tmp_path / name).write_text("#EXTM3U\n#EXTINF:2.0,\nsegment.mp4\n")
    assert shaka.is_playable(tmp_path)
    assert sorted(shaka.playlists_of(MASTER)) == sorted(names)

    (tmp_path / "stream_1.m3u8").write_text("#EXTM3U\n")
    assert not shaka.is_playable(tmp_path)


def test_ffmpeg_says_what_it_took() -> None:
    said = "bench: utime=1.0s stime=0.1s rtime=1s\nbench: utime=49.9s stime=0.5s rtime=27.1s"
    assert shaka.bench_of(said) == (49.9, 0.5, 27.1)
    with pytest.raises(BenchmarkError, match="Killed"):
        shaka.bench_of("Killed")


def test_only_the_preset_is_replaced(tmp_path: Path) -> None:
    echo = tmp_path / "echo"
    echo.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    echo.chmod(0o755)

    programs = shaka.programs(tmp_path / "bin", Tools(echo, echo), PLAN)
    words = ["-i", "slow", "-preset", "slow", "-vf", "scale=-2:1080,setsar=1:1", "a b"]
    said = subprocess.run([programs / "ffmpeg", *words], capture_output=True, text=True, check=True)

    assert PLAN.video is not None
    expected = [*words[:3], PLAN.video.preset, *words[4:]]
    assert said.stdout.splitlines() == ["-benchmark", *expected]
    assert (programs / "ffprobe").exists()
    assert (programs / "packager").exists()

"""Comparisons with ffmpeg by hand: the arithmetic, and that both are told the same."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks import against_ffmpeg, against_renditions
from benchmarks.against_ffmpeg import Farmed
from benchmarks.farms import moment
from benchmarks.handwritten import Cost, cascade_command, rendition_commands
from benchmarks.usage import Usage
from media.probed import Timing
from tests.unit.test_planner import planned
from transcoder.command import video_command
from transcoder.plan import Plan

#: What the film's encoder is told by the farm and not by hand, and the other way round: it is
#: about where the output goes, or that chunks leave cores to each other.
_OURS = {
    *("-threads", "-flags:v", "-level:v", "-frames:v", "-fps_mode", "-video_track_timescale"),
    *("-movflags", "-f", "-map", "-map_metadata", "-map_chapters", "-fflags"),
    *("-avoid_negative_ts", "-stats_enc_pre", "-stats_enc_pre_fmt"),
}


@pytest.fixture
def plan() -> Plan:
    timing = Timing(first_picture=Fraction(0), longest_gop=2.0, rate=Fraction(25))
    return planned(timing=timing)


def options(words: tuple[str, ...]) -> dict[str, str]:
    named = ((name, value) for name, value in pairwise(words) if name[:1] == "-")
    return {name.split(":v:")[0]: value for name, value in named if not name[1:].isdecimal()}


def test_by_hand_every_rung_is_encoded_as_by_the_farm(plan: Plan) -> None:
    assert plan.video is not None
    chunk = next(part for part in plan.parts if part.id == "v00003")
    farm = video_command(plan, chunk, "source", input_options={}).arguments
    hand = rendition_commands(Path("ffmpeg"), Path("source"), plan, Path("out"))
    cascade = cascade_command(Path("ffmpeg"), Path("source"), plan, Path("out"))
    for order, rung in enumerate(plan.video.rungs):
        end = farm.index(f"sink:{rung.name}")
        begin = max(at for at in range(end) if farm[at] == "-map")
        wanted = {
            name.removesuffix(":v"): value
            for name, value in options(farm[begin:end]).items()
            if name not in _OURS
        }
        assert wanted.items() <= options(hand[rung.name]).items()
        assert {f"{name}:v:{order}" for name in wanted} <= set(cascade)
        for name, value in wanted.items():
            assert cascade[cascade.index(f"{name}:v:{order}") + 1] == value


def test_by_hand_the_source_is_decoded_once_and_scaled_step_by_step(plan: Plan) -> None:
    words = cascade_command(Path("ffmpeg"), Path("source"), plan, Path("out"))
    assert words.count("-i") == 1
    assert "-threads" not in words, "ffmpeg uses as many as it likes"
    graph = words[words.index("-filter_complex") + 1]
    assert graph.startswith("[0:0]scale=1920:1080:flags=bicubic,split[v0][s0];[s0]scale=1280:720")
    assert plan.video is not None
    assert graph.count("scale=") == len(plan.video.rungs)
    assert words.count("-c:a") == 1


def test_one_process_for_each_rendition_and_the_sound(plan: Plan) -> None:
    made = rendition_commands(Path("ffmpeg"), Path("source"), plan, Path("out"))
    assert plan.video is not None
    assert list(made) == [*(rung.name for rung in plan.video.rungs), "sound"]
    assert all(words.count("-i") == 1 for words in made.values())


def test_ratios_are_of_the_farm_to_the_other_without_the_servers() -> None:
    usage = Usage(farm=4.0, media=76.0, servers=9.0)
    each = against_ffmpeg.Round(Cost(40.0, 100.0), wall=30.0, playable=2.0, usage=usage)
    assert (each.wall_ratio, each.cpu_ratio) == (0.75, 0.8)


@pytest.mark.parametrize(("seconds", "bars"), [(60.0, [1.05, 1.08]), (600.0, [1.0, 1.05])])
def test_what_is_promised_of_a_length(seconds: float, bars: list[float]) -> None:
    slow = against_ffmpeg.Round(Cost(40.0, 80.0), 50.0, 2.0, Usage(farm=10.0, media=80.0))
    promises = against_ffmpeg._promises(seconds, [slow])
    assert [promise.bound for promise in promises] == bars
    assert not any(promise.holds for promise in promises)
    assert against_ffmpeg._promises(8.0, [slow]) == []


def test_faster_than_one_process_for_each(plan: Plan) -> None:
    made = Farmed(plan, 40.0, 2.0, Usage(farm=10.0, media=90.0))
    each = against_renditions.Round(Cost(60.0, 150.0), made)
    assert (each.faster, each.cheaper) == (1.5, 1.5)


def test_moments_are_read_in_the_record() -> None:
    video: dict[str, Any] = {"ready_at": "1970-01-01T00:01:00.250000Z"}
    assert moment(video, "ready_at") == 60.25

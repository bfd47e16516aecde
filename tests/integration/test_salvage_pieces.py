"""What salvage learns of real damage from real ffmpeg and ffprobe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from media.binaries import Tools, find_tools
from media.probe import probe
from media.probed import Timing
from media.process import run
from tests.damage import beheaded, cut, flipped, silenced
from tests.numbered import ClipSpec, make_clip
from transcoder.command import FRAMES_SINK, audio_command, look_command
from transcoder.look import Look
from transcoder.plan import PartKind, Plan
from transcoder.planner import PlanLimits, make_plan
from transcoder.profile import Profile, RungProfile, VideoProfile
from transcoder.sounds import SoundMeter

SECONDS = 20
FRAGMENTS = ("-movflags", "+frag_keyframe+empty_moov+default_base_moof")
SPECS = {
    "mp4": ClipSpec(frames=25 * SECONDS, gop=25, more=("-movflags", "+faststart")),
    "fragments": ClipSpec(frames=25 * SECONDS, gop=25, more=FRAGMENTS),
    "mkv": ClipSpec(container="mkv", frames=25 * SECONDS, gop=25),
    "ts": ClipSpec(container="ts", frames=25 * SECONDS, gop=25),
}


@pytest.fixture(scope="module")
def tools() -> Tools:
    return find_tools()


@pytest.fixture(scope="module")
def source(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("salvage")
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = make_clip(folder / name, tools, SPECS[name]).path
        return made[name]

    return make


def timing(tools: Tools, path: Path) -> Timing:
    found = probe(tools, str(path)).timing
    assert found is not None
    return found


def planned(tools: Tools, path: Path) -> Plan:
    rung = RungProfile(height=90, crf=28, maxrate=900_000, bufsize=900_000)
    video = VideoProfile(preset="ultrafast", segment=4.0, chunk_shortest=4.0, rungs=(rung,))
    profile = Profile(name="small", video=video)
    return make_plan(probe(tools, str(path)), profile, limits=PlanLimits())


@pytest.mark.parametrize("name", SPECS)
def test_a_whole_film_is_seen_to_its_end(
    name: str, source: Callable[[str], Path], tools: Tools
) -> None:
    found = timing(tools, source(name))
    assert (found.seen_to_end, found.breaks_off, found.unread) == (True, None, 0)


@pytest.mark.parametrize("name", ["mp4", "mkv"])
def test_where_a_film_breaks_off_is_found(
    name: str, source: Callable[[str], Path], tools: Tools, tmp_path: Path
) -> None:
    whole = source(name)
    found = timing(tools, cut(whole, tmp_path / whole.name, 0.6))
    assert found.seen_to_end
    assert found.breaks_off is not None
    assert 0.45 * SECONDS < found.breaks_off < 0.65 * SECONDS


def test_a_broadcast_that_breaks_off_lasts_as_long_as_it_lasts(
    source: Callable[[str], Path], tools: Tools, tmp_path: Path
) -> None:
    found = probe(tools, str(cut(source("ts"), tmp_path / "film.ts", 0.6)))
    assert found.timing is not None
    assert found.timing.breaks_off is None
    assert found.duration == pytest.approx(0.6 * SECONDS, abs=2.0)


def test_fragments_behind_a_lost_header_are_noticed(
    source: Callable[[str], Path], tools: Tools, tmp_path: Path
) -> None:
    whole = source("fragments")
    size = whole.stat().st_size
    found = timing(tools, beheaded(whole, tmp_path / "film.mp4", 8))
    assert 0.5 * size < found.unread < 0.7 * size


def test_a_second_look_says_when_pictures_are_spoilt(
    source: Callable[[str], Path], tools: Tools, tmp_path: Path
) -> None:
    whole = source("mkv")
    assert spoilt(tools, whole) == []
    found = spoilt(tools, flipped(tools, whole, tmp_path / whole.name, 8.0, 11.0))
    assert min(begin for begin, _ in found) == pytest.approx(8.0, abs=0.3)
    assert max(end for _, end in found) == pytest.approx(11.0, abs=0.3)


def spoilt(tools: Tools, path: Path) -> list[tuple[float, float]]:
    plan = planned(tools, path)
    assert plan.video is not None
    found: list[tuple[float, float]] = []
    for part in plan.parts:
        if part.kind is PartKind.VIDEO and not part.head:
            look = Look(plan.video, part)
            command = look_command(plan, part, str(path), input_options={}, preroll=2.0)
            run(tools, command, sinks={"stderr": look.feed})
            found += [(spot.begin, spot.end) for spot in look.damage()]
    return found


@pytest.mark.parametrize("name", ["mp4", "fragments", "ts"])
def test_lost_sound_is_told_from_whole(
    name: str, source: Callable[[str], Path], tools: Tools, tmp_path: Path
) -> None:
    whole = source(name)
    assert gaps(tools, whole) == []
    ((begin, end),) = gaps(tools, silenced(tools, whole, tmp_path / whole.name, 8.0, 11.0))
    assert begin == pytest.approx(8.0, abs=0.3)
    assert end == pytest.approx(11.0, abs=0.3)


def gaps(tools: Tools, path: Path) -> list[tuple[float, float]]:
    plan = planned(tools, path)
    part = next(each for each in plan.parts if each.kind is PartKind.AUDIO and each.count is None)
    meter = SoundMeter(plan, plan.audio[0], 0)
    part = part.model_copy(update={"first": 0})
    command = audio_command(plan, part, str(path), input_options={})
    sinks = {name: (lambda data: None) for name in command.sinks} | {FRAMES_SINK: meter.feed}
    run(tools, command, sinks=sinks)
    return [(gap.begin, gap.end) for gap in meter.gaps()]


def test_sound_before_its_clock_starts_anew_is_not_lost(tools: Tools, media_dir: Path) -> None:
    """Times are below 0 there; between two graphs ffmpeg throws such sound away."""
    assert gaps(tools, media_dir / "awkward" / "pts_rollover.ts") == []

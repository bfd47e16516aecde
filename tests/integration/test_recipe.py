"""The recipe of chunked encoding on real encodes: every output frame shows its own picture.

Every part of a plan is run by itself, as different workers would, and what they made is joined.
"""

from __future__ import annotations

import subprocess
from fractions import Fraction
from itertools import pairwise
from math import ceil, inf
from pathlib import Path

import numpy as np
import pytest

from media.binaries import Tools, find_tools
from media.probe import probe
from tests import numbered
from tests.numbered import Clip, ClipSpec, make_clip
from tests.recipe import Made, Track, run_part, run_plan
from transcoder.plan import AAC_FRAME, Plan
from transcoder.planner import PlanLimits, make_plan
from transcoder.profile import Profile, RungProfile, VideoProfile

NTSC = Fraction(30000, 1001)
FILM = Fraction(24000, 1001)
SIZES = {"180p": (320, 180), "90p": (160, 90)}

#: What a film leaves out to have a variable rate: a stutter, and a still of four seconds.
STUTTER = tuple(n for n in range(500) if n % 7 not in (2, 3) and not 150 < n < 250)

SPECS = {
    "mp4": ClipSpec(frames=420),
    "mkv": ClipSpec(container="mkv", rate=NTSC, frames=500),
    "ts": ClipSpec(container="ts", rate=FILM, frames=400, gop=24, start=3.0),
    "late": ClipSpec(frames=420, start=10.0, picture_delay=0.32),
    "late-ts": ClipSpec(
        container="ts", rate=NTSC, frames=500, gop=30, start=1.4, picture_delay=0.5
    ),
    "open-gop-mp4": ClipSpec(frames=420, gop=27, open_gop=True, bframes=3),
    "open-gop-ts": ClipSpec(container="ts", frames=420, gop=25, open_gop=True, bframes=7),
    "long-gop": ClipSpec(container="mp4", frames=420, gop=250),
    "variable": ClipSpec(container="mkv", frames=500, kept=STUTTER),
    "halved": ClipSpec(container="mkv", rate=Fraction(100), frames=1400, size=(160, 96)),
}


@pytest.fixture(scope="module")
def tools() -> Tools:
    return find_tools()


def small_profile(*heights: int) -> Profile:
    rungs = tuple(RungProfile(height=h, crf=28, maxrate=900_000, bufsize=900_000) for h in heights)
    video = VideoProfile(preset="ultrafast", segment=4.0, chunk_shortest=4.0, rungs=rungs)
    return Profile(name="small", video=video)


def planned(tools: Tools, clip: Clip, *heights: int) -> Plan:
    return make_plan(probe(tools, str(clip.path)), small_profile(*heights), limits=PlanLimits())


def assert_joined(plan: Plan, made: Made) -> None:
    """One init segment a track; segments that follow each other on the plan's grid."""
    assert plan.video is not None
    ticks = plan.video.frame_ticks
    grid = {0, *(ticks * (plan.video.gop + plan.video.segment * k) for k in range(1000))}
    for name, track in made.tracks.items():
        assert len(set(track.inits)) == 1, f"{name} has more than one init segment"
        assert track.segments[0].start == 0
        assert all(a.start + a.ticks == b.start for a, b in pairwise(track.segments))
        if not name.startswith("audio"):
            assert {cut.start for cut in track.segments} <= grid


@pytest.mark.parametrize("name", SPECS)
def test_every_frame_of_every_rung_shows_its_own_picture(
    name: str, tools: Tools, tmp_path: Path
) -> None:
    spec = SPECS[name]
    clip = make_clip(tmp_path / name, tools, spec)
    plan = planned(tools, clip, spec.size[1], spec.size[1] // 2)
    video = plan.video
    assert video is not None
    chunks = [part for part in plan.parts if part.first and part.kind == "video"]
    assert len(chunks) >= 2, "the clip is too short to be cut"

    made = run_plan(tools, plan, clip.path)

    assert_joined(plan, made)
    assert all(report.ok for report in made.reports.values()), made.reports
    frames = ceil((clip.numbers[-1] + 1) / spec.rate * video.rate)
    for rung in video.rungs:
        joined = made.tracks[rung.name].write(tmp_path / f"{rung.name}.mp4")
        numbers = numbered.read_numbers(tools, joined, (rung.width, rung.height))
        assert len(numbers) == frames
        assert numbers == [clip.shown_at((n + Fraction(1, 4)) / video.rate) for n in range(frames)]
        assert sum(cut.samples for cut in made.tracks[rung.name].segments) == len(numbers)


@pytest.mark.parametrize("name", ["mp4", "late", "late-ts", "ts"])
def test_a_beep_sounds_with_its_flash_at_both_ends(name: str, tools: Tools, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / name, tools, SPECS[name])
    plan = planned(tools, clip, 90)
    assert plan.video is not None

    made = run_plan(tools, plan, clip.path)

    picture = made.tracks["90p"].write(tmp_path / "picture.mp4")
    sound = made.tracks["audio-0"].write(tmp_path / "sound.mp4")
    flashes = numbered.read_pictures(tools, picture, SIZES["90p"]).flashes
    beeps = numbered.beeps(numbered.read_sound(tools, sound))
    assert flashes == list(clip.flashes)
    for beep, flash in zip(beeps, flashes, strict=True):
        assert abs(beep - float(flash / plan.video.rate)) < 0.005


def test_preroll_is_needed_before_an_open_group_even_with_an_index(
    tools: Tools, tmp_path: Path
) -> None:
    """Without it the contract must notice; with the plan's it must be right."""
    clip = make_clip(tmp_path / "open", tools, ClipSpec(frames=400, gop=52, open_gop=True))
    plan = planned(tools, clip, 90)
    assert plan.video is not None
    gop = plan.video.gop
    part = next(p for p in plan.parts if p.first == gop)
    # Two frames before a key frame: the pictures there are decoded after it.
    leading = part.model_copy(update={"first": gop, "count": gop})
    reports: dict[str, object] = {}
    made = run_part(tools, plan, leading, clip.path, reports, preroll=0.0)  # type: ignore[arg-type]
    wrong = _numbers(tools, made["90p"], tmp_path)
    assert wrong != list(range(gop, 2 * gop))
    assert not reports[part.id].ok  # type: ignore[attr-defined]

    for early in (plan.video.preroll, inf):
        made = run_part(tools, plan, leading, clip.path, reports, preroll=early)  # type: ignore[arg-type]
        assert _numbers(tools, made["90p"], tmp_path) == list(range(gop, 2 * gop))
        assert reports[part.id].ok  # type: ignore[attr-defined]


def _numbers(tools: Tools, made: tuple[bytes, list], folder: Path) -> list[int]:  # type: ignore[type-arg]
    joined = Track([made[0]], made[1]).write(folder / "part.mp4")
    return numbered.read_numbers(tools, joined, SIZES["90p"])


def test_a_stream_part_goes_on_where_it_stopped(tools: Tools, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "raw", tools, ClipSpec(container="ts", frames=300))
    source = tmp_path / "raw.h264"
    command = [tools.ffmpeg, "-v", "error", "-i", clip.path, "-c", "copy", "-an", source]
    subprocess.run(command, check=True)
    found = probe(tools, str(source))
    plan = make_plan(found, small_profile(90), limits=PlanLimits())
    assert plan.video is not None
    assert plan.video.frames is None
    (part,) = (p for p in plan.parts if p.kind == "video")
    assert part.stream

    whole = run_part(tools, plan, part, source)["90p"]
    boundary = plan.video.gop + plan.video.segment
    resumed = run_part(tools, plan, part, source, first=boundary)["90p"]

    assert _numbers(tools, whole, tmp_path) == list(range(300))
    assert resumed[0] == whole[0]
    begun = [cut for cut in whole[1] if cut.start < boundary * plan.video.frame_ticks]
    joined = (whole[0], [*begun, *resumed[1]])
    assert _numbers(tools, joined, tmp_path) == list(range(300))


@pytest.fixture(scope="module")
def tone(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty seconds of a pure tone at a rate that has to be converted."""
    path = tmp_path_factory.mktemp("tone") / "tone.mkv"
    tone = "sine=frequency=441:sample_rate=32000:duration=20"
    options = ["-c:a", "pcm_s16le", "-y", path]
    subprocess.run([tools.ffmpeg, "-v", "error", "-f", "lavfi", "-i", tone, *options], check=True)
    return path


def test_sound_joins_without_a_click(tone: Path, tools: Tools, tmp_path: Path) -> None:
    """The head, the rest and a rest that goes on must sound like one uninterrupted pass."""
    plan = make_plan(probe(tools, str(tone)), small_profile(90), limits=PlanLimits())
    (audio,) = plan.audio
    head, rest = plan.parts
    assert rest.first == audio.fragment
    uncut = head.model_copy(update={"count": None})
    boundary = audio.fragment + 2 * audio.segment

    whole = run_part(tools, plan, uncut, tone)["audio-0"]
    first = run_part(tools, plan, head, tone)["audio-0"]
    middle = run_part(tools, plan, rest, tone)["audio-0"]
    resumed = run_part(tools, plan, rest, tone, first=boundary)["audio-0"]
    begun = [cut for cut in middle[1] if cut.start < boundary * AAC_FRAME]
    pieces = [*first[1], *begun, *resumed[1]]

    assert first[0] == middle[0] == resumed[0] == whole[0]
    assert [(c.start, c.ticks) for c in pieces] == [(c.start, c.ticks) for c in whole[1]]
    heard = numbered.read_sound(tools, Track([whole[0]], pieces).write(tmp_path / "cut.mp4"))
    once = numbered.read_sound(tools, Track([whole[0]], whole[1]).write(tmp_path / "whole.mp4"))
    assert len(heard) == len(once)
    joint = boundary * AAC_FRAME
    before, around = slice(0, joint - AAC_FRAME), slice(joint - 8192, joint + 8192)
    assert np.array_equal(heard[before], once[before]), "the head and the rest are one pass"
    assert float(np.abs(heard[around] - once[around]).max()) < 0.02
    kink = float(np.abs(_curvature(once[around])).max())
    assert float(np.abs(_curvature(heard[around])).max()) < 1.1 * kink


def _curvature(sound: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Large where the wave has a kink."""
    return np.diff(sound.astype(float), 2)


def test_sound_stays_in_time_when_its_layout_changes(tools: Tools, tmp_path: Path) -> None:
    pieces = []
    for order, (channels, rate) in enumerate(((2, 48_000), (1, 44_100))):
        piece = tmp_path / f"{order}.ts"
        tone = f"sine=frequency=440:sample_rate={rate}:duration=5"
        options = ["-ac", str(channels), "-c:a", "aac", "-output_ts_offset", str(5 * order)]
        command = [tools.ffmpeg, "-v", "error", "-f", "lavfi", "-i", tone, *options, piece]
        subprocess.run(command, check=True)
        pieces.append(piece.read_bytes())
    source = tmp_path / "changing.ts"
    source.write_bytes(b"".join(pieces))
    plan = make_plan(probe(tools, str(source)), small_profile(90), limits=PlanLimits())

    made = run_plan(tools, plan, source)

    seconds = sum(cut.ticks for cut in made.tracks["audio-0"].segments) / plan.audio[0].sample_rate
    assert abs(seconds - 10) < 0.2


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("awkward/sample_rotate_and_reflect.mp4", 30),
        ("awkward/pts_rollover.ts", 480),
        ("awkward/fixture-raw.mts", 30),
        ("awkward/hlg10-color-test.mp4", 9),
        ("awkward/bbb_sunflower_QCIF_30fps_mp4v_noaudio_1f.mp4", 1),
        ("awkward/no_duration.webm", 74),
        ("awkward/edit_list_positive_shift.mp4", 270),
        ("valid/sample.flv", 30),
        ("valid/ocean.ogv", 250),
    ],
)
def test_awkward_sources_keep_their_frames(
    name: str, frames: int, tools: Tools, media_dir: Path, tmp_path: Path
) -> None:
    source = media_dir / name
    plan = make_plan(probe(tools, str(source)), small_profile(96), limits=PlanLimits())
    made = run_plan(tools, plan, source)
    (rung,) = plan.video.rungs if plan.video else ()
    track = made.tracks[rung.name]
    assert sum(cut.samples for cut in track.segments) == frames
    assert all(report.ok for report in made.reports.values())
    assert_joined(plan, made)
    size = (rung.width, rung.height)
    raw = numbered.decode(tools, track.write(tmp_path / "joined.mp4"), ("-pix_fmt", "gray"))
    assert len(raw) == frames * size[0] * size[1]

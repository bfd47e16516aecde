"""Every rung of what is published shows exactly the source's pictures, each in its place.

The whole way: uploaded over HTTP, cut into parts that different processes encode, played from the
playlists and from the manifest as a player would.
"""

from __future__ import annotations

from fractions import Fraction

import pytest

from farm.client import Video
from media.binaries import Tools
from tests import numbered
from tests.e2e.conftest import MakeClip
from tests.e2e.decoded import packet_times
from tests.e2e.farm_process import Farm
from tests.numbered import Clip, ClipSpec
from transcoder.plan import PartKind

NTSC = Fraction(30000, 1001)
RUNGS = {"180p": (320, 180), "120p": (214, 120), "90p": (160, 90)}

#: What a film leaves out to have a variable rate: a stutter, and a still of two seconds.
STUTTER = tuple(n for n in range(250) if n % 7 not in (2, 3) and not 100 < n < 150)

CUT = {
    "mp4": ClipSpec(frames=221),
    "mkv": ClipSpec(container="mkv", rate=NTSC, frames=240, gop=30),
    "ts": ClipSpec(container="ts", frames=300, gop=12),
    "late-start": ClipSpec(frames=200, start=10.0, picture_delay=0.32),
    "late-picture": ClipSpec(
        container="ts", rate=NTSC, frames=360, gop=15, start=1.4, picture_delay=0.5
    ),
    "open-gop": ClipSpec(frames=200, gop=27, open_gop=True, bframes=3),
    "open-gop-ts": ClipSpec(container="ts", frames=320, gop=13, open_gop=True, bframes=7),
    "long-gop": ClipSpec(frames=200, gop=250),
}

#: Long groups that no index leads to: read once, from the start, with checkpoints.
STREAMED = ClipSpec(container="ts", frames=300, gop=150)

VARIABLE = {
    "variable": ClipSpec(frames=250, kept=STUTTER, gop=30),
    "variable-mkv": ClipSpec(container="mkv", rate=NTSC, frames=250, kept=STUTTER, gop=30),
}


@pytest.mark.parametrize("name", CUT)
def test_every_rung_of_a_cut_film_shows_every_picture(
    name: str, farm: Farm, tools: Tools, clip: MakeClip
) -> None:
    source = clip(name, CUT[name])
    video = farm.process(source.path)
    assert Fraction(video["source"]["fps"]) == source.spec.rate
    assert chunks(farm, video) >= 2, "the clip was not cut"
    assert_shows(tools, video, list(range(source.spec.frames)), source.spec.rate)


def test_every_rung_of_a_film_that_cannot_be_cut_shows_every_picture(
    farm: Farm, tools: Tools, clip: MakeClip
) -> None:
    source = clip("streamed", STREAMED)
    video = farm.process(source.path)
    streamed = [part for part in farm.plan(video["id"]).parts if part.stream]
    assert {part.kind for part in streamed} == {PartKind.VIDEO, PartKind.AUDIO}
    checkpoints = [r for r in farm.receipts(video["id"]) if r.part == streamed[0].id]
    assert len(checkpoints) > 1
    assert_shows(tools, video, list(range(STREAMED.frames)), STREAMED.rate)


@pytest.mark.parametrize("name", VARIABLE)
def test_a_variable_rate_is_conformed_as_in_one_pass_over_the_whole_source(
    name: str, farm: Farm, tools: Tools, clip: MakeClip
) -> None:
    source = clip(name, VARIABLE[name])
    video = farm.process(source.path)
    rate = Fraction(video["source"]["fps"])
    assert chunks(farm, video) >= 2, "the clip was not cut"
    expected = conformed(tools, source, rate)
    assert expected == [
        source.shown_at((n + Fraction(1, 2)) / rate - Fraction(1, 10**9))
        for n in range(len(expected))
    ]
    assert_shows(tools, video, expected, rate)


def chunks(farm: Farm, video: Video) -> int:
    """Parts of the film that do not begin at its start, nor where its head ends."""
    plan = farm.plan(video["id"])
    assert plan.video is not None
    return sum(p.kind is PartKind.VIDEO and p.first > plan.video.gop for p in plan.parts)


def conformed(tools: Tools, source: Clip, rate: Fraction) -> list[int]:
    """The numbers that one decode of the whole source gives on the even grid."""
    filters = f"setpts=PTS-STARTPTS,fps={rate}"
    return numbered.read_numbers(tools, source.path, source.spec.size, ("-vf", filters))


def assert_shows(tools: Tools, video: Video, expected: list[int], rate: Fraction) -> None:
    """Each rung decodes to these numbers, by HLS and by DASH, on an even grid from 0."""
    assert {r["name"] for r in video["renditions"]} == {*RUNGS, "audio-0"}
    grid = [n / rate for n in range(len(expected))]
    root = video["playback"]["hls"].removesuffix("master.m3u8")
    for order, (name, size) in enumerate(RUNGS.items()):
        playlist = f"{root}1/{name}.m3u8"
        assert numbered.read_numbers(tools, playlist, size) == expected, f"{name} by HLS"
        assert packet_times(tools, playlist, "v:0") == grid, f"{name} by HLS"
        by_dash = ("-map", f"0:v:{order}")
        manifest = video["playback"]["dash"]
        assert numbered.read_numbers(tools, manifest, size, by_dash) == expected, f"{name} by DASH"

"""Sound and picture stay together from the first second to the last, as a player joins them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from media.binaries import Tools
from tests import numbered
from tests.e2e.conftest import MakeClip
from tests.e2e.decoded import packet_times, probed
from tests.e2e.farm_process import Farm
from tests.numbered import ClipSpec

NTSC = Fraction(30000, 1001)

SPECS = {
    "mp4": ClipSpec(frames=221),
    "late-picture": ClipSpec(
        container="ts", rate=NTSC, frames=360, gop=15, start=1.4, picture_delay=0.5
    ),
    "late-start-mkv": ClipSpec(container="mkv", frames=200, start=7.0, picture_delay=0.2),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_beep_sounds_with_its_flash_at_the_start_and_at_the_end(
    name: str, farm: Farm, tools: Tools, clip: MakeClip
) -> None:
    source = clip(name, SPECS[name])
    video = farm.process(source.path)
    for playing in (video["playback"]["hls"], video["playback"]["dash"]):
        flashes = flash_times(tools, playing)
        beeps = beep_times(tools, playing)
        assert flashes == [n / source.spec.rate for n in source.flashes]
        apart = [beep - float(flash) for beep, flash in zip(beeps, flashes, strict=True)]
        assert all(abs(seconds) < 0.005 for seconds in apart), f"{playing}: {apart}"


def flash_times(tools: Tools, playing: str) -> list[Fraction]:
    """When flashes begin, in the clock of the first picture track."""
    times = packet_times(tools, playing, "v:0")
    assert times[0] == 0
    entries = numbered.read_pictures(tools, playing, size(tools, playing), ("-map", "0:v:0"))
    return [times[order] for order in entries.flashes]


def size(tools: Tools, playing: str) -> tuple[int, int]:
    """Of the first picture track."""
    show = ("-select_streams", "v:0", "-show_entries", "stream=width,height")
    stream = probed(tools, playing, *show)["streams"][0]
    return stream["width"], stream["height"]


def beep_times(tools: Tools, playing: str) -> list[float]:
    """When beeps begin, in the clock of the presentation: nothing is shifted to make it fit."""
    return numbered.beeps(numbered.read_sound(tools, playing, ("-map", "0:a:0", "-copyts")))

"""Sound and picture stay together from the first second to the last, as a player joins them."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest

from media.binaries import Tools
from tests import numbered
from tests.e2e.conftest import MakeClip
from tests.e2e.decoded import packet_times
from tests.e2e.farm_process import Farm
from tests.e2e.published import published
from tests.numbered import ClipSpec

NTSC = Fraction(30000, 1001)
#: Of the largest rung, which is the manifest's first.
SIZE = (320, 180)

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
    playing = video["playback"]["hls"]
    order = published(farm.client, video).order("180p")
    flashes = flash_times(tools, playing, f"v:{order}")
    beeps = numbered.beeps(sound(tools, playing))
    assert flashes == [n / source.spec.rate for n in source.flashes]
    apart = [beep - float(flash) for beep, flash in zip(beeps, flashes, strict=True)]
    assert all(abs(seconds) < 0.005 for seconds in apart), apart
    # Where ffmpeg opens a segment of a manifest it takes the priming off anew, and loses sound
    # that players keep; so for DASH the times of what goes into the decoder are compared.
    manifest = video["playback"]["dash"]
    assert packet_times(tools, manifest, "a:0") == packet_times(tools, playing, "a:0")
    assert packet_times(tools, manifest, "v:0") == packet_times(tools, playing, f"v:{order}")


def flash_times(tools: Tools, playing: str, stream: str) -> list[Fraction]:
    """When flashes begin, in the clock of the presentation."""
    times = packet_times(tools, playing, stream)
    assert times[0] == 0
    shown = numbered.read_pictures(tools, playing, SIZE, ("-map", f"0:{stream}"))
    return [times[order] for order in shown.flashes]


def sound(tools: Tools, playing: str) -> npt.NDArray[np.float32]:
    """In the clock of the presentation: ffmpeg is kept from shifting it to make it begin at 0."""
    return numbered.read_sound(tools, playing, ("-map", "0:a:0", "-copyts"))

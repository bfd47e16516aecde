"""Real films of many origins come out as their viewers expect."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from media.binaries import Tools
from tests import numbered
from tests.e2e.decoded import packet_times, probed
from tests.e2e.farm_process import Farm
from tests.e2e.published import Published, published


@dataclass(frozen=True, slots=True)
class Film:
    """A file of the test media and what it is to become. Its picture's facts are as displayed."""

    file: str
    width: int
    height: int
    rate: Fraction
    frames: int
    sounds: int = 0
    #: The largest rung.
    rung: tuple[int, int] = (320, 180)
    #: Whether an independent decode of the source can be compared with, picture by picture.
    comparable: bool = True


NTSC = Fraction(30000, 1001)

FILMS = [
    Film("sample_rotate_and_reflect.mp4", 720, 1080, NTSC, 30, 1, (120, 180)),
    Film("hdr10-av1.mp4", 720, 1280, NTSC, 127, 1, (102, 180), comparable=False),
    Film("cursed-vfr.mp4", 3026, 1386, Fraction(30), 262, 0, (392, 180)),
    Film("fixture-raw.mts", 1920, 1080, NTSC, 30, 1, comparable=False),
    Film("bear-vp9-odd-dimensions.webm", 161, 121, NTSC, 30, 0, (160, 120)),
    Film("bbb_800x640_768kbps_30fps_avc_2b_firstpts_10_sec.mp4", 1137, 640, Fraction(30), 120),
    Film("no_duration.webm", 1280, 720, Fraction(15000, 1001), 74, 1),
]


@pytest.mark.parametrize("film", FILMS, ids=lambda film: Path(film.file).stem[:24])
def test_a_real_film_comes_out_in_shape_and_in_full(
    film: Film, farm: Farm, tools: Tools, media_dir: Path
) -> None:
    source = media_dir / "awkward" / film.file
    video = farm.process(source)
    assert (video["source"]["width"], video["source"]["height"]) == (film.width, film.height)
    assert Fraction(video["source"]["fps"]) == film.rate
    found = published(farm.client, video)
    assert len(found.master.audio) == film.sounds
    largest = max(found.master.variants, key=lambda v: height(v.attributes["RESOLUTION"]))
    assert largest.attributes["RESOLUTION"] == "{}x{}".format(*film.rung)
    stream = probed(tools, largest.url, "-show_streams")["streams"][0]
    assert (stream["width"], stream["height"]) == film.rung
    assert stream["sample_aspect_ratio"] == "1:1"
    for variant in found.master.variants:
        assert packet_times(tools, variant.url, "v:0") == [
            n / film.rate for n in range(film.frames)
        ]
    for sound in found.master.audio:
        seconds = float(found.media[sound.url].duration)
        assert abs(seconds - float(film.frames / film.rate)) < 0.1
    if film.comparable:
        assert_alike(tools, film, source, largest.url)


def test_sound_alone_becomes_sound_to_choose_from(
    farm: Farm, tools: Tools, media_dir: Path
) -> None:
    video = farm.process(media_dir / "awkward" / "multiple_audio.mp4")
    assert {r["name"] for r in video["renditions"]} == {"audio-0", "audio-1"}
    assert video["source"]["width"] is None
    assert video["playback"]["poster"] is None
    found: Published = published(farm.client, video)
    for playlist in found.media.values():
        assert abs(float(playlist.duration) - 10.011) < 0.1
        heard = numbered.read_sound(tools, playlist.url)
        assert abs(len(heard) / numbered.SOUND_RATE - 10.011) < 0.1
        assert float(np.abs(heard).max()) > 0.01


def height(resolution: str) -> int:
    return int(resolution.partition("x")[2])


def assert_alike(tools: Tools, film: Film, source: Path, playlist: str) -> None:
    """Each picture is that of one decode of the whole source."""
    filters = f"setpts=PTS-STARTPTS,fps={film.rate},scale={film.rung[0]}:{film.rung[1]}"
    expected = gray(tools, source, film.rung, ("-map", "0:v:0", "-vf", filters))
    shown = gray(tools, playlist, film.rung, ())
    assert shown.shape == expected.shape
    apart = np.abs(shown - expected).mean(axis=(1, 2))
    assert apart.max() < 8.0, f"picture {int(apart.argmax())} is another one"


def gray(
    tools: Tools, source: str | Path, size: tuple[int, int], options: tuple[str, ...]
) -> npt.NDArray[np.int16]:
    """Every picture's brightness."""
    raw = numbered.decode(tools, source, (*options, "-fps_mode", "passthrough", "-pix_fmt", "gray"))
    return np.frombuffer(raw, np.uint8).reshape(-1, size[1], size[0]).astype(np.int16)

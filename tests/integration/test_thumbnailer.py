"""Pictures of real and of generated films, through the real runner."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from media.binaries import find_tools
from media.command import Command
from media.process import Sink, run
from media.safety import input_mapping
from thumbnailer.commands import Film
from thumbnailer.errors import NoPictureError
from thumbnailer.pictures import Pictures, make_pictures

TOOLS = find_tools()

#: Every second of the generated film has a colour of its own.
COLOURS = ("red", "lime", "blue", "yellow", "cyan", "magenta", "white", "gray")


class Runs:
    """Runs commands and keeps count of those that decode all pictures."""

    def __init__(self) -> None:
        self.whole = 0
        self.key_frames = 0

    def __call__(self, command: Command, sinks: Mapping[str, Sink]) -> object:
        if "nokey" in command.arguments:
            self.key_frames += 1
        else:
            self.whole += 1
        return run(TOOLS, command, sinks=sinks)


def film(path: Path, width: int, height: int, seconds: float, **more: object) -> Film:
    fields = {
        "url": str(path),
        "stream": 0,
        "width": width,
        "height": height,
        "zero": Fraction(0),
        "duration": Fraction(seconds).limit_denominator(1000),
        "input_options": input_mapping(str(path)),
    }
    return Film(**(fields | more))  # type: ignore[arg-type]


def generate(path: Path, gop: int, start: float = 0) -> Path:
    """A film of eight seconds in eight colours, with a key frame every ``gop`` frames."""
    inputs = [f"color={c}:r=10:s=160x90:d=1[c{n}]" for n, c in enumerate(COLOURS)]
    joined = "".join(f"[c{n}]" for n in range(len(COLOURS)))
    graph = ";".join([*inputs, f"{joined}concat=n={len(COLOURS)}"])
    command = [
        *(str(TOOLS.ffmpeg), "-nostdin", "-v", "error", "-filter_complex", graph),
        *("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", str(gop)),
        *("-keyint_min", str(gop), "-sc_threshold", "0", "-output_ts_offset", str(start)),
        str(path),
    ]
    subprocess.run(command, check=True, timeout=60)
    return path


def shown(pictures: Pictures, tile: int) -> tuple[int, ...]:
    """The colour in the middle of a tile."""
    layout = pictures.layout
    sheet, x, y = layout.place(tile)
    image = Image.open(io.BytesIO(pictures.sheets[sheet]))
    colour = image.getpixel((x + layout.tile_width // 2, y + layout.tile_height // 2))
    assert isinstance(colour, tuple)
    return colour


def assert_colours(pictures: Pictures) -> None:
    names = [Image.new("RGB", (1, 1), name).getpixel((0, 0)) for name in COLOURS]
    for tile, wanted in enumerate(names):
        got = shown(pictures, tile)
        assert isinstance(wanted, tuple)
        assert max(abs(a - b) for a, b in zip(got, wanted, strict=True)) < 30, (tile, got, wanted)


def test_each_second_is_shown_from_key_frames_alone(tmp_path: Path) -> None:
    runs = Runs()
    path = generate(tmp_path / "film.mp4", gop=5)
    pictures = make_pictures(runs, film(path, 160, 90, 8), deadline=30)
    assert (runs.key_frames, runs.whole) == (1, 0)
    assert_colours(pictures)


def test_a_short_film_with_one_key_frame_is_decoded(tmp_path: Path) -> None:
    runs = Runs()
    path = generate(tmp_path / "film.mp4", gop=1000)
    pictures = make_pictures(runs, film(path, 160, 90, 8, frames=80), deadline=30)
    assert (runs.key_frames, runs.whole) == (1, 1)
    assert_colours(pictures)


def test_a_long_film_with_one_key_frame_is_not_decoded(tmp_path: Path) -> None:
    runs = Runs()
    path = generate(tmp_path / "film.mp4", gop=1000)
    pictures = make_pictures(runs, film(path, 160, 90, 8, frames=1_000_000), deadline=30)
    assert runs.whole == 0
    assert shown(pictures, 7) == shown(pictures, 0)


def test_a_film_that_starts_late_is_counted_from_its_first_picture(tmp_path: Path) -> None:
    path = generate(tmp_path / "film.ts", gop=5, start=100.25)
    zero = Fraction(100.25) + Fraction(7, 5)
    assert_colours(make_pictures(Runs(), film(path, 160, 90, 8, zero=zero), deadline=30))


def test_a_film_of_unknown_length_is_covered_as_far_as_it_goes(tmp_path: Path) -> None:
    path = generate(tmp_path / "film.mp4", gop=5)
    pictures = make_pictures(Runs(), film(path, 160, 90, 8, duration=None), deadline=30)
    assert pictures.layout.tiles == 1
    assert pictures.vtt.count("-->") == 1


def test_no_picture_at_all_is_an_error(tmp_path: Path) -> None:
    path = generate(tmp_path / "film.mp4", gop=5)
    with pytest.raises(NoPictureError):
        make_pictures(lambda command, sinks: None, film(path, 160, 90, 8), deadline=30)


@pytest.mark.parametrize(
    ("name", "size", "seconds", "more"),
    [
        ("valid/bigbuckbunny.mp4", (1280, 720), 5.28, {"frames": 132}),
        ("awkward/portrait_4k60.mp4", (2160, 3840), 0.3, {}),
        ("awkward/sar_2x1.mp4", (1280, 360), 5, {}),
        (
            "awkward/hlg10-color-test.mp4",
            (1920, 1080),
            0.3,
            {"stream": 1, "tone_map": "arib-std-b67"},
        ),
        ("awkward/hdr10-av1.mp4", (720, 1280), 4.2, {"tone_map": "smpte2084"}),
        ("awkward/dv-pal-interlaced.mov", (787, 576), 1, {"interlaced": True}),
        ("awkward/abr_splice_1080_720_360.ts", (1920, 1080), 13.4, {"zero": Fraction(7, 5)}),
    ],
)
def test_real_films_are_shown_upright_and_well_exposed(
    media_dir: Path, name: str, size: tuple[int, int], seconds: float, more: dict[str, Any]
) -> None:
    pictures = make_pictures(Runs(), film(media_dir / name, *size, seconds, **more), deadline=60)
    poster = Image.open(io.BytesIO(pictures.poster)).convert("RGB")
    assert poster.width / poster.height == pytest.approx(size[0] / size[1], rel=0.01)
    assert max(poster.size) <= 1280
    grey = poster.convert("L")
    assert grey.entropy() > 2
    assert len(pictures.sheets) == pictures.layout.sheets == 1

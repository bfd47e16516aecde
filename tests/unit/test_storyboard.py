"""Layout, text and pictures of storyboards, and the choice of a poster."""

from __future__ import annotations

import io
import json
import random
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from media.command import Command
from thumbnailer.commands import Film, pictures_command
from thumbnailer.poster import PosterPicker, score
from thumbnailer.storyboard import (
    MAX_TILES,
    Layout,
    compose,
    filled,
    interval_for,
    layout_for,
    storyboard_json,
    webvtt,
)


def layout(seconds: float, width: int = 1920, height: int = 1080) -> Layout:
    duration = Fraction(seconds).limit_denominator(1000)
    return layout_for(width, height, duration, interval_for(duration))


@pytest.mark.parametrize(
    ("seconds", "interval", "tiles"),
    [
        (0.04, 1, 1),
        (1, 1, 1),
        (1.1, 1, 1),
        (10, 1, 10),
        (10.5, 1, 11),
        (600, 4, 150),
        (7200, 40, 180),
    ],
)
def test_tiles_are_spread_over_the_film(seconds: float, interval: int, tiles: int) -> None:
    got = layout(seconds)
    assert got.interval == interval
    assert got.tiles == tiles


@pytest.mark.parametrize(
    ("width", "height", "tile"),
    [
        (1920, 1080, (240, 135)),
        (1080, 1920, (101, 180)),
        (1280, 360, (240, 68)),
        (1, 1, (1, 1)),
        (8192, 1, (240, 1)),
        (100, 80, (100, 80)),
    ],
)
def test_tiles_keep_the_aspect_and_are_not_enlarged(
    width: int, height: int, tile: tuple[int, int]
) -> None:
    got = layout(10, width, height)
    assert (got.tile_width, got.tile_height) == tile


@given(st.fractions(min_value=0, max_value=12 * 3600, max_denominator=1000))
def test_every_moment_has_a_tile_and_every_tile_a_place(duration: Fraction) -> None:
    got = layout_for(1280, 720, duration, interval_for(duration))
    assert 1 <= got.tiles <= MAX_TILES
    assert got.bucket(Fraction(-1)) == 0
    assert got.bucket(duration + 100) == got.tiles - 1
    places = {got.place(tile) for tile in range(got.tiles)}
    assert len(places) == got.tiles
    assert {sheet for sheet, _, _ in places} == set(range(got.sheets))
    width, height = got.columns * got.tile_width, got.rows * got.tile_height
    assert all(x + got.tile_width <= width for _, x, _ in places)
    assert all(y + got.tile_height <= height for _, _, y in places)


def test_the_cues_point_into_the_sheets_and_reach_the_end() -> None:
    got = webvtt(layout(26.5))
    assert got.startswith(
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nstoryboard_0.jpg#xywh=0,0,240,135\n\n"
        "00:00:01.000 --> 00:00:02.000\nstoryboard_0.jpg#xywh=240,0,240,135\n"
    )
    assert got.endswith("00:00:26.000 --> 00:00:26.500\nstoryboard_1.jpg#xywh=240,0,240,135\n")
    assert webvtt(layout(7200)).count("-->") == 180
    assert "01:59:20.000 --> 02:00:00.000" in webvtt(layout(7200))


def test_the_json_twin_says_the_same() -> None:
    got = json.loads(storyboard_json(layout(26.5)))
    assert got["tiles"][6] == {"start": 6.0, "sheet": "storyboard_0.jpg", "x": 240, "y": 135}
    assert (got["duration"], len(got["tiles"])) == (26.5, 27)


def test_stretches_without_a_picture_show_the_one_before() -> None:
    got = filled({1: b"one", 3: b"three"}, layout(5))
    assert got == [b"one", b"one", b"one", b"three", b"three"]


def test_tiles_land_where_the_cues_say() -> None:
    got = layout(30, 320, 180)
    colours = [(n * 8, 255 - n * 8, 128) for n in range(got.tiles)]
    tiles = [bytes(c) * (got.tile_width * got.tile_height) for c in colours]
    sheets = [Image.open(io.BytesIO(data)) for data in compose(tiles, got)]
    assert [sheet.size for sheet in sheets] == [(1200, 675)] * 2
    for tile, colour in enumerate(colours):
        sheet, x, y = got.place(tile)
        shown = sheets[sheet].getpixel((x + got.tile_width // 2, y + got.tile_height // 2))
        assert isinstance(shown, tuple)
        assert max(abs(a - b) for a, b in zip(shown, colour, strict=True)) < 6


def picture(seed: int = 1, low: int = 0, high: int = 255) -> Image.Image:
    chance = random.Random(seed)
    small = Image.new("RGB", (32, 18))
    small.putdata([tuple(chance.randint(low, high) for _ in range(3)) for _ in range(32 * 18)])
    return small.resize((320, 180), Image.Resampling.NEAREST)


def test_a_rich_picture_beats_black_white_dark_and_blurred_ones() -> None:
    rich = score(picture())
    for poor in (
        Image.new("RGB", (320, 180)),
        Image.new("RGB", (320, 180), "white"),
        Image.new("RGB", (320, 180), "teal"),
        picture(high=12),
        picture(low=240),
        picture().filter(ImageFilter.GaussianBlur(30)),
    ):
        assert score(poor) < rich / 2


def test_pictures_of_a_pixel_can_be_scored() -> None:
    assert score(Image.new("RGB", (1, 1))) == 0


def test_the_best_candidate_becomes_the_poster() -> None:
    picker = PosterPicker(320, 180)
    assert picker.poster() is None
    for image in (Image.new("RGB", (320, 180)), picture(2), Image.new("RGB", (320, 180), "red")):
        picker.offer(image.tobytes())
    data = picker.poster()
    assert data is not None
    shown = Image.open(io.BytesIO(data))
    assert (shown.format, shown.size) == ("JPEG", (320, 180))
    assert score(shown.convert("RGB")) == pytest.approx(score(picture(2)), rel=0.05)


def command(**more: object) -> Command:
    fields: dict[str, object] = {
        "url": "https://storage/source?signature=x",
        "stream": 2,
        "width": 1920,
        "height": 1080,
        "zero": Fraction(7, 5),
        "duration": Fraction(120),
        "input_options": {"protocol_whitelist": "https,tls,tcp"},
    }
    film = Film(**(fields | more))  # type: ignore[arg-type]
    return pictures_command(film, layout(120), key_frames=True, deadline=60)


def test_the_command_decodes_key_frames_into_pipes() -> None:
    got = command()
    assert set(got.sinks) == {"tiles", "frames", "posters"}
    before = got.arguments[: got.arguments.index("-i")]
    assert ("-skip_frame", "nokey") in pairwise(before)
    assert ("-protocol_whitelist", "https,tls,tcp") in pairwise(before)
    graph = got.arguments[got.arguments.index("-filter_complex") + 1]
    assert graph == (
        "[0:2]split=2[s0][s1];"
        "[s0]select=isnan(prev_selected_t)+gt(floor((t-1.4)/1.0)\\,"
        "floor((prev_selected_t-1.4)/1.0))[s2];"
        "[s2]scale=flags=bicubic+accurate_rnd:h=135:in_color_matrix=bt709:w=240[s3];[s3]setsar=1[s4];"
        "[s4]format=rgb24[s5];"
        "[s1]select=isnan(prev_selected_t)+gt(floor((t-1.4)/10.0)\\,"
        "floor((prev_selected_t-1.4)/10.0))[s6];"
        "[s6]scale=flags=bicubic+accurate_rnd:h=720:in_color_matrix=bt709:w=1280[s7];[s7]setsar=1[s8];"
        "[s8]format=rgb24[s9]"
    )


def test_high_dynamic_range_and_fields_are_brought_to_the_screen() -> None:
    graph = " ".join(command(tone_map="smpte2084", interlaced=True).arguments)
    assert "field=type=top" in graph
    assert "tonemap=mobius" in graph
    assert "tin=smpte2084" in graph


@pytest.mark.parametrize(
    ("said", "height", "used"),
    [
        ("smpte170m", 1080, "smpte170m"),
        (None, 1080, "bt709"),
        (None, 480, "bt601"),
        ("x:y", 480, "bt601"),
    ],
)
def test_an_unsaid_matrix_is_guessed_from_the_size(
    said: str | None, height: int, used: str
) -> None:
    graph = " ".join(command(color_matrix=said, height=height).arguments)
    assert graph.count(f"in_color_matrix={used}:") == 2

"""What ffprobe says, as recorded from real films, and what it never should say."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.parse import parse
from media.probed import Probe

PROBES = Path(__file__).parents[1] / "fixtures" / "probes"


def recorded(name: str) -> Any:
    return json.loads((PROBES / f"{name}.json").read_text())


def film(name: str) -> Probe:
    return parse(recorded(name))


def test_plain_film() -> None:
    found = film("bikes")
    (picture,) = found.video
    assert (found.container, found.duration, found.size) == ("mov", 10.0, 509868)
    assert found.indexed
    assert (picture.codec, picture.width, picture.height) == ("h264", 640, 272)
    assert (picture.average_rate, picture.time_base) == (Fraction(25), Fraction(1, 12800))
    assert (picture.rotation, picture.bit_depth, picture.interlaced) == (0, 8, False)
    assert picture.frames == 250
    assert not found.encrypted


def test_phone_film_is_turned_clockwise() -> None:
    (picture,) = film("portrait_4k60").video
    assert picture.rotation == 90
    assert (picture.color_range, picture.color_transfer) == ("pc", "smpte170m")


def test_interlaced_transport_stream() -> None:
    found = film("fixture-raw")
    assert found.video[0].interlaced
    assert found.video[0].base_rate == Fraction(60000, 1001)
    assert not found.indexed
    assert [(a.codec, a.channels, a.sample_rate) for a in found.audio] == [("ac3", 2, 48000)]


def test_high_dynamic_range() -> None:
    (picture,) = film("hdr10-av1").video
    assert (picture.bit_depth, picture.color_transfer) == (10, "smpte2084")


def test_no_duration() -> None:
    found = film("no_duration")
    assert (found.duration, found.indexed) == (None, False)
    assert found.video[0].duration is None


def test_zero_rates_are_unknown() -> None:
    assert film("fishes").video[0].average_rate is None


def test_pixel_aspect() -> None:
    assert film("sar_2x1").video[0].sample_aspect == 2


def test_subtitles_and_their_tag_of_duration() -> None:
    found = film("sample_with_srt")
    assert [s.codec for s in found.subtitles] == ["subrip"]
    assert found.video[0].duration is not None


def test_encrypted() -> None:
    assert film("cenc_video").encrypted


def test_tracks_nothing_can_decode_are_left_out() -> None:
    found = film("truncated-64bit")
    assert found.video == ()
    assert [a.codec for a in found.audio] == ["aac"]


def test_main_picture_is_the_largest_default() -> None:
    main = film("multiple_video").main_video
    assert main is not None
    assert (main.width, main.height) == (1920, 1080)


def test_cover_is_no_film() -> None:
    document = recorded("bikes")
    document["streams"][0]["disposition"]["attached_pic"] = 1
    found = parse(document)
    assert found.video[0].attached_picture
    assert found.main_video is None


@pytest.mark.parametrize(
    ("pixels", "depth"),
    [("yuv420p", 8), ("yuv422p10le", 10), ("p010le", 10), ("gray12le", 12), ("gbrp16be", 16)],
)
def test_bit_depth(pixels: str, depth: int) -> None:
    document = recorded("bikes")
    document["streams"][0]["pix_fmt"] = pixels
    assert parse(document).video[0].bit_depth == depth


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "N/A", "0/0", "1/0", "0:1", "-5/3", "9" * 60, "1e999", "unknown"])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.data())
def test_rubbish_never_raises(data: st.DataObject) -> None:
    document = recorded(data.draw(st.sampled_from(["portrait_4k60", "sample_with_srt", "fishes"])))
    for part in (document["format"], *document["streams"]):
        for key in data.draw(st.lists(st.sampled_from(sorted(part)), max_size=4)):
            if data.draw(st.booleans()):
                part[key] = data.draw(JUNK)
            else:
                part.pop(key, None)
    found = parse(document)
    assert all(v.width > 0 and v.height > 0 and v.sample_aspect > 0 for v in found.video)
    assert Probe.model_validate_json(found.model_dump_json()) == found


@settings(deadline=None)
@given(JUNK)
def test_rubbish_alone_is_an_empty_probe(document: Any) -> None:
    assert parse(document).video == ()

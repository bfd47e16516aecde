"""The fragment reader and the segmenter, on boxes made by hand."""

from __future__ import annotations

import struct
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transcoder.cmaf import STYP, CutSegment, FragmentError, FragmentReader, Grid, Init, Segmenter
from transcoder.fragments import Fragment

SYNC, NON_SYNC = 0x0200_0000, 0x0101_0000
TICKS = 1000


def box(kind: str, *payload: bytes) -> bytes:
    body = b"".join(payload)
    return struct.pack(">I4s", 8 + len(body), kind.encode()) + body


def full(kind: str, version: int, flags: int, *payload: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags), *payload)


def avc1() -> bytes:
    return box("avc1", bytes(78), box("avcC", bytes([1, 0x64, 0x00, 0x28, 0xFF, 0xE1])))


def mp4a(config: bytes = b"\x11\x90") -> bytes:
    specific = b"\x05" + bytes([len(config)]) + config
    decoder = b"\x04\x80\x80\x80" + bytes([13 + len(specific), 0x40]) + bytes(12) + specific
    descriptor = b"\x03" + bytes([3 + len(decoder)]) + bytes(3) + decoder
    return box("mp4a", bytes(28), full("esds", 0, 0, descriptor))


def init(
    entry: bytes | None = None,
    handler: bytes = b"vide",
    media_time: int = 0,
    timescale: int = 25000,
) -> bytes:
    stbl = box("stbl", full("stsd", 0, 0, struct.pack(">I", 1), entry or avc1()))
    mdia = box(
        "mdia",
        full("mdhd", 0, 0, struct.pack(">IIIHH", 0, 0, timescale, 0, 0)),
        full("hdlr", 0, 0, bytes(4), handler, bytes(13)),
        box("minf", stbl),
    )
    elst = full("elst", 0, 0, struct.pack(">IIiI", 1, 0, media_time, 0x10000))
    trex = full("trex", 0, 0, struct.pack(">IIIII", 1, 1, 0, 0, 0))
    moov = box("moov", box("trak", box("edts", elst), mdia), box("mvex", trex))
    return box("ftyp", b"iso5", bytes(4)) + moov


def fragment(start: int, sizes: list[int], *, sync: bool = True, ticks: int = TICKS) -> bytes:
    tfhd = full("tfhd", 0, 0x2_0038, struct.pack(">IIII", 1, ticks, sizes[0], NON_SYNC))
    tfdt = full("tfdt", 1, 0, struct.pack(">q", start))

    def moof(offset: int) -> bytes:
        head = struct.pack(">IiI", len(sizes), offset, SYNC if sync else NON_SYNC)
        trun = full("trun", 0, 0x205, head, *(struct.pack(">I", size) for size in sizes))
        mfhd = full("mfhd", 0, 0, struct.pack(">I", 1))
        return box("moof", mfhd, box("traf", tfhd, tfdt, trun))

    data = b"".join(bytes([n % 251]) * size for n, size in enumerate(sizes))
    return moof(len(moof(0)) + 8) + box("mdat", data)


def gop(number: int, frames: int = 50) -> bytes:
    return fragment(number * 50 * TICKS, [300, *[10] * (frames - 1)])


def cut(segmenter: Segmenter, data: bytes, step: int = 1 << 20) -> list[CutSegment]:
    made = [s for at in range(0, len(data), step) for s in segmenter.feed(data[at : at + step])]
    return made + segmenter.finish()


GRID = Grid(head=50 * TICKS, segment=150 * TICKS)


def segmenter(first: int = 0, **more: int) -> Segmenter:
    return Segmenter(GRID, timescale=25000, first=first, label="v720", **more)


@pytest.mark.parametrize(
    ("ticks", "number"), [(0, 0), (49_999, 0), (50_000, 1), (199_999, 1), (200_000, 2)]
)
def test_a_grid_numbers_segments_over_the_whole_film(ticks: int, number: int) -> None:
    assert GRID.number(ticks) == number
    assert GRID.start(number) <= ticks < GRID.start(number + 1)


def test_the_init_segment_says_what_the_track_is() -> None:
    (item,) = FragmentReader().feed(init())
    assert isinstance(item, Init)
    assert (item.codec, item.timescale, item.is_video) == ("avc1.640028", 25000, True)
    assert item.data == init()


def test_sound_is_named_by_its_object_type_and_delayed_by_its_edit_list() -> None:
    (item,) = FragmentReader().feed(init(mp4a(), b"soun", 1024, 48000))
    assert isinstance(item, Init)
    assert (item.codec, item.is_video, item.media_time) == ("mp4a.40.2", False, 1024)


def test_extended_audio_object_types_are_read() -> None:
    (item,) = FragmentReader().feed(init(mp4a(b"\xf9\x40"), b"soun"))
    assert isinstance(item, Init)
    assert item.codec == "mp4a.40.42"


def test_a_fragment_tells_its_times_and_where_its_first_picture_ends() -> None:
    reader = FragmentReader()
    _, item = reader.feed(init() + fragment(7000, [300, 20, 30]))
    assert isinstance(item, Fragment)
    assert (item.start, item.ticks, item.samples, item.end) == (7000, 3000, 3, 10_000)
    assert item.starts_with_sync
    assert item.data[item.first_end - 300 : item.first_end] == bytes(300)
    assert item.data[item.first_end] == 1


@given(st.integers(min_value=1, max_value=700))
@settings(max_examples=25, deadline=None)
def test_pieces_of_any_size_give_the_same_segments(step: int) -> None:
    data = init() + b"".join(gop(n) for n in range(5))
    assert cut(segmenter(), data, step) == cut(segmenter(), data)


def test_segments_are_cut_at_the_planned_boundaries() -> None:
    data = init() + b"".join(gop(n) for n in range(5)) + gop(5, frames=7)
    made = cut(segmenter(), data)
    assert [(s.start // TICKS, s.ticks // TICKS, s.samples) for s in made] == [
        (0, 50, 50),
        (50, 150, 150),
        (200, 57, 57),
    ]
    assert all(s.data.startswith(STYP) for s in made)


def test_key_frames_are_byte_ranges_of_their_segment() -> None:
    made = cut(segmenter(50 * TICKS), init() + b"".join(gop(n) for n in (1, 2, 3)))
    (segment,) = made
    assert [key.duration for key in segment.keyframes] == [Fraction(2)] * 3
    for key in segment.keyframes:
        picture = segment.data[key.offset : key.offset + key.size]
        assert picture[4:8] == b"moof"
        assert picture.endswith(bytes(300))


def test_sequence_numbers_increase_over_chunks() -> None:
    def number(segment: CutSegment) -> int:
        at = segment.data.index(b"mfhd") + 8
        return int.from_bytes(segment.data[at : at + 4], "big")

    head = cut(segmenter(), init() + gop(0))
    chunk = cut(segmenter(50 * TICKS), init() + b"".join(gop(n) for n in range(1, 7)))
    assert [number(s) for s in (*head, *chunk)] == [1, 51, 201]


def test_preroll_is_dropped_and_times_are_moved() -> None:
    data = init() + b"".join(gop(n) for n in range(4))
    moved = segmenter(50 * TICKS, shift=50 * TICKS, drop_until=200 * TICKS)
    (segment,) = cut(moved, data)
    assert (segment.start, segment.samples) == (200 * TICKS, 50)
    at = segment.data.index(b"tfdt") + 8
    assert int.from_bytes(segment.data[at : at + 8], "big") == 200 * TICKS


def test_a_negative_start_can_be_moved_to_zero() -> None:
    data = init() + fragment(-1024, [300] * 50)
    (segment,) = cut(segmenter(shift=1024), data)
    assert segment.start == 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (init() + gop(1), "starts at another time"),
        (init() + gop(0) + gop(2), "starts at another time"),
        (init() + fragment(0, [9, 9], sync=False), "does not start with a key frame"),
        (init() + gop(0, frames=51), "reaches over the segment boundary at 50000"),
        (init(timescale=90000) + gop(0), "the timescale is 90000, planned was 25000"),
        (init() + fragment(0, [9], ticks=0), "lasts no time"),
    ],
)
def test_what_is_off_the_plan_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(FragmentError, match=message) as caught:
        cut(segmenter(), data)
    assert str(caught.value).startswith("v720: ")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"this is a text file, nothing else", "has ' is ' where ftyp belongs"),
        (b"\x00\x00\x00\x04ftyp", "less than its own header"),
        (init() + box("mdat", b"x"), "has 'mdat' where moof belongs"),
        (init() + b"\x7f\xff\xff\xffmoof", "is the limit"),
        (init() + init(), "has 'ftyp' where moof belongs"),
        (init(box("hvc9", bytes(78))), "no name is known for codec 'hvc9'"),
        (box("ftyp") + box("moov", b"\x00\x00\x01\x00trak"), "damaged 'moov'"),
        (box("ftyp") + box("moov"), "0 tracks where one belongs"),
        (init() + box("moof", box("traf")) + box("mdat"), "has no 'mfhd'"),
        (init() + gop(0)[:-8], "ended inside a fragment"),
    ],
)
def test_rubbish_is_refused_with_its_place(data: bytes, message: str) -> None:
    with pytest.raises(FragmentError, match=message):
        cut(segmenter(), data)


def test_samples_that_reach_over_their_data_are_refused() -> None:
    data = bytearray(init() + gop(0))
    at = data.index(b"trun") + 4 + 4 + 4 + 4 + 4
    data[at : at + 4] = (1 << 20).to_bytes(4, "big")
    with pytest.raises(FragmentError, match="reach over the end of their data"):
        cut(segmenter(), bytes(data))


def test_a_sample_count_beyond_the_box_is_refused() -> None:
    data = bytearray(init() + gop(0))
    at = data.index(b"trun") + 8
    data[at : at + 4] = b"\x7f\xff\xff\xff"
    with pytest.raises(FragmentError, match="promises 2147483647 samples"):
        cut(segmenter(), bytes(data))


@given(st.integers(min_value=0, max_value=len(init() + gop(0)) - 1), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_any_damaged_byte_gives_segments_or_a_clear_error(at: int, value: int) -> None:
    data = bytearray(init() + gop(0))
    data[at] = value
    try:
        cut(segmenter(), bytes(data))
    except FragmentError as error:
        assert str(error).startswith("v720: ")


def test_there_is_no_init_segment_before_it_has_arrived() -> None:
    with pytest.raises(FragmentError, match="has not written an init segment"):
        _ = segmenter().init

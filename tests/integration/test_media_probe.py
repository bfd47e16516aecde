"""Probes of real films, checked against what ffmpeg itself decodes and displays."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from media.binaries import Tools
from media.errors import MediaError, NotMediaError
from media.probe import probe
from media.probed import Probe

MakeClip = Callable[..., Path]


def decoded_first(tools: Tools, path: Path, stream: int) -> Fraction:
    """Time of the first picture in an independent decode of the source."""
    listing = subprocess.run(
        [
            *(tools.ffmpeg, "-v", "error", "-nostdin", "-copyts", "-i", path),
            *("-map", f"0:{stream}", "-fps_mode", "passthrough", "-enc_time_base", "1:1000000"),
            *("-frames:v", "1", "-s", "16x16", "-f", "framecrc", "-"),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout.splitlines()
    first = next(line for line in listing if not line.startswith("#"))
    return Fraction(int(first.split(",")[2]), 1_000_000)


def assert_first_picture(tools: Tools, path: Path, found: Probe) -> None:
    assert found.timing is not None
    assert found.main_video is not None
    real = decoded_first(tools, path, found.main_video.index)
    assert abs(found.timing.first_picture - real) < Fraction(1, 100_000)


REAL = [
    # name, container, size, rotation, rate, constant, first picture
    ("valid/sample.mp4", "mov", (1080, 720), 0, "30000/1001", True, 0.0),
    ("valid/sample.avi", "avi", (960, 400), 0, None, False, 0.0),
    ("valid/sample.flv", "flv", (1080, 720), 0, "30", True, 0.067),
    ("valid/bbb_2500ms.ts", "mpegts", (1920, 1080), 0, None, False, 1.525),
    ("valid/bbb_1920x1080_60fps_vp8.webm", "matroska", (1920, 1080), 0, "60", True, 0.0),
    ("valid/fishes.wmv", "asf", (512, 288), 0, None, False, 0.12),
    ("valid/fixture.mxf", "mxf", (720, 576), 0, "25", True, 0.04),
    ("valid/fixture2.mpg", "mpegvideo", (320, 240), 0, "30000/1001", True, 0.0),
    ("valid/sample_av1.mp4", "mov", (1080, 720), 0, "30000/1001", True, 0.0),
    ("valid/ocean.ogv", "ogg", (320, 240), 0, "25", True, 0.0),
    ("awkward/8k24fps_300ms.mp4", "mov", (7680, 4320), 0, "90000/3749", True, 0.006),
    ("awkward/Megamind_bugy.avi", "avi", (720, 528), 0, "30", True, 1 / 30),
    ("awkward/edit_list_positive_shift.mp4", "mov", (1920, 1080), 0, "30", True, 1.0),
    ("awkward/fixture-raw.mts", "mpegts", (1920, 1080), 0, "30000/1001", True, 1.433367),
    ("awkward/portrait_4k60.mp4", "mov", (3840, 2160), 90, "60", True, 0.0),
    ("awkward/video_90.mov", "mov", (568, 320), 90, "30", True, 0.0),
    ("awkward/pts_rollover.ts", "mpegts", (640, 360), 0, "24", True, -9.708333),
    ("awkward/cursed-vfr.mp4", "mov", (3026, 1386), 0, None, False, 0.0),
    ("awkward/no_duration.webm", "matroska", (1280, 720), 0, "15000/1001", True, 0.0),
    ("awkward/multiple_video.mp4", "mov", (1920, 1080), 0, "25", True, 0.0),
]


@pytest.mark.parametrize(
    ("name", "container", "size", "rotation", "rate", "constant", "first"), REAL, ids=lambda v: v
)
def test_real_films(
    tools: Tools,
    media_dir: Path,
    name: str,
    container: str,
    size: tuple[int, int],
    rotation: int,
    rate: str | None,
    constant: bool,
    first: float,
) -> None:
    found = probe(tools, str(media_dir / name))
    main, timing = found.main_video, found.timing
    assert main is not None
    assert timing is not None
    assert found.container == container
    assert ((main.width, main.height), main.rotation) == (size, rotation)
    assert timing.constant_rate is constant
    assert rate is None or timing.rate == Fraction(rate)
    assert float(timing.first_picture) == pytest.approx(first, abs=1e-5)
    assert_first_picture(tools, media_dir / name, found)


def test_every_real_film_gives_a_probe_or_an_error_of_ours(tools: Tools, media_dir: Path) -> None:
    not_media = set()
    for path in sorted(media_dir.glob("*/*")):
        try:
            probe(tools, str(path))
        except MediaError as error:
            assert isinstance(error, NotMediaError), f"{path.name}: {error}"
            not_media.add(path.name)
    assert not_media == {"Matroska.mkv", "bogus.ogv", "fixture-corrupt.mkv", "lottapixel.jpg"}


def test_encrypted(tools: Tools, media_dir: Path) -> None:
    assert probe(tools, str(media_dir / "hostile/cenc_video.mp4")).encrypted


def test_sound_alone(tools: Tools, media_dir: Path) -> None:
    found = probe(tools, str(media_dir / "awkward/multiple_audio.mp4"))
    assert (found.video, found.timing) == ((), None)
    assert [(a.codec, a.channels) for a in found.audio] == [("aac", 2), ("ac3", 6)]


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("late.ts", {"output": ("-output_ts_offset", "7")}),
        ("b-frames.mp4", {"video": ("-bf", "3", "-preset", "veryfast")}),
        ("open-gop.ts", {"video": ("-bf", "3", "-x264-params", "open-gop=1:keyint=12:min-keyint=12",
                                   "-preset", "veryfast")}),
        ("ntsc.mkv", {"rate": "30000/1001"}),
    ],
)  # fmt: skip
def test_first_picture_of_generated_films(
    tools: Tools, make_clip: MakeClip, name: str, made: dict[str, object]
) -> None:
    path = make_clip(name, sound=True, **made)
    assert_first_picture(tools, path, probe(tools, str(path)))


@pytest.mark.parametrize("suffix", ["ts", "mkv", "mp4"])
def test_first_picture_of_a_film_cut_inside_an_open_gop(
    tools: Tools, make_clip: MakeClip, suffix: str
) -> None:
    """Cut by stream copy, it begins with pictures that cannot be decoded or are not shown."""
    open_gop = "open-gop=1:keyint=12:min-keyint=12:scenecut=0"
    whole = make_clip(
        f"whole.{suffix}",
        seconds=4,
        video=("-bf", "3", "-x264-params", open_gop, "-preset", "veryfast"),
    )
    cut = whole.with_name(f"cut.{suffix}")
    subprocess.run(
        [tools.ffmpeg, "-v", "error", "-y", "-ss", "1.3", "-i", whole, "-c", "copy", cut],
        check=True,
    )
    assert_first_picture(tools, cut, probe(tools, str(cut)))


def test_longest_gop_and_rate(tools: Tools, make_clip: MakeClip) -> None:
    path = make_clip("gop.ts", seconds=6, video=("-g", "50", "-sc_threshold", "0"))
    timing = probe(tools, str(path)).timing
    assert timing is not None
    assert (timing.longest_gop, timing.rate, timing.constant_rate) == (2.0, Fraction(25), True)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_is_clockwise(tools: Tools, make_clip: MakeClip, turn: int) -> None:
    """The corner that is white before display comes out where a clockwise turn puts it."""
    corner = "drawbox=w=iw/2:h=ih/2:color=white:t=fill"
    flat = make_clip("flat.mp4", source="color", filters=corner)
    turned = flat.with_name(f"turned{turn}.mp4")
    subprocess.run(
        [
            *(tools.ffmpeg, "-v", "error", "-y", "-display_rotation", str(-turn), "-i", flat),
            *("-c", "copy", turned),
        ],
        check=True,
    )
    shown = subprocess.run(
        [
            *(tools.ffmpeg, "-v", "error", "-i", turned, "-frames:v", "1", "-s", "2x2"),
            *("-sws_flags", "area", "-f", "rawvideo", "-pix_fmt", "gray", "-"),
        ],
        capture_output=True,
        check=True,
    ).stdout
    clockwise = [0, 1, 3, 2]  # top left, top right, bottom right, bottom left
    brightest = max(range(4), key=struct.unpack("4B", shown).__getitem__)
    (picture,) = probe(tools, str(turned)).video
    assert picture.rotation == turn
    assert brightest == clockwise[turn // 90]


def test_cover_picture(tools: Tools, make_clip: MakeClip) -> None:
    film = make_clip("plain.mp4", sound=True)
    cover, with_cover = film.with_name("cover.jpg"), film.with_name("with-cover.mp4")
    run = [tools.ffmpeg, "-v", "error", "-y", "-i", film]
    subprocess.run([*run, "-frames:v", "1", cover], check=True)
    subprocess.run(
        [
            *(*run, "-i", cover, "-map", "1", "-map", "0", "-c", "copy"),
            *("-disposition:v:0", "attached_pic", with_cover),
        ],
        check=True,
    )
    found = probe(tools, str(with_cover))
    assert [v.attached_picture for v in found.video].count(True) == 1
    assert found.main_video is not None
    assert found.main_video.codec == "h264"

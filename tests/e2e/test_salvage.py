"""Of a damaged film what plays is published, and the warnings name the times of what does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from farm.client import Video
from media.binaries import Tools
from tests import numbered
from tests.damage import beheaded, cut, flipped, lost, packets, silenced, zeroed
from tests.e2e.conftest import MakeClip
from tests.e2e.farm_process import Farm
from tests.numbered import ClipSpec

RATE = 25
LOWEST = ("90p", (160, 90))
INDEX_FIRST = ("-movflags", "+faststart")

#: From when to when, in seconds of the film, on the wall of a warning.
_TIMES = re.compile(r"(\d+):(\d\d\.\d)–(\d+):(\d\d\.\d)")

#: What a warning's time may be off.
NEAR = 1.0


@dataclass(frozen=True)
class Case:
    """A clip, what happens to it, and what a viewer is to find."""

    spec: ClipSpec
    harm: Callable[[Tools, Path, Path], Path]
    warned: dict[str, tuple[float, float] | None]
    #: Seconds in which pictures need not be right; None where the film ends with the first.
    lost: tuple[float, float | None] | None = None


def broken_off(share: float) -> Callable[[Tools, Path, Path], Path]:
    return lambda _, path, to: cut(path, to, share)


FRAGMENTS = ("-movflags", "+frag_keyframe+empty_moov+default_base_moof")
MP4 = ClipSpec(frames=250, gop=25, more=INDEX_FIRST)
FRAGMENTED = ClipSpec(frames=250, gop=25, more=FRAGMENTS)
MKV = ClipSpec(container="mkv", frames=250, gop=25)
TS = ClipSpec(container="ts", frames=250, gop=25)

SPECS = (MP4, FRAGMENTED, MKV, TS)

CASES = {
    "mp4 broken off": Case(MP4, broken_off(0.6), {"cut_short": None}, (4.5, None)),
    "mkv broken off": Case(MKV, broken_off(0.6), {"cut_short": None}, (5.5, None)),
    "mp4 with a hole": Case(
        MP4,
        lambda tools, path, to: zeroed(tools, path, to, 3.0, 7.0),
        {"damaged_pictures": (3.0, 7.0), "damaged_sound": (3.0, 7.0)},
        (3.0, 7.0),
    ),
    "ts with a hole": Case(
        TS,
        lambda tools, path, to: zeroed(tools, path, to, 4.0, 5.0),
        {"damaged_pictures": (4.0, 5.0), "damaged_sound": (4.0, 5.0)},
        (3.7, 5.0),
    ),
    "mkv with wrong bits": Case(
        MKV,
        lambda tools, path, to: flipped(tools, path, to, 4.0, 5.0),
        {"damaged_pictures": (4.0, 5.0)},
        (4.0, 5.0),
    ),
    "fragments without a header": Case(
        FRAGMENTED,
        lambda _, path, to: beheaded(path, to, 6),
        {"cut_short": None},
        (5.9, None),
    ),
    "mp4 with lost sound": Case(
        FRAGMENTED,
        lambda tools, path, to: silenced(tools, path, to, 4.0, 6.0),
        {"damaged_sound": (4.0, 6.0)},
    ),
}


#: Those that no other of the default tests stands for.
SEEN = ("mkv broken off", "mp4 with a hole", "mkv with wrong bits")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in SEEN else pytest.mark.long) for n in CASES]
)
def test_what_plays_is_published_and_what_does_not_is_named(
    name: str, farm: Farm, tools: Tools, clip: MakeClip, tmp_path: Path
) -> None:
    case = CASES[name]
    source = clip(f"salvage-{SPECS.index(case.spec)}", case.spec)
    file = case.harm(tools, source.path, tmp_path / source.path.name)
    first, second = (farm.client.upload(file)["id"] for _ in range(2))
    video, again = farm.ready(first), farm.ready(second)

    assert video["warnings"] == again["warnings"], "the same bytes, other words"
    assert {each["code"] for each in video["warnings"]} == set(case.warned)
    for warning in video["warnings"]:
        assert_names(warning["message"], case.warned[warning["code"]])
    shown = numbers(tools, video)
    assert shown == numbers(tools, again)
    assert_right(shown, case)
    tries = [line for line in farm.last_words(first).splitlines() if "wrong_frames" in line]
    chunks = [part for part in farm.plan(first).parts if part.kind == "video"]
    assert len(tries) <= 2 * len(chunks)
    assert "part_failed" not in farm.last_words(first)


@pytest.mark.long
@pytest.mark.parametrize("bframes", [0, 3])
def test_a_loss_in_a_container_without_times_is_told(
    bframes: int, farm: Farm, tools: Tools, clip: MakeClip, tmp_path: Path
) -> None:
    """What follows the loss is out of place: that much cannot be mended, but must be said."""
    spec = ClipSpec(container="avi", frames=250, gop=25, bframes=bframes)
    source = clip(f"salvage-avi-{bframes}", spec)
    file = lost(source.path, tmp_path / source.path.name, 0.2, 0.35)
    video = farm.ready(farm.client.upload(file)["id"])
    assert "out_of_place" in {each["code"] for each in video["warnings"]}


def numbers(tools: Tools, video: Video) -> list[int]:
    name, size = LOWEST
    root = video["playback"]["hls"].removesuffix("master.m3u8")
    return numbered.read_numbers(tools, f"{root}1/{name}.m3u8", size)


def assert_names(message: str, times: tuple[float, float] | None) -> None:
    """One range of times, and the right one."""
    found = [float(part) for part in sum(_TIMES.findall(message), ())]
    if times is None:
        assert not found
        return
    begin_minutes, begin, end_minutes, end = found
    assert begin_minutes == end_minutes == 0
    assert abs(begin - times[0]) < NEAR, message
    assert abs(end - times[1]) < NEAR, message


def assert_right(shown: list[int], case: Case) -> None:
    """Every picture away from the damage is in its place; none stands where the film is over."""
    if case.lost is None:
        assert shown == list(range(case.spec.frames))
        return
    begin, end = case.lost
    until = int(begin * RATE)
    assert shown[:until] == list(range(until))
    if end is None:
        assert until <= len(shown) < until + 2 * case.spec.gop
        return
    since = int(end * RATE)
    assert shown[since:] == list(range(since, case.spec.frames))


def test_too_little_to_want_it_is_an_error(
    farm: Farm, tools: Tools, clip: MakeClip, tmp_path: Path
) -> None:
    spec = ClipSpec(frames=250, gop=25, sound=False, more=INDEX_FIRST)
    source = clip("salvage-silent", spec)
    file = zeroed(tools, source.path, tmp_path / "film.mp4", 0.5, 10.0)
    video = farm.ended(farm.client.upload(file)["id"])
    assert video["status"] == "errored", video["warnings"]
    assert video["error"]["code"] == "damaged_media"
    assert "0.5 s" in video["error"]["message"]


def test_sound_is_kept_where_no_picture_can_be_decoded(
    farm: Farm, tools: Tools, clip: MakeClip, tmp_path: Path
) -> None:
    spec = ClipSpec(frames=100, gop=25, more=INDEX_FIRST)
    source = clip("salvage-sound", spec)
    data = bytearray(source.path.read_bytes())
    for packet in packets(tools, source.path, "v:0"):
        data[packet.at : packet.at + packet.size] = bytes(packet.size)
    file = tmp_path / "film.mp4"
    file.write_bytes(data)
    video = farm.ready(farm.client.upload(file)["id"])
    assert [each["code"] for each in video["warnings"]] == ["no_pictures", "picture_left_out"]
    assert [rendition["name"] for rendition in video["renditions"]] == ["audio-0"]
    sound = numbered.read_sound(tools, video["playback"]["hls"])
    assert abs(len(sound) / numbered.SOUND_RATE - 4.0) < 0.1

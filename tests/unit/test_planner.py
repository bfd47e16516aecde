"""Plans: which parts there are, in which order, and which sources are refused."""

from __future__ import annotations

from fractions import Fraction

import pytest

from media.probed import AudioStream, Probe, SubtitleStream, Timing, VideoStream
from transcoder.plan import Plan, ToneMap
from transcoder.planner import PlanLimits, Unplayable, make_plan
from transcoder.profile import load_profile

PROFILE = load_profile()
LIMITS = PlanLimits(max_duration=7200, max_pixels=4096 * 2304, max_streams=20)


def picture(**more: object) -> VideoStream:
    facts = {
        "index": 0,
        "codec": "h264",
        "width": 1920,
        "height": 1080,
        "average_rate": Fraction(25),
        "time_base": Fraction(1, 12800),
        "duration": 60.0,
        "default": True,
    }
    return VideoStream.model_validate(facts | more)


def sound(index: int = 1, **more: object) -> AudioStream:
    facts = {
        "index": index,
        "codec": "aac",
        "channels": 2,
        "sample_rate": 48_000,
        "start": 0.0,
        "duration": 60.0,
    }
    return AudioStream.model_validate(facts | more)


def probe(**more: object) -> Probe:
    facts = {
        "container": "mov",
        "duration": 60.0,
        "start": 0.0,
        "size": 10**7,
        "bit_rate": None,
        "indexed": True,
        "video": (picture(),),
        "audio": (sound(),),
        "timing": Timing(first_picture=Fraction(0), longest_gop=2.0, rate=Fraction(25)),
    }
    return Probe.model_validate(facts | more)


def planned(**more: object) -> Plan:
    return make_plan(probe(**more), PROFILE, limits=LIMITS)


def shape(plan: Plan) -> list[tuple[str, int, int | None]]:
    return [(part.id, part.first, part.count) for part in plan.parts]


def test_a_minute_of_film_in_working_order() -> None:
    plan = planned()
    assert shape(plan) == [
        ("v00000", 0, 50),
        ("a0-head", 0, 93),
        ("v00001", 0, 50),
        ("a0-rest", 93, None),
        ("v00002", 50, 150),
        ("v00003", 200, 300),
        ("v00004", 500, 300),
        ("v00005", 800, 300),
        ("v00006", 1100, 150),
        ("v00007", 1250, 150),
        ("v00008", 1400, None),
        ("pictures", 0, None),
    ]
    assert [lane.tracks for lane in plan.lanes] == [
        ("360p", "240p"),
        ("1080p", "720p", "480p"),
        ("audio-0",),
    ]
    assert plan.lanes[0].parts == ("v00000", *(f"v{n:05}" for n in range(2, 9)))
    assert plan.lanes[1].parts == ("v00001", *(f"v{n:05}" for n in range(2, 9)))
    assert plan.lanes[2].parts == ("a0-head", "a0-rest")
    assert [part.id for part in plan.parts if part.head] == ["v00000", "a0-head"]
    assert [part.id for part in plan.parts if part.stream] == ["a0-rest"]
    assert plan.target_duration == 6
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_a_short_clip_has_heads_only() -> None:
    plan = planned(duration=1.0, video=(picture(duration=1.0),), audio=(sound(duration=1.0),))
    assert shape(plan) == [
        ("v00000", 0, None),
        ("a0-head", 0, None),
        ("v00001", 0, None),
        ("pictures", 0, None),
    ]


@pytest.mark.parametrize(
    ("size", "encoder", "widths"),
    [
        ((1920, 1080), "nvenc", [1920, 1280, 854, 640, 426]),
        # Upright: what is narrower than the device takes is left out.
        ((1080, 1920), "nvenc", [1080, 810, 608, 406, 270, 202]),
        # Too small, and too large.
        ((160, 90), "software", [160]),
        ((128, 240), "software", [128]),
        ((5120, 1440), "software", [5120]),
    ],
)
def test_a_device_gets_the_sizes_that_it_takes(
    size: tuple[int, int], encoder: str, widths: list[int]
) -> None:
    found = probe(video=(picture(width=size[0], height=size[1]),))
    video = make_plan(found, load_profile(), limits=LIMITS, encoder="nvenc").video
    assert video is not None
    assert video.encoder == encoder
    assert [rung.width for rung in video.rungs][: len(widths)] == widths


def test_without_a_length_everything_is_a_stream_from_the_start() -> None:
    plan = planned(duration=None, video=(picture(duration=None),), audio=(sound(duration=None),))
    assert shape(plan) == [("a0-rest", 0, None), ("v00000", 0, None), ("pictures", 0, None)]
    assert plan.parts[0].stream
    assert plan.parts[1].stream
    assert plan.lanes[0].tracks == ("1080p", "720p", "480p", "360p", "240p")


def test_without_a_usable_seek_the_heads_come_first_and_then_one_stream() -> None:
    missing = Timing(
        first_picture=Fraction(0), longest_gop=2.0, rate=Fraction(25), timestamps_missing=True
    )
    plan = planned(timing=missing, audio=())
    assert shape(plan)[:3] == [("v00000", 0, 50), ("v00001", 0, 50), ("v00002", 50, None)]
    assert plan.parts[2].stream


def test_sound_shares_the_zero_of_the_picture() -> None:
    late = Timing(first_picture=Fraction(143, 100), longest_gop=2.0, rate=Fraction(25))
    plan = planned(timing=late, audio=(sound(start=1.2, duration=58.0), sound(2, duration=1.0)))
    assert plan.video is not None
    assert plan.video.zero == Fraction(143, 100)
    (track,) = plan.audio
    assert track.zero == Fraction(143, 100)
    assert track.duration == pytest.approx(57.77)
    assert [code for code, _ in plan.warnings] == ["tracks_left_out"]


def test_sound_alone_becomes_audio_renditions() -> None:
    streams = (sound(0, start=0.5), sound(1, start=0.25, default=True, channels=6, language="fra"))
    plan = planned(video=(), timing=None, audio=streams)
    assert plan.video is None
    assert [part.id for part in plan.parts] == ["a0-head", "a1-head", "a0-rest", "a1-rest"]
    assert [(a.name, a.zero, a.channels, a.default, a.language) for a in plan.audio] == [
        ("audio-0", Fraction(1, 4), 2, False, None),
        ("audio-1", Fraction(1, 4), 2, True, "fra"),
    ]


@pytest.mark.parametrize(
    ("source", "rate", "fragment"),
    [(48_000, 48_000, 93), (44_100, 44_100, 84), (22_050, 44_100, 84), (32_000, 48_000, 93)],
)
def test_sound_keeps_its_family_of_rates(source: int, rate: int, fragment: int) -> None:
    (track,) = planned(audio=(sound(sample_rate=source),)).audio
    assert (track.sample_rate, track.fragment, track.segment) == (rate, fragment, 3 * fragment)
    assert (track.fragment * 1024 * source) % rate == 0


def test_mono_stays_mono() -> None:
    (track,) = planned(audio=(sound(channels=1),)).audio
    assert (track.channels, track.bit_rate) == (1, 64_000)


def test_phones_and_hdr() -> None:
    phone = picture(
        width=3840, height=2160, rotation=90, pixel_format="yuvj420p", color_space="smpte170m"
    )
    video = planned(video=(phone,)).video
    assert video is not None
    assert (video.width, video.height, video.full_range) == (2160, 3840, True)
    hdr = planned(video=(picture(color_transfer="smpte2084"),)).video
    assert hdr is not None
    assert hdr.tone_map is ToneMap.PQ
    wide = planned(video=(picture(width=720, height=576, sample_aspect=Fraction(16, 15)),)).video
    assert wide is not None
    assert (wide.width, wide.height) == (768, 576)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"video": (), "audio": ()}, "no_streams"),
        ({"video": (picture(attached_picture=True),), "audio": ()}, "no_streams"),
        ({"encrypted": True}, "encrypted"),
        ({"duration": 7201.0}, "too_long"),
        ({"duration": 601.0, "size": 30_000}, "implausible_header"),
        ({"video": (picture(frames=30_001),), "size": 30_000}, "implausible_header"),
        ({"video": (picture(frames=7200 * 480 + 1),), "size": 10**9}, "implausible_header"),
        ({"video": (picture(width=8192, height=8192),)}, "too_large"),
        ({"video": (picture(width=1, height=1),), "audio": ()}, "unsupported_media"),
        ({"video": (picture(codec="unknown"),), "audio": ()}, "unsupported_media"),
        ({"subtitles": tuple(SubtitleStream(index=n, codec="x") for n in range(20))}, "too_many"),
    ],
)
def test_what_is_refused_says_why_and_what_to_do(change: dict[str, object], code: str) -> None:
    with pytest.raises(Unplayable) as caught:
        planned(**change)
    assert caught.value.code.startswith(code)
    assert caught.value.message.endswith(".")
    assert caught.value.hint.endswith(".")


def test_a_tiny_picture_beside_sound_is_left_out_with_a_warning() -> None:
    plan = planned(video=(picture(width=1, height=1),))
    assert plan.video is None
    assert plan.audio[0].name == "audio-0"
    assert plan.warnings[0][0] == "picture_left_out"


def test_more_sound_than_the_profile_takes_is_left_out() -> None:
    plan = planned(audio=tuple(sound(n) for n in range(1, 12)))
    assert [track.stream for track in plan.audio] == list(range(1, 9))
    assert plan.warnings == (("tracks_left_out", "The first 8 of 11 sound tracks are used."),)


@pytest.mark.parametrize(
    ("told", "size", "longest"),
    [
        (10.0, 1000, 60.0),  # a small file may hold a minute, whatever it says
        (500.0, 1000, 1000.0),  # what it says is believed, and doubled
        (None, 1_000_000, 2000.0),  # a large one may hold as much as the slimmest film
        (60.0, 10**9, 7200.0),  # but never more than is accepted at all
        (None, None, 7200.0),
    ],
)
def test_a_film_without_end_is_cut_off(
    told: float | None, size: int | None, longest: float
) -> None:
    limits = PlanLimits(max_duration=18_000.0 if longest > 7200 else 7200.0)
    found = probe(duration=told, size=size, video=(picture(duration=told),))
    assert make_plan(found, PROFILE, limits=limits).longest == longest

"""Golden command lines: what ffmpeg is told for each kind of part."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, inf

import pytest

from media.command import Command
from media.probed import Probe
from transcoder.command import (
    AudioCut,
    audio_command,
    audio_cut,
    deadline,
    look_command,
    seek_time,
    video_command,
)
from transcoder.plan import AudioPlan, Part, PartKind, Plan, Rung, ToneMap, VideoPlan

SAFE = {"protocol_whitelist": "http,tcp", "rw_timeout": "15000000"}
URL = "http://store/source?signature=x"
RATE = Fraction(30000, 1001)
CHUNK = Part(id="v00002", kind=PartKind.VIDEO, tracks=("360p", "180p"), first=60, count=180, cost=3)
HEAD = Part(id="v00000", kind=PartKind.VIDEO, tracks=("180p",), count=60, head=True)
LAST = CHUNK.model_copy(update={"first": 240, "count": None})
STREAM = LAST.model_copy(update={"first": 60, "stream": True})
SOUND_HEAD = Part(id="a0-head", kind=PartKind.AUDIO, tracks=("audio-0",), count=93, head=True)
SOUND_REST = Part(id="a0-rest", kind=PartKind.AUDIO, tracks=("audio-0",), first=93, stream=True)


def plan(**more: object) -> Plan:
    rungs = (
        Rung(name="360p", width=640, height=360, crf=23, maxrate=800, bufsize=1200, level="3.0"),
        Rung(name="180p", width=320, height=180, crf=24.5, maxrate=400, bufsize=600, level="1.3"),
    )
    facts = {
        "stream": 2,
        "zero": Fraction(143, 100),
        "rate": RATE,
        "gop": 60,
        "segment": 180,
        "frames": 600,
        "preroll": 0.567,
        "constant_rate": True,
        "width": 1280,
        "height": 720,
        "color_space": "smpte170m",
        "preset": "veryfast",
        "rungs": rungs,
    }
    audio = AudioPlan(
        name="audio-0",
        stream=1,
        zero=Fraction(143, 100),
        language=None,
        channels=2,
        sample_rate=48_000,
        bit_rate=128_000,
        default=True,
        segment=279,
        fragment=93,
        duration=20.0,
    )
    nothing = Probe(container="mov", duration=20, start=0, size=None, bit_rate=None, indexed=True)
    return Plan(
        profile="default",
        probe=nothing,
        target_duration=6,
        checkpoint=5,
        video=VideoPlan.model_validate(facts | more),
        audio=(audio,),
        parts=(),
        lanes=(),
    )


def graph(command: Command) -> str:
    return command.arguments[command.arguments.index("-filter_complex") + 1]


def after(command: Command, option: str) -> str | None:
    arguments = command.arguments
    return arguments[arguments.index(option) + 1] if option in arguments else None


def test_a_chunk() -> None:
    command = video_command(plan(), CHUNK, URL, input_options=SAFE)
    assert " ".join(command.arguments) == (
        "-copyts -noaccurate_seek -protocol_whitelist http,tcp -reinit_filter 0"
        " -rw_timeout 15000000 -seek_timestamp 1 -ss 2.865000 -threads 1"
        " -i http://store/source?signature=x"
        " -filter_complex"
        " [0:2]setpts=round(PTS-(143/100)/TB)[s0];[s0]settb=1/30000[s1];"
        "[s1]fps=fps=30000/1001:start_time=2.002000[s2];"
        "[s2]tpad=stop=-1:stop_mode=clone[s3];[s3]trim=end_frame=180[s4];"
        "[s4]scale=640:360:flags=bicubic:in_color_matrix=bt601:in_range=auto:"
        "out_color_matrix=bt709:out_range=limited[s5];[s5]format=yuv420p[s6];[s6]setsar=1[s7];"
        "[s7]setparams=color_primaries=bt709:color_trc=bt709:colorspace=bt709:"
        "field_mode=prog:range=limited[s8];"
        "[s8]split=2[s9][s10];[s10]scale=320:180:flags=bicubic[s11];[s11]setsar=1[s12]"
        " -map [s9] -f mp4 -avoid_negative_ts disabled -bufsize 1200 -c:v libx264 -crf 23.0"
        " -fflags +bitexact -flags:v +bitexact -fps_mode passthrough -frames:v 180 -g 60"
        " -keyint_min 60 -level:v 3.0 -map_chapters -1 -map_metadata -1 -maxrate 800"
        " -movflags +delay_moov+default_base_moof+skip_trailer+frag_keyframe+frag_discont"
        " -preset veryfast -profile:v high -sc_threshold 0 -stats_enc_pre sink:frames"
        " -stats_enc_pre_fmt {n} {pts} {tb} {ptsi} {tbi} -threads 1"
        " -video_track_timescale 30000 sink:360p"
        " -map [s12] -f mp4 -avoid_negative_ts disabled -bufsize 600 -c:v libx264 -crf 24.5"
        " -fflags +bitexact -flags:v +bitexact -fps_mode passthrough -frames:v 180 -g 60"
        " -keyint_min 60 -level:v 1.3 -map_chapters -1 -map_metadata -1 -maxrate 400"
        " -movflags +delay_moov+default_base_moof+skip_trailer+frag_keyframe+frag_discont"
        " -preset veryfast -profile:v high -sc_threshold 0 -threads 1"
        " -video_track_timescale 30000 sink:180p"
    )
    assert command.sinks == ("frames", "360p", "180p")
    # The pre-roll is decoded as well.
    assert command.deadline > deadline(CHUNK) > 60


def test_the_head_scales_straight_to_its_own_rungs_from_the_start() -> None:
    command = video_command(plan(), HEAD, URL, input_options=SAFE)
    assert command.sinks == ("frames", "180p")
    assert "-ss" not in command.arguments
    assert "[s4]scale=320:180:" in graph(command)
    assert "split" not in graph(command)
    assert after(command, "-threads") == "2"


def test_only_a_head_asks_for_the_processor_like_any_other() -> None:
    pictures = [video_command(plan(), part, URL, input_options=SAFE) for part in (HEAD, CHUNK)]
    assert [command.niceness for command in pictures] == [0, 15]
    sound = [audio_command(plan(), p, URL, input_options=SAFE) for p in (SOUND_HEAD, SOUND_REST)]
    assert [command.niceness for command in sound] == [0, 15]
    assert look_command(plan(), CHUNK, URL, input_options=SAFE, preroll=2.0).niceness == 15


def test_the_last_chunk_ends_with_the_film() -> None:
    command = video_command(plan(), LAST, URL, input_options=SAFE)
    assert "tpad" not in graph(command)
    assert "trim" not in graph(command)
    most = ceil(12 * 3600 * RATE) - LAST.first
    assert after(command, "-frames:v") == str(most), "unless it goes on for ever"


def test_a_stream_that_goes_on_decodes_from_the_start_and_shows_from_there() -> None:
    command = video_command(plan(), STREAM, URL, input_options=SAFE, first=240)
    assert "-ss" not in command.arguments
    assert "start_time=8.008000" in graph(command)


@pytest.mark.parametrize(
    ("first", "preroll", "seek"),
    [
        (0, None, None),
        (60, None, 1.43 + 2.002 - 0.567),
        (60, 1.134, 1.43 + 2.002 - 1.134),
        (60, 5.0, None),
        (60, inf, None),
    ],
)
def test_reading_begins_a_preroll_before_the_chunk(
    first: int, preroll: float | None, seek: float | None
) -> None:
    video = plan().video
    assert video is not None
    assert seek_time(video, first, preroll) == (None if seek is None else pytest.approx(seek))


def test_a_part_without_pictures_can_show_the_last_one_before_it() -> None:
    command = video_command(plan(), CHUNK, URL, input_options={}, fill=True)
    filled = "fps=fps=30000/1001[s2];[s2]tpad=stop=-1:stop_mode=clone[s3];[s3]fps="
    assert filled in graph(command)
    assert filled not in graph(video_command(plan(), CHUNK, URL, input_options={}))
    assert filled not in graph(video_command(plan(), LAST, URL, input_options={}, fill=True))


def test_a_second_look_decodes_as_the_part_did_and_makes_nothing() -> None:
    command = look_command(plan(), CHUNK, URL, input_options=SAFE, preroll=10.0)
    assert not command.sinks
    assert "-debug_ts" in command.arguments
    assert after(command, "-i") == URL
    assert after(command, "-protocol_whitelist") == "http,tcp"
    again = look_command(plan(), LAST, URL, input_options=SAFE, preroll=0.5)
    encoded = video_command(plan(), LAST, URL, input_options=SAFE, preroll=0.5)
    assert after(again, "-ss") == after(encoded, "-ss")
    assert "-frames:v" not in again.arguments


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"deinterlace": True}, "[0:2]bwdif=deint=interlaced:mode=send_frame[s0];"),
        ({"full_range": True}, "in_range=full:"),
        ({"color_space": None}, "in_color_matrix=bt709:"),
        ({"color_space": None, "height": 480}, "in_color_matrix=bt601:"),
        ({"color_space": "bt2020nc"}, "in_color_matrix=bt2020:"),
        ({"nudge": Fraction(1, 240)}, "round(PTS-(1711/1200)/TB)"),
        ({"timeless": True}, "setpts=round(N/(30000/1001)/TB)"),
        ({"tone_map": ToneMap.HLG}, "transferin=arib-std-b67"),
        ({"tone_map": ToneMap.PQ}, "tonemap=mobius:desat=0"),
    ],
)
def test_what_the_source_is_decides_on_filters(change: dict[str, object], told: str) -> None:
    assert told in graph(video_command(plan(**change), CHUNK, URL, input_options={}))


def test_the_head_of_the_sound() -> None:
    command = audio_command(plan(), SOUND_HEAD, URL, input_options=SAFE)
    assert " ".join(command.arguments) == (
        "-copyts -protocol_whitelist http,tcp -rw_timeout 15000000"
        " -i http://store/source?signature=x"
        " -filter_complex"
        " [0:1]aresample=48000,aformat=channel_layouts=stereo:sample_fmts=fltp[even]"
        " -filter_complex [even]asetpts=PTS-(143/100)/TB[s0];"
        "[s0]aresample=48000:async=1:first_pts=0[s1]"
        " -map [s1] -f mp4 -avoid_negative_ts disabled -b:a 128000"
        r" -bsf:a noise=drop=gte(n\,93) -c:a aac -fflags +bitexact -flags:a +bitexact"
        " -frag_duration 1973333 -frames:a 95 -map_chapters -1 -map_metadata -1"
        " -movflags +delay_moov+default_base_moof+skip_trailer"
        " -stats_enc_pre sink:frames -stats_enc_pre_fmt {n} {pts} {tb} {ptsi} {tbi} sink:audio-0"
    )


@pytest.mark.parametrize(("first", "start"), [(None, 0), (93 + 279, 279 * 1024)])
def test_sound_goes_on_one_fragment_early(first: int | None, start: int) -> None:
    command = audio_command(plan(), SOUND_REST, URL, input_options=SAFE, first=first)
    clock = command.arguments[command.arguments.index("-map") - 1]
    end = f"end_sample={12 * 3600 * 48_000}"
    if start:
        assert f"atrim={end}:start_sample={start}[s2];[s2]asetpts=PTS-STARTPTS" in clock
    else:
        assert f"atrim={end}[s2]" in clock
    assert "-frames:a" not in command.arguments
    (track,) = plan().audio
    at = 93 if first is None else first
    assert audio_cut(track, at) == AudioCut(shift=start, drop_until=at * 1024)


def test_names_in_urls_are_no_options() -> None:
    """A source is one argument, whatever is in it."""
    odd = "http://store/a b;c'[x]?y=1&z=-f"
    assert after(video_command(plan(), CHUNK, odd, input_options=SAFE), "-i") == odd

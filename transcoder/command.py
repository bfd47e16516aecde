"""What ffmpeg is told for each part.

Every clause of the recipe is there for something that went wrong without it; see the decision
record on chunked encoding. Each track goes into a pipe of its own as a fragmented MP4 whose decode
times are the film's, so that the parts of one track join without a pass over all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, isinf
from typing import Any, Final

import ffmpeg

from media.command import BACKGROUND, SINK, Command
from transcoder.cost import skipping_cost
from transcoder.encoders import H264, Encoder, encoder_of
from transcoder.filters import device_ladder, ladder, on_grid, uses_device_pictures
from transcoder.plan import AAC_FRAME, AudioPlan, Part, Plan, Rung, VideoPlan

#: The sink that gets a line for every frame given to the first encoder; see transcoder.frames.
FRAMES_SINK: Final = "frames"

#: Time given to the encoder, and the time of the source picture shown, each in its own base.
FRAME_FORMAT: Final = "{n} {pts} {tb} {ptsi} {tbi}"
_WATCH: Final = {"stats_enc_pre": SINK + FRAMES_SINK, "stats_enc_pre_fmt": FRAME_FORMAT}

#: Threads of each codec: one in a chunk, of which every core has its own; two in a film's last
#: chunk, beside which cores fall idle; two in a head, whose decoder, scaler and encoders keep two
#: cores busy by themselves; more where nothing else of the film can run beside.
_CHUNK_THREADS: Final = 1
_LAST_THREADS: Final = 2
_HEAD_THREADS: Final = 2
_LONE_THREADS: Final = 4

#: Seconds a part may take: as many for each second that it is predicted to cost, and some more,
#: so that a source or a storage that stopped answering is found to stall (30 s) long before.
_PATIENCE: Final = 20.0
_START: Final = 60.0

#: Seconds before the planned start at which a seek may land.
_LONGEST_STEP: Final = 12.0

#: Codec to the formats that every device decodes; the rest is left to software, as a device that
#: can not would fail in the middle of a graph that is made for its memory.
_ON_DEVICE: Final = {"h264": ("yuv420p",), "hevc": ("yuv420p", "yuv420p10le")}
_EIGHT: Final = 8

#: AAC frames that the encoder looks ahead at the most.
_LOOK_AHEAD: Final = 2

_MP4: Final = "+delay_moov+default_base_moof+skip_trailer"

#: So that the same frames make the same bytes, in any build and with any title in the source.
_REPRODUCIBLE: Final[dict[str, Any]] = {
    "map_metadata": -1,
    "map_chapters": -1,
    "fflags": "+bitexact",
    "avoid_negative_ts": "disabled",
    "f": "mp4",
}


@dataclass(frozen=True, slots=True)
class AudioCut:
    """How the fragments of an audio run lie in the film; ticks are samples.

    The encoder's first fragment has decode time 0 and belongs at ``shift``. What lies before
    ``drop_until`` is pre-roll, there only to warm the encoder up.
    """

    shift: int
    drop_until: int

    @property
    def frames(self) -> int:
        """AAC frames of pre-roll."""
        return (self.drop_until - self.shift) // AAC_FRAME


def video_command(
    plan: Plan,
    part: Part,
    source: str,
    *,
    input_options: Mapping[str, str],
    first: int | None = None,
    preroll: float | None = None,
    fill: bool = False,
    device: str | None = None,
) -> Command:
    """Encode the rungs of ``part`` into ``sink:RUNG``, and what was shown into ``sink:frames``.

    ``first`` is the frame of the output to go on from, where not all of the part is to be done.
    ``preroll`` replaces the plan's, in seconds; infinity, or one longer than what precedes the
    part, decodes from the start of the source. ``fill`` lets the last picture before the part
    stand in a part that has none. ``device`` names the one to use where the plan's family of
    encoders needs one; without it that family's first is.
    """
    video = _video(plan)
    begin = part.first if first is None else first
    count = None if part.count is None else part.first + part.count - begin
    most = count if count is not None else max(1, ceil(plan.longest * float(video.rate)) - begin)
    threads = _threads(part)
    encoder = encoder_of(video)
    decoding = encoder.decoding() if encoder and decodes_on_device(plan) else {}
    seek = None if part.stream else seek_time(video, begin, preroll)
    opened = ffmpeg.input(
        source, **input_options, **_reading(seek), **decoding, threads=threads, reinit_filter=0
    )
    rungs = tuple(rung for rung in video.rungs if rung.name in part.tracks)
    gridded = on_grid(opened[str(video.stream)], video, begin, count, fill=fill)
    if encoder is None:
        pictures = ladder(gridded, video, rungs)
    else:
        pictures = device_ladder(gridded, video, rungs, encoder, decoded=bool(decoding))
    outputs = [
        ffmpeg.output(
            stream,
            SINK + rung.name,
            **_video_output(video, most),
            **_encoding(video, rung, encoder, threads),
            **(_WATCH if rung is rungs[0] else {}),
        )
        for rung, stream in zip(rungs, pictures, strict=True)
    ]
    arguments = ffmpeg.get_args(ffmpeg.merge_outputs(*outputs))
    patience = video_deadline(plan, part, begin, preroll)
    if encoder is None:
        return Command(tuple(arguments), patience, _niceness(part))
    opening = encoder.global_options(device)
    return Command((*opening, *arguments), patience, _niceness(part), encoder.used(device))


def decodes_on_device(plan: Plan) -> bool:
    """Whether the plan's device decodes as well: what every one of them can, and shows as it is.

    A picture that has to be turned is not: ffmpeg would turn it in the processor's memory. One of
    more than eight bits is only where the device's scaler takes it to eight.
    """
    video = _video(plan)
    encoder = encoder_of(video)
    stream = next((s for s in plan.probe.video if s.index == video.stream), None)
    if encoder is None or not encoder.accel or stream is None or stream.rotation:
        return False
    deep = stream.bit_depth > _EIGHT and "format" not in encoder.scaling
    known = stream.pixel_format in _ON_DEVICE.get(stream.codec, ())
    return known and not deep and uses_device_pictures(video)


def audio_command(
    plan: Plan,
    part: Part,
    source: str,
    *,
    input_options: Mapping[str, str],
    first: int | None = None,
) -> Command:
    """Encode the audio track of ``part`` into ``sink:TRACK``, what was heard into ``sink:frames``.

    ``first`` is the AAC frame to go on from. The source is always decoded from its start: then a
    run that goes on has the very samples of one that was never interrupted, whatever the
    container's clock is worth, and only the encoder has to be warmed up (:func:`audio_cut`).
    """
    audio = audio_plan(plan, part)
    begin = part.first if first is None else first
    cut = audio_cut(audio, begin)
    frames = None if part.count is None else part.first + part.count - begin + cut.frames
    opened = ffmpeg.input(source, **input_options, **_reading(None))
    end = plan.longest if part.count is None else None
    sound = _on_clock(opened[str(audio.stream)], audio, cut.shift, end)
    output = ffmpeg.output(sound, SINK + audio.name, **_WATCH, **_audio_output(audio, frames))
    arguments = _of_one_kind(ffmpeg.get_args(output), audio)
    return Command(arguments, deadline(part), _niceness(part))


def look_command(
    plan: Plan, part: Part, source: str, *, input_options: Mapping[str, str], preroll: float
) -> Command:
    """Decode the pictures of ``part`` and say of each on stderr when it is shown.

    Nothing is encoded, and there is no sink; see :mod:`transcoder.look`.
    """
    video = _video(plan)
    seek = None if part.stream else seek_time(video, part.first, preroll)
    opened = ffmpeg.input(source, **input_options, **_reading(seek), threads=_CHUNK_THREADS)
    limit: dict[str, Any] = {}
    if part.count is not None:
        # Rather too many: a seek may land earlier, and the source may be faster than the output.
        early = part.first if seek is None else (preroll + _LONGEST_STEP) * float(video.rate)
        limit = {"frames:v": 2 * (part.count + ceil(early))}
    listed = {"c:v": "wrapped_avframe", "fps_mode": "passthrough", "enc_time_base": "demux"}
    output = ffmpeg.output(opened[str(video.stream)], "-", **listed, **limit, f="null")
    arguments = ("-v", "repeat+info", "-debug_ts", *ffmpeg.get_args(output))
    patience = video_deadline(plan, part, part.first, preroll)
    return Command(arguments, patience, _niceness(part))


def deadline(part: Part) -> float:
    """Seconds after which a run of ``part`` has failed, on a slow machine with others at work."""
    return _START + _PATIENCE * part.cost


def video_deadline(plan: Plan, part: Part, first: int, preroll: float | None) -> float:
    """The same for pictures from ``first`` on, with all that is decoded to get there."""
    video = _video(plan)
    early = video.preroll if preroll is None else preroll
    skipped = first if part.stream else min(float(first), early * float(video.rate))
    return deadline(part) + _PATIENCE * skipping_cost(video, skipped)


def audio_cut(audio: AudioPlan, first: int) -> AudioCut:
    """How the fragments of a run that goes on from AAC frame ``first`` lie in the film."""
    warm_up = min(audio.fragment, first)
    return AudioCut(shift=(first - warm_up) * AAC_FRAME, drop_until=first * AAC_FRAME)


def audio_plan(plan: Plan, part: Part) -> AudioPlan:
    """The one audio track of a part."""
    return next(audio for audio in plan.audio if audio.name in part.tracks)


def seek_time(video: VideoPlan, first: int, preroll: float | None = None) -> float | None:
    """Where in the source's clock to begin reading; None for its start."""
    early = video.preroll if preroll is None else preroll
    if first == 0 or isinf(early):
        return None
    begin = float(first / video.rate) - early
    return float(video.zero) + begin if begin > 0 else None


def _threads(part: Part) -> int:
    if part.head:
        return _HEAD_THREADS
    if part.stream:
        return _LONE_THREADS
    return _LAST_THREADS if part.count is None else _CHUNK_THREADS


def _niceness(part: Part) -> int:
    return 0 if part.head else BACKGROUND


def _video(plan: Plan) -> VideoPlan:
    assert plan.video is not None
    return plan.video


def _reading(seek: float | None) -> dict[str, Any]:
    if seek is None:
        return {"copyts": None}
    return {"copyts": None, "noaccurate_seek": None, "seek_timestamp": 1, "ss": f"{seek:.6f}"}


def _encoding(
    video: VideoPlan, rung: Rung, encoder: Encoder | None, threads: int
) -> dict[str, Any]:
    if encoder is not None:
        return encoder.encoding(H264, rung, video.gop, video.preset)
    return {
        "c:v": "libx264",
        "preset": video.preset,
        "profile:v": "high",
        "level:v": rung.level,
        "crf": rung.crf,
        "maxrate": rung.maxrate,
        "bufsize": rung.bufsize,
        "g": video.gop,
        "keyint_min": video.gop,
        "sc_threshold": 0,
        "threads": threads,
    }


def _video_output(video: VideoPlan, most: int) -> dict[str, Any]:
    return {
        "frames:v": most,
        "flags:v": "+bitexact",
        "fps_mode": "passthrough",
        "video_track_timescale": video.timescale,
        "movflags": _MP4 + "+frag_keyframe+frag_discont",
        **_REPRODUCIBLE,
    }


def _on_clock(stream: Any, audio: AudioPlan, begin: int, end: float | None) -> Any:
    """The film's samples from ``begin`` on, with silence where the source has none.

    They end ``end`` seconds into the film at the latest.
    """
    stream = stream.filter("asetpts", f"PTS-({audio.zero + _lift(audio)})/TB")
    stream = stream.filter("aresample", audio.sample_rate, **{"async": 1}, first_pts=0)
    limits = {"start_sample": begin} if begin else {}
    if end is not None:
        limits["end_sample"] = ceil(end * audio.sample_rate)
    stream = stream.filter("atrim", **limits) if limits else stream
    return stream.filter("asetpts", "PTS-STARTPTS") if begin else stream


def _of_one_kind(arguments: list[str], audio: AudioPlan) -> tuple[str, ...]:
    """Bring the sound to one rate and layout in a graph of its own, before the one with the clock.

    ffmpeg sets a graph up anew when a broadcast goes from stereo to surround, and the clock would
    begin again with silence up to that time. Graphs can be chained since ffmpeg 7.1, but
    ffmpeg-python knows only one.
    """
    at = arguments.index("-filter_complex") + 1
    source = f"[0:{audio.stream}]"
    layout = "mono" if audio.channels == 1 else "stereo"
    lift = f"asetpts=PTS+{_lift(audio)}/TB," if _lift(audio) else ""
    even = f"{lift}aresample={audio.sample_rate},aformat=channel_layouts={layout}:sample_fmts=fltp"
    clocked = arguments[at].replace(source, "[even]", 1)
    graphs = (f"{source}{even}[even]", "-filter_complex", clocked)
    return (*arguments[:at], *graphs, *arguments[at + 1 :])


def _lift(audio: AudioPlan) -> int:
    """Seconds by which a clock that begins below 0 is ahead between the two graphs.

    What is below 0 there is lost: of a broadcast whose clock starts anew, seconds of sound.
    """
    return ceil(-audio.zero) + 1 if audio.zero < 0 else 0


def _audio_output(audio: AudioPlan, frames: int | None) -> dict[str, Any]:
    # Half a frame short, so that rounding can not add one.
    fragment = (audio.fragment - 0.5) * AAC_FRAME / audio.sample_rate
    # The encoder looks ahead, and flushes frames after the last: it gets more, the rest is dropped.
    limit: dict[str, Any] = {}
    if frames is not None:
        limit = {"frames:a": frames + _LOOK_AHEAD, "bsf:a": f"noise=drop=gte(n\\,{frames})"}
    return limit | {
        "c:a": "aac",
        "b:a": audio.bit_rate,
        "flags:a": "+bitexact",
        "frag_duration": round(fragment * 1_000_000),
        "movflags": _MP4,
        **_REPRODUCIBLE,
    }

"""From a probe and a profile to the plan of a generation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor
from typing import Final

from media.probed import AudioStream, Probe, VideoStream
from transcoder.cost import longest_seconds
from transcoder.encoders import fitting
from transcoder.errors import Unplayable
from transcoder.ladder import ladder
from transcoder.parts import audio_parts, pictures_part, video_parts
from transcoder.plan import AAC_FRAME, SOFTWARE, AudioPlan, Lane, Part, Plan, ToneMap, VideoPlan
from transcoder.profile import AudioProfile, Profile
from transcoder.sources import PlanLimits, Warnings, check, choose, displayed, longest
from transcoder.timeline import (
    frames_in,
    is_cuttable,
    is_timeless,
    output_rate,
    predicted_seconds,
    preroll,
)

__all__ = ["PlanLimits", "Unplayable", "make_plan"]

#: Segments between two receipts of a stream part.
_CHECKPOINT: Final = 5

#: So many AAC frames, at 48 kHz, are a whole number of samples at any rate sound is recorded at,
#: up to 32 kHz included.
_EVEN: Final = 3

#: Containers whose stated length is exact.
_EXACT: Final = frozenset({"mov", "matroska"})


def make_plan(
    probe: Probe, profile: Profile, *, limits: PlanLimits, encoder: str = SOFTWARE
) -> Plan:
    """What is made of the source, its pictures by that family of encoders.

    Raises :class:`Unplayable`, for a person to act on.
    """
    check(probe, limits)
    tracks = choose(probe, limits, profile.audio.max_tracks)
    most = longest_seconds(probe.size, limits.max_duration)
    video = None if tracks.video is None else _video(probe, tracks.video, profile, encoder)
    zero = _first_sound(tracks.audio) if video is None else video.zero
    audio, late = _audio(probe, tracks.audio, profile, zero)
    if video is None and not audio:
        raise Unplayable("no_streams", "No sound is left to play.", "Upload a video with sound.")
    parts, lanes = _parts(probe, profile, video, audio, most)
    return Plan(
        profile=profile.name,
        probe=probe,
        target_duration=_target(video, audio),
        checkpoint=_CHECKPOINT,
        longest=longest(probe, limits),
        video=video,
        audio=audio,
        parts=parts,
        lanes=lanes,
        warnings=(*tracks.warnings, *late),
    )


def _video(probe: Probe, stream: VideoStream, profile: Profile, encoder: str) -> VideoPlan:
    rate = output_rate(stream, probe.timing, profile.video.max_rate)
    width, height = displayed(stream)
    zero = probe.timing.first_picture if probe.timing else _seconds(stream.start or 0.0)
    gop = max(1, round(profile.video.gop * rate.value))
    transfers = {tone.value: tone for tone in ToneMap}
    rungs = ladder(profile.video, width, height, rate.value)
    fit = () if encoder == SOFTWARE else fitting(encoder, rungs)
    return VideoPlan(
        stream=stream.index,
        zero=zero,
        rate=rate.value,
        gop=gop,
        segment=gop * profile.video.gops,
        frames=_frames(probe, stream, zero, rate.value),
        preroll=round(preroll(probe, rate.value), 3),
        constant_rate=rate.constant,
        nudge=rate.nudge,
        timeless=is_timeless(probe),
        width=width,
        height=height,
        deinterlace=stream.interlaced,
        tone_map=transfers.get(stream.color_transfer or ""),
        full_range=stream.color_range == "pc" or (stream.pixel_format or "").startswith("yuvj"),
        color_space=stream.color_space,
        color_primaries=stream.color_primaries,
        color_transfer=stream.color_transfer,
        preset=profile.video.preset,
        encoder=encoder if fit else SOFTWARE,
        rungs=fit or rungs,
    )


def _frames(probe: Probe, stream: VideoStream, zero: Fraction, rate: Fraction) -> int | None:
    """Frames of the film by prediction; a second fewer where the container is vague."""
    seconds = predicted_seconds(probe, stream, zero)
    if seconds is None:
        return None
    vague = 0.0 if probe.container in _EXACT else 1.0
    return max(1, frames_in(max(seconds - vague, 0.0), rate))


def _audio(
    probe: Probe,
    streams: Sequence[AudioStream],
    profile: Profile,
    zero: Fraction,
) -> tuple[tuple[AudioPlan, ...], Warnings]:
    """The sound tracks, but for those that end before the film begins."""
    plans: list[AudioPlan] = []
    warnings: list[tuple[str, str]] = []
    for stream in streams:
        seconds = _sound_seconds(probe, stream, zero)
        if seconds is not None and seconds <= 0:
            text = f"Sound track {stream.index} ends before the picture begins."
            warnings.append(("tracks_left_out", text))
            continue
        name = f"audio-{len(plans)}"
        plans.append(_audio_plan(stream, profile, name, zero, seconds))
    default = next((i for i, p in enumerate(plans) if _is_default(streams, p)), 0)
    marked = (p.model_copy(update={"default": i == default}) for i, p in enumerate(plans))
    return tuple(marked), tuple(warnings)


def _audio_plan(
    stream: AudioStream, profile: Profile, name: str, zero: Fraction, seconds: float | None
) -> AudioPlan:
    rate = 44_100 if stream.sample_rate % 11_025 == 0 else 48_000
    frames = floor(profile.video.gop * rate / AAC_FRAME)
    fragment = max(1, frames // _EVEN * _EVEN or frames)
    return AudioPlan(
        name=name,
        stream=stream.index,
        zero=zero,
        language=stream.language,
        channels=min(stream.channels, 2),
        sample_rate=rate,
        bit_rate=_bit_rate(profile.audio, stream.channels),
        default=False,
        segment=fragment * profile.video.gops,
        fragment=fragment,
        duration=seconds,
    )


def _bit_rate(profile: AudioProfile, channels: int) -> int:
    return profile.mono if channels == 1 else profile.stereo


def _is_default(streams: Sequence[AudioStream], plan: AudioPlan) -> bool:
    return any(stream.index == plan.stream and stream.default for stream in streams)


def _sound_seconds(probe: Probe, stream: AudioStream, zero: Fraction) -> float | None:
    """Seconds of sound from ``zero`` on; None where the container does not tell."""
    if probe.estimated:
        return None
    if stream.duration is not None:
        begin = stream.start if stream.start is not None else probe.start or 0.0
        return begin + stream.duration - float(zero)
    if probe.duration is not None:
        return (probe.start or 0.0) + probe.duration - float(zero)
    return None


def _first_sound(streams: Sequence[AudioStream]) -> Fraction:
    """One zero for all tracks, so that they stay together."""
    return min((_seconds(stream.start or 0.0) for stream in streams), default=Fraction(0))


def _seconds(value: float) -> Fraction:
    return Fraction(value).limit_denominator(1_000_000)


def _parts(
    probe: Probe,
    profile: Profile,
    video: VideoPlan | None,
    audio: Sequence[AudioPlan],
    most: float,
) -> tuple[tuple[Part, ...], tuple[Lane, ...]]:
    """Parts in working order: what a viewer waits for, the sound, the film, the pictures.

    Sound is a fraction of the work, and a player stops where either of the two ends.
    """
    sounds = [audio_parts(track, order, most) for order, track in enumerate(audio)]
    sound_heads = [part for parts in sounds for part in parts if part.head]
    sound_rests = [part for parts in sounds for part in parts if not part.head]
    sound_lanes = [
        Lane(tracks=(track.name,), parts=tuple(part.id for part in parts))
        for track, parts in zip(audio, sounds, strict=True)
    ]
    if video is None:
        return (*sound_heads, *sound_rests), tuple(sound_lanes)
    seconds = video.frames / float(video.rate) if video.frames is not None else None
    cuttable = is_cuttable(probe, seconds, video.preroll, profile.video.chunk_longest / 2)
    heads, rest, lanes = video_parts(video, profile.video, most, cuttable=cuttable)
    parts = (*heads[:1], *sound_heads, *heads[1:], *sound_rests, *rest, pictures_part(video, most))
    return parts, (*lanes, *sound_lanes)


def _target(video: VideoPlan | None, audio: Sequence[AudioPlan]) -> int:
    """RFC 8216, 4.3.3.1: no segment's duration, rounded to the nearest second, is longer."""
    lengths = [track.segment * AAC_FRAME / track.sample_rate for track in audio]
    if video is not None:
        lengths.append(video.segment / float(video.rate))
    return max(1, *(floor(length + 0.5) for length in lengths))

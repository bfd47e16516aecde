"""Which tracks of a source are used, and which sources are refused. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import inf
from typing import Final

from media.probed import AudioStream, Probe, VideoStream
from transcoder.errors import Unplayable

#: Shorter sides are no picture: H.264 codes blocks of 16 × 16.
SMALLEST: Final = 16

#: Wider pixels than any camera's or disc's are a mistake in the header; players ignore them.
_ODDEST_PIXEL: Final = Fraction(8)

#: Bits per second below which nobody's film is that says how long it lasts (a picture that stays
#: takes as much), and that does not.
_SPARSEST: Final = 500
_SPARSEST_UNTOLD: Final = 4000

#: Seconds that a file, however small, may say it lasts, and for which it may go on without saying.
_TOLD_FREELY: Final = 600.0
_GIVEN_FREELY: Final = 60.0

#: Pictures a second of the fastest cameras that films are uploaded from.
_FASTEST: Final = 480

_UPLOAD: Final = "Upload a video such as MP4, MOV, MKV, WebM or TS."

Warnings = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """What a source may be at most: seconds, pixels of a picture, tracks."""

    max_duration: float = 12 * 3600.0
    max_pixels: int = 8192 * 4352
    max_streams: int = 64


@dataclass(frozen=True, slots=True)
class Tracks:
    """The tracks that are used, and what is to be said about the others."""

    video: VideoStream | None
    audio: tuple[AudioStream, ...]
    warnings: Warnings


def check(probe: Probe, limits: PlanLimits) -> None:
    """Raise :class:`Unplayable` for a source that is refused as a whole."""
    if probe.encrypted:
        raise Unplayable(
            "encrypted", "The file is encrypted.", "Upload a version without copy protection."
        )
    count = len(probe.video) + len(probe.audio) + len(probe.subtitles)
    if count > limits.max_streams:
        raise Unplayable(
            "too_many_streams",
            f"The file has {count} tracks; {limits.max_streams} is the limit.",
            "Export it with the tracks that are needed.",
        )
    if probe.duration is not None and not probe.estimated and probe.duration > limits.max_duration:
        raise Unplayable(
            "too_long",
            f"The film lasts {probe.duration:.0f} s; {limits.max_duration:.0f} s is the limit.",
            "Upload it in shorter parts, or raise the limit in the farm's settings.",
        )
    if (claim := _impossible(probe, limits)) is not None:
        raise Unplayable(
            "implausible_header",
            f"The file says that it {claim}, but its {probe.size} bytes cannot.",
            "The file may be damaged: play it locally, repair or re-export it.",
        )


def longest(probe: Probe, limits: PlanLimits) -> float:
    """Seconds after which a film is cut off, whatever its end is said to be.

    A header may say one second and a picture's time eleven hours, which would be filled with a
    million repetitions of the picture before.
    """
    told = 0.0 if probe.estimated or probe.duration is None else 2 * probe.duration
    return min(limits.max_duration, max(_GIVEN_FREELY, told, _held(probe, _SPARSEST_UNTOLD)))


def _impossible(probe: Probe, limits: PlanLimits) -> str | None:
    """What the header claims though it cannot be so; None where it may be.

    An index of gigabytes for pictures that are not there is filled in before the first is missed.
    """
    pictures = max((stream.frames or 0 for stream in probe.video), default=0)
    if probe.size is not None and pictures > min(probe.size, limits.max_duration * _FASTEST):
        return f"holds {pictures} pictures"
    told = None if probe.estimated else probe.duration
    if told is not None and told > max(_TOLD_FREELY, _held(probe, _SPARSEST)):
        return f"lasts {told:.0f} s"
    return None


def _held(probe: Probe, sparsest: int) -> float:
    """Seconds that a file of this size may hold; no end of them where its size is unknown."""
    return inf if probe.size is None else probe.size * 8 / sparsest


def choose(probe: Probe, limits: PlanLimits, max_tracks: int) -> Tracks:
    """The picture track and the sound tracks. Raises :class:`Unplayable` where there is none."""
    warnings: list[tuple[str, str]] = []
    sounds = tuple(sound for sound in probe.audio if sound.codec != "unknown")
    picture = probe.main_video
    if picture is not None and (fault := _fault(picture, limits)) is not None:
        if not sounds or fault.code == "too_large":
            raise fault
        warnings.append(("picture_left_out", f"{fault.message} The sound is kept."))
        picture = None
    if picture is None and not sounds:
        raise Unplayable("no_streams", "The file has neither a film nor sound to play.", _UPLOAD)
    films = [video for video in probe.video if not video.attached_picture]
    if picture is not None and len(films) > 1:
        warnings.append(("tracks_left_out", f"One of {len(films)} picture tracks is used."))
    if (silent := len(probe.audio) - len(sounds)) > 0:
        warnings.append(("tracks_left_out", f"{silent} sound tracks are of an unknown kind."))
    if probe.undecodable > 0:
        warnings.append(("tracks_left_out", f"{probe.undecodable} damaged tracks are left out."))
    if len(sounds) > max_tracks:
        text = f"The first {max_tracks} of {len(sounds)} sound tracks are used."
        warnings.append(("tracks_left_out", text))
    if probe.subtitles:
        text = f"{len(probe.subtitles)} subtitle tracks are not converted."
        warnings.append(("subtitles_left_out", text))
    return Tracks(picture, sounds[:max_tracks], tuple(warnings))


def displayed(stream: VideoStream) -> tuple[int, int]:
    """Width and height in square pixels, upright."""
    aspect = stream.sample_aspect
    if not 1 / _ODDEST_PIXEL <= aspect <= _ODDEST_PIXEL:
        aspect = Fraction(1)
    width = int(stream.width * aspect + Fraction(1, 2))
    return (stream.height, width) if stream.rotation in (90, 270) else (width, stream.height)


def _fault(stream: VideoStream, limits: PlanLimits) -> Unplayable | None:
    width, height = displayed(stream)
    size = f"{stream.width}x{stream.height}"
    if stream.codec == "unknown":
        return Unplayable("unsupported_media", "The picture is of an unknown kind.", _UPLOAD)
    if min(width, height, stream.width, stream.height) < SMALLEST:
        text = f"The picture of {size} is smaller than {SMALLEST}x{SMALLEST}."
        return Unplayable("unsupported_media", text, _UPLOAD)
    if max(width * height, stream.width * stream.height) > limits.max_pixels:
        return Unplayable(
            "too_large",
            f"The picture of {size} has more than {limits.max_pixels} pixels.",
            "Upload a smaller version, or raise the limit in the farm's settings.",
        )
    return None

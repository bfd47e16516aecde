"""The fixed ladder that people copy, and its ffmpeg command.

The table is that of H.264 in Apple's HLS Authoring Specification for Apple Devices.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

import ffmpeg

from media.command import SINK
from media.safety import input_mapping
from transcoder.filters import ladder, on_grid
from transcoder.ladder import level
from transcoder.plan import Rung, VideoPlan

#: Width and height of 16:9, and kbit/s.
APPLE: Final = (
    (1920, 1080, 7800),
    (1920, 1080, 6000),
    (1280, 720, 4500),
    (1280, 720, 3000),
    (960, 540, 2000),
    (768, 432, 1100),
    (768, 432, 730),
    (640, 360, 365),
    (416, 234, 145),
)

#: Of the average rate, as encoders are usually told.
_PEAK: Final = Fraction(3, 2)
_BUFFER: Final = 2


def fixed_rungs(video: VideoPlan) -> tuple[Rung, ...]:
    """The rungs that are not larger than the film, each fitted into its box, largest first."""
    return tuple(
        _rung(video, wide, high, kbits)
        for wide, high, kbits in APPLE
        if min(Fraction(wide, video.width), Fraction(high, video.height)) <= 1
    )


def fixed_command(video: VideoPlan, source: str, count: int) -> tuple[str, ...]:
    """One ffmpeg for all of them over the first ``count`` frames, as ``sink:NAME``.

    Decoded once and scaled down the ladder in the farm's own graph, with the farm's preset, key
    frames and container, but by average rate (``-b:v``) in one pass.
    """
    rungs = fixed_rungs(video)
    opened = ffmpeg.input(source, **input_mapping(source), copyts=None, threads=1)
    pictures = ladder(on_grid(opened[str(video.stream)], video, 0, count), video, rungs)
    outputs = [
        ffmpeg.output(stream, SINK + rung.name, **_encoder(video, rung, count))
        for rung, stream in zip(rungs, pictures, strict=True)
    ]
    return tuple(ffmpeg.get_args(ffmpeg.merge_outputs(*outputs)))


def _rung(video: VideoPlan, wide: int, high: int, kbits: int) -> Rung:
    share = min(Fraction(wide, video.width), Fraction(high, video.height))
    width, height = (max(2, round(side * share / 2) * 2) for side in (video.width, video.height))
    rate = kbits * 1000
    maxrate, bufsize = int(rate * _PEAK), rate * _BUFFER
    return Rung(
        name=f"{width}x{height}-{kbits}k",
        width=width,
        height=height,
        crf=0,
        maxrate=maxrate,
        bufsize=bufsize,
        level=level(width, height, video.rate, maxrate),
    )


def _encoder(video: VideoPlan, rung: Rung, count: int) -> dict[str, Any]:
    return {
        "frames:v": count,
        "c:v": "libx264",
        "preset": video.preset,
        "profile:v": "high",
        "level:v": rung.level,
        "b:v": int(rung.maxrate / _PEAK),
        "maxrate": rung.maxrate,
        "bufsize": rung.bufsize,
        "g": video.gop,
        "keyint_min": video.gop,
        "sc_threshold": 0,
        "threads": 1,
        "fps_mode": "passthrough",
        "video_track_timescale": video.timescale,
        "movflags": "+delay_moov+default_base_moof+skip_trailer+frag_keyframe+frag_discont",
        "map_metadata": -1,
        "map_chapters": -1,
        "fflags": "+bitexact",
        "avoid_negative_ts": "disabled",
        "f": "mp4",
    }

"""How long parts take on one core, roughly: for deadlines, back-pressure and scaling. Pure.

Measured with x264 ``veryfast`` on one core of a 2024 server; wrong by a factor of two either way,
which is good enough to tell a minute from an hour.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from transcoder.plan import Rung, VideoPlan

#: Pixels a second of one core: x264 with the scaling before it, decoding, HDR to SDR.
_ENCODE: Final = 90e6
_DECODE: Final = 300e6
_TONE_MAP: Final = 20e6
_DEINTERLACE: Final = 120e6

#: Seconds of a part that is in no plan and makes nothing, such as the removal of a video.
UNPLANNED_COST: Final = 1.0

#: Seconds that a look at a source counts for: nobody knows yet how long the film behind it is, but
#: there is one, and who begins to scale only once its plan is written begins late.
LOOK_COST: Final = 60.0

#: Seconds to start ffmpeg and to open the source.
_START: Final = 0.5

#: Seconds of sound encoded in one second.
_SOUND: Final = 60.0

#: By how much other presets of x264 are slower than ``veryfast``.
_PRESETS: Final = {
    "ultrafast": 0.4,
    "superfast": 0.6,
    "veryfast": 1.0,
    "faster": 1.7,
    "fast": 2.3,
    "medium": 2.8,
    "slow": 4.5,
    "slower": 9.0,
    "veryslow": 18.0,
}

#: Bits a second that a film without any stated length is taken to have, to be on the long side.
_SLIM: Final = 250_000


def video_cost(video: VideoPlan, rungs: Iterable[Rung], frames: float, skipped: float) -> float:
    """Seconds for ``frames`` encoded and as many ``skipped`` ones decoded before them."""
    sizes = [rung.width * rung.height for rung in rungs]
    source = video.width * video.height
    each = sum(sizes) * _PRESETS[video.preset] / _ENCODE + source / _DECODE
    each += max(sizes) / _TONE_MAP if video.tone_map else 0.0
    each += source / _DEINTERLACE if video.deinterlace else 0.0
    return _START + frames * each + skipping_cost(video, skipped)


def skipping_cost(video: VideoPlan, frames: float) -> float:
    """Seconds for ``frames`` that are decoded and thrown away."""
    return frames * video.width * video.height / _DECODE


def audio_cost(seconds: float) -> float:
    """Seconds for so many seconds of sound."""
    return _START + seconds / _SOUND


def longest_seconds(size: int | None, most: float) -> float:
    """Seconds that a film of ``size`` bytes, of unknown length, may last; ``most`` at the most."""
    return min(size * 8 / _SLIM, most) if size is not None else most

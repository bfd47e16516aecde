"""Which rungs a source gets, and how large they are. Pure."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Final

from transcoder.plan import Rung
from transcoder.profile import RungProfile, VideoProfile

#: Frames a second from which a rung gets half as much again.
_FAST: Final = 31

#: ITU-T H.264, table A-1: level, macroblocks a second, macroblocks of a frame, and kbit/s of
#: High Profile (1.25 times the table's). The largest side is sqrt(8 × macroblocks), A.3.1.
_LEVELS: Final = (
    ("1.0", 1_485, 99, 80),
    ("1.1", 3_000, 396, 240),
    ("1.2", 6_000, 396, 480),
    ("1.3", 11_880, 396, 960),
    ("2.0", 11_880, 396, 2_500),
    ("2.1", 19_800, 792, 5_000),
    ("2.2", 20_250, 1_620, 5_000),
    ("3.0", 40_500, 1_620, 12_500),
    ("3.1", 108_000, 3_600, 17_500),
    ("3.2", 216_000, 5_120, 25_000),
    ("4.0", 245_760, 8_192, 25_000),
    ("4.1", 245_760, 8_192, 62_500),
    ("4.2", 522_240, 8_704, 62_500),
    ("5.0", 589_824, 22_080, 168_750),
    ("5.1", 983_040, 36_864, 300_000),
    ("5.2", 2_073_600, 36_864, 300_000),
    ("6.0", 4_177_920, 139_264, 300_000),
    ("6.1", 8_355_840, 139_264, 600_000),
    ("6.2", 16_711_680, 139_264, 1_000_000),
)


def ladder(profile: VideoProfile, width: int, height: int, rate: Fraction) -> tuple[Rung, ...]:
    """Rungs of a film displayed at ``width`` × ``height``, largest first; never larger than it.

    Sizes are even, as 4:2:0 wants them. A source lower than every rung gets one rung of its own
    size, with the rates of the lowest.
    """
    fitting = [rung for rung in profile.rungs if rung.height <= height]
    if not fitting:
        lowest = min(profile.rungs, key=lambda rung: rung.height)
        fitting = [lowest.model_copy(update={"height": max(height // 2 * 2, 2)})]
    ordered = sorted(fitting, key=lambda rung: -rung.height)
    return tuple(_rung(rung, width, height, rate) for rung in ordered)


def level(width: int, height: int, rate: Fraction, maxrate: int) -> str:
    """The lowest level of H.264 that allows it; the highest there is where none does."""
    across, down = ceil(width / 16), ceil(height / 16)
    size = across * down
    for name, most_speed, most_size, most_kbits in _LEVELS:
        large = size > most_size or max(across, down) ** 2 > 8 * most_size
        if not (large or size * rate > most_speed or maxrate > most_kbits * 1000):
            return name
    return _LEVELS[-1][0]


def _rung(rung: RungProfile, width: int, height: int, rate: Fraction) -> Rung:
    scaled = min(_even(Fraction(width * rung.height, height)), width // 2 * 2)
    wide = max(scaled, 2)
    extra = Fraction(3, 2) if rate > _FAST else Fraction(1)
    maxrate, bufsize = int(rung.maxrate * extra), int(rung.bufsize * extra)
    return Rung(
        name=f"{rung.height}p",
        width=wide,
        height=rung.height,
        crf=rung.crf,
        maxrate=maxrate,
        bufsize=bufsize,
        level=level(wide, rung.height, rate, maxrate),
    )


def _even(value: Fraction) -> int:
    """The nearest even number, halves upwards."""
    return int(value / 2 + Fraction(1, 2)) * 2

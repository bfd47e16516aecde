"""Which rungs a source gets, and how large they are. Pure."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Final

from transcoder.plan import Rung
from transcoder.profile import RungProfile, VideoProfile

#: Frames a second from which a rung gets half as much again.
_FAST: Final = 31

#: How much taller than its highest rung a source is at least that gets one of its own size, and
#: the share of that size from which on that rung is left out.
_NEAR: Final = Fraction(11, 10)
_APART: Final = Fraction(4, 5)

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
    size, with the rates of the lowest. Where the profile wants it (``own_size``), so does a source
    that lies well above the highest rung it has lines for, with the rates of the rung above.
    The first may be better than it is as one of many: nothing above it makes up for what it lacks.
    """
    ordered = sorted(profile.rungs, key=lambda rung: -rung.height)
    fitting = [rung for rung in ordered if rung.height <= height]
    own = max(height // 2 * 2, 2)
    if not fitting:
        fitting = [ordered[-1].model_copy(update={"height": own})]
    elif profile.own_size and len(fitting) < len(ordered) and own > fitting[0].height * _NEAR:
        above = ordered[-len(fitting) - 1].model_copy(update={"height": own})
        fitting = [above, *_apart(own, fitting)]
    highest = fitting[0]
    if highest.best_crf is not None:
        fitting[0] = highest.model_copy(update={"crf": highest.best_crf})
    return tuple(_rung(rung, width, height, rate) for rung in fitting)


def level(width: int, height: int, rate: Fraction, maxrate: int) -> str:
    """The lowest level of H.264 that allows it; the highest there is where none does."""
    across, down = ceil(width / 16), ceil(height / 16)
    size = across * down
    for name, most_speed, most_size, most_kbits in _LEVELS:
        large = size > most_size or max(across, down) ** 2 > 8 * most_size
        if not (large or size * rate > most_speed or maxrate > most_kbits * 1000):
            return name
    return _LEVELS[-1][0]


def _apart(own: int, below: list[RungProfile]) -> list[RungProfile]:
    """Those to keep below a rung of ``own`` lines: two nearly alike are dear, and serve nobody.

    The lowest stays, for poor connections.
    """
    return below if len(below) == 1 or below[0].height <= own * _APART else below[1:]


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

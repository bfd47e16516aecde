"""Reads single fields of ffprobe's. Any of them may be missing, ``N/A`` or nonsense."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, Final

#: What ffprobe writes fits 64 bits; a longer number is nonsense.
_DIGITS: Final = 20

_CLOCK: Final = re.compile(r"(\d{1,4}):(\d\d):(\d\d(?:\.\d{1,12})?)")
_TEXT: Final = 200


def number(value: Any) -> float | None:
    """A finite number, from a number or a string."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def integer(value: Any) -> int | None:
    """A whole number, from a number or a string."""
    written = str(value)
    try:
        return int(written) if len(written) <= _DIGITS else None
    except ValueError:
        return None


def fraction(value: Any) -> Fraction | None:
    """A positive fraction written ``30000/1001`` or ``16:15``; None for ``0/0`` and ``0:1``."""
    above, mark, below = str(value).replace(":", "/").partition("/")
    numerator, denominator = integer(above), integer(below) if mark else 1
    if not numerator or not denominator:
        return None
    found = Fraction(numerator, denominator)
    return found if found > 0 else None


def text(value: Any) -> str | None:
    """A short string; None for an empty, missing or ``unknown`` one."""
    if not isinstance(value, str) or value in ("", "unknown", "N/A", "reserved"):
        return None
    return value[:_TEXT]


def clock(value: Any) -> float | None:
    """Seconds of a Matroska ``DURATION`` tag, such as ``00:00:01.139000000``."""
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])


def mapping(value: Any) -> dict[str, Any]:
    """``value`` where it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def mappings(value: Any) -> tuple[dict[str, Any], ...]:
    """The objects of a list; none where it is no list."""
    return tuple(v for v in value if isinstance(v, dict)) if isinstance(value, list) else ()

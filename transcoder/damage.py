"""From when to when something of a film is missing or spoilt. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from transcoder.plan import Frozen

#: Seconds between two damaged spots that are taken for one: to the viewer it is one.
_ONE: Final = 1.0


class Medium(StrEnum):
    """What a viewer misses."""

    PICTURES = "pictures"
    SOUND = "sound"


class Damage(Frozen):
    """From when to when something is damaged or missing, in seconds of the film."""

    medium: Medium
    begin: float
    end: float


def merged(damage: Iterable[Damage], gap: float = _ONE) -> tuple[Damage, ...]:
    """The same in order, with spots that are at most ``gap`` seconds apart as one."""
    spots: list[Damage] = []
    for each in sorted(damage, key=lambda spot: (spot.begin, spot.end)):
        if spots and each.begin - spots[-1].end <= gap:
            end = max(each.end, spots[-1].end)
            spots[-1] = spots[-1].model_copy(update={"end": end})
        else:
            spots.append(each)
    return tuple(spots)

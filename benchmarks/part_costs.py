"""What each part cost beside its ffmpeg, read from a farm's log at level ``debug``. Pure.

A part lasts from the moment its message was fetched to the moment it was acknowledged. Of that,
the time in which a media process of it ran is the work; all else is the farm's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from transcoder.plan import Part, PartKind


@dataclass(frozen=True, slots=True)
class PartCost:
    """Seconds, and bytes of memory at the most."""

    part: str
    #: What sort of part it is; see :func:`kinds`.
    kind: str
    #: From fetched to acknowledged.
    seconds: float
    #: While at least one media process ran.
    media: float
    processes: int
    #: Of its largest media process.
    max_rss: int

    @property
    def own(self) -> float:
        """The farm's share."""
        return self.seconds - self.media

    @property
    def share(self) -> float:
        """Of the whole, that the farm's is."""
        return self.own / self.seconds if self.seconds else 0.0


def kinds(parts: Iterable[Part]) -> dict[str, str]:
    """What sort each part of a plan is, by its name."""
    return {part.id: _kind(part) for part in parts}


def _kind(part: Part) -> str:
    match part.kind:
        case PartKind.VIDEO:
            return "head" if part.head else "chunk"
        case PartKind.AUDIO:
            return "sound's head" if part.head else "sound"
        case other:
            return str(other.value)


def part_costs(
    lines: Iterable[Mapping[str, Any]], launch: float, kind_of: Mapping[str, str]
) -> list[PartCost]:
    """One for each message that was worked on, in order of their ends.

    ``lines`` are the log's, of one video; ``launch`` is how long a media process takes to become
    the program, in seconds: that is the farm's own time, too. A part without a kind is called by
    its name.
    """
    running: dict[str, list[tuple[float, float, int]]] = {}
    found = []
    for line in lines:
        part = line.get("part", "")
        if line["event"] == "process_ended":
            end = datetime.fromisoformat(line["timestamp"]).timestamp()
            began = end - max(line["seconds"] - launch, 0.0)
            running.setdefault(part, []).append((began, end, line["max_rss"]))
        elif line["event"] == "slot_freed":
            runs = running.pop(part, [])
            media = covered([(began, end) for began, end, _ in runs])
            rss = max((rss for _, _, rss in runs), default=0)
            kind = kind_of.get(part, part)
            found.append(PartCost(part, kind, line["seconds"], media, len(runs), rss))
    return found


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """Seconds within at least one of the spans."""
    total, reached = 0.0, float("-inf")
    for began, end in sorted(spans):
        total += max(0.0, end - max(began, reached))
        reached = max(reached, end)
    return total

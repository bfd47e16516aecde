"""Reads what ``-progress`` writes: blocks of ``key=value`` lines, each ended by ``progress=``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: No line of a block is near that long.
_LINE: Final = 4096


@dataclass(frozen=True, slots=True)
class Progress:
    """One report of ffmpeg's."""

    frame: int = 0
    #: Seconds of the furthest output; None before there is any.
    out_time: float | None = None
    #: Seconds of film per second of wall time; None before ffmpeg knows.
    speed: float | None = None
    duplicated: int = 0
    dropped: int = 0
    done: bool = False


class ProgressReader:
    """A sink for ``-progress``; calls back once per block."""

    def __init__(self, on_progress: Callable[[Progress], None] | None = None) -> None:
        self._on_progress = on_progress
        self._partial = b""
        self._fields: dict[str, str] = {}
        self.latest = Progress()

    @property
    def position(self) -> tuple[int, float | None]:
        """Changes as long as ffmpeg gets on."""
        return self.latest.frame, self.latest.out_time

    def feed(self, data: bytes) -> None:
        """Takes any piece of the stream."""
        *lines, rest = (self._partial + data).split(b"\n")
        self._partial = rest[:_LINE]
        for line in lines:
            key, _, value = line.decode("ascii", "replace").partition("=")
            self._fields[key.strip()] = value.strip()
            if key.strip() == "progress":
                self._report()

    def _report(self) -> None:
        self.latest = parse_block(self._fields)
        self._fields = {}
        if self._on_progress is not None:
            self._on_progress(self.latest)


def parse_block(fields: dict[str, str]) -> Progress:
    """One block; whatever is missing or N/A is left at its default."""
    microseconds = _number(fields.get("out_time_us", ""))
    return Progress(
        frame=int(_number(fields.get("frame", "")) or 0),
        out_time=None if microseconds is None else microseconds / 1_000_000,
        speed=_number(fields.get("speed", "").removesuffix("x")),
        duplicated=int(_number(fields.get("dup_frames", "")) or 0),
        dropped=int(_number(fields.get("drop_frames", "")) or 0),
        done=fields.get("progress") == "end",
    )


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None

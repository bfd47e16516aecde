"""Storyboards: which pictures, in which tile of which sheet, for which seconds of the film.

A sheet is a JPEG of ``COLUMNS`` by ``ROWS`` tiles in reading order. The WebVTT file points into
the sheets with media fragments (W3C Media Fragments URI, 4.2.2); the JSON twin says the same to
players that do not speak WebVTT. The sheets are all of one size, as DASH's tiled thumbnails want.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Final

from PIL import Image

#: Tiles of a full sheet; small sheets arrive soon after a viewer begins to scrub.
COLUMNS: Final = 5
ROWS: Final = 5

#: Pixels a tile fits into.
TILE_WIDTH: Final = 240
TILE_HEIGHT: Final = 180

#: Tiles of a whole storyboard, and seconds between two of them, at least.
MAX_TILES: Final = 180
MIN_INTERVAL: Final = 1

#: A remainder shorter than this many seconds gets no tile of its own.
_SLIVER: Final = Fraction(1, 5)

_QUALITY: Final = 75


@dataclass(frozen=True, slots=True)
class Layout:
    """Where every tile goes. Sizes in pixels, times in seconds."""

    tile_width: int
    tile_height: int
    columns: int
    rows: int
    interval: Fraction
    duration: Fraction
    tiles: int

    @property
    def sheets(self) -> int:
        """How many sheets there are."""
        return ceil(self.tiles / (self.columns * self.rows))

    def place(self, tile: int) -> tuple[int, int, int]:
        """The sheet of a tile, and its left and upper edge there."""
        sheet, within = divmod(tile, self.columns * self.rows)
        row, column = divmod(within, self.columns)
        return sheet, column * self.tile_width, row * self.tile_height

    def bucket(self, seconds: Fraction) -> int:
        """The tile whose stretch of the film contains a moment; the nearest one outside."""
        return min(max(int(seconds // self.interval), 0), self.tiles - 1)


def interval_for(duration: Fraction) -> Fraction:
    """Whole seconds from tile to tile, so that there are not too many."""
    return Fraction(max(MIN_INTERVAL, ceil(duration / MAX_TILES)))


def layout_for(width: int, height: int, duration: Fraction, interval: Fraction) -> Layout:
    """The layout for a film of that displayed size. A film of no length has one tile."""
    tile_width, tile_height = fitted(width, height, TILE_WIDTH, TILE_HEIGHT)
    tiles = max(1, ceil((duration - _SLIVER) / interval))
    return Layout(
        tile_width=tile_width,
        tile_height=tile_height,
        columns=min(COLUMNS, tiles),
        rows=min(ROWS, ceil(tiles / COLUMNS)),
        interval=interval,
        duration=duration,
        tiles=tiles,
    )


def fitted(width: int, height: int, max_width: int, max_height: int) -> tuple[int, int]:
    """The largest size of the same aspect within the limits, never larger than the original."""
    scale = min(Fraction(max_width, width), Fraction(max_height, height), Fraction(1))
    return max(1, round(width * scale)), max(1, round(height * scale))


def filled(pictures: Mapping[int, bytes], layout: Layout) -> list[bytes]:
    """A picture for every tile: its own, else the one before it, else the first there is.

    ``pictures`` are raw RGB by tile number, and at least one.
    """
    made: list[bytes] = []
    latest = pictures[min(pictures)]
    for tile in range(layout.tiles):
        latest = pictures.get(tile, latest)
        made.append(latest)
    return made


def compose(tiles: Sequence[bytes], layout: Layout) -> list[bytes]:
    """The sheets as JPEG, from raw RGB tiles in order."""
    size = (layout.tile_width * layout.columns, layout.tile_height * layout.rows)
    sheets = [Image.new("RGB", size) for _ in range(layout.sheets)]
    for number, data in enumerate(tiles):
        sheet, x, y = layout.place(number)
        tile = Image.frombytes("RGB", (layout.tile_width, layout.tile_height), data)
        sheets[sheet].paste(tile, (x, y))
    return [jpeg(sheet, _QUALITY) for sheet in sheets]


def jpeg(image: Image.Image, quality: int) -> bytes:
    """The image as a progressive JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
    return buffer.getvalue()


def webvtt(layout: Layout) -> str:
    """One cue for each tile; the last one reaches the end of the film."""
    lines = ["WEBVTT", ""]
    for tile in range(layout.tiles):
        start, end = _stretch(layout, tile)
        sheet, x, y = layout.place(tile)
        box = f"{x},{y},{layout.tile_width},{layout.tile_height}"
        lines += [f"{_clock(start)} --> {_clock(end)}", f"storyboard_{sheet}.jpg#xywh={box}", ""]
    return "\n".join(lines)


def storyboard_json(layout: Layout) -> str:
    """The same as the WebVTT file, for players that want JSON."""
    tiles = []
    for tile in range(layout.tiles):
        sheet, x, y = layout.place(tile)
        start = float(_stretch(layout, tile)[0])
        tiles.append({"start": start, "sheet": f"storyboard_{sheet}.jpg", "x": x, "y": y})
    document = {
        "duration": float(layout.duration),
        "interval": float(layout.interval),
        "tile_width": layout.tile_width,
        "tile_height": layout.tile_height,
        "columns": layout.columns,
        "rows": layout.rows,
        "tiles": tiles,
    }
    return json.dumps(document, indent=1) + "\n"


def _stretch(layout: Layout, tile: int) -> tuple[Fraction, Fraction]:
    start = tile * layout.interval
    is_last = tile == layout.tiles - 1
    return start, max(layout.duration, start + Fraction(1, 1000)) if is_last else (
        start + layout.interval
    )


def _clock(seconds: Fraction) -> str:
    """A WebVTT timestamp."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}.{milliseconds % 1000:03}"

"""Choosing a poster: the picture that shows most, among a few spread over the film.

Black, blank, faded and blurred pictures score low: little spread of brightness, few grey levels,
no edges. Of two equally good ones, the one that is not the film's first or last wins, since those
are titles and fades.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageFilter, ImageStat

from thumbnailer.storyboard import jpeg

#: Pixels a poster fits into.
MAX_SIDE: Final = 1280

#: Pictures to choose from.
CANDIDATES: Final = 12

_QUALITY: Final = 85
_ANALYSED: Final = (320, 320)

#: Mean brightness (0 to 255) outside of which a picture counts as too dark or too bright.
_DARK: Final = 40.0
_BRIGHT: Final = 215.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture, its score, and its seconds into the film."""

    image: Image.Image
    score: float


def score(image: Image.Image) -> float:
    """How much there is to see, from 0 for a blank picture to about 1."""
    grey = image.convert("L")
    grey.thumbnail(_ANALYSED)
    entropy = grey.entropy() / 8
    stat = ImageStat.Stat(grey)
    spread = min(stat.stddev[0] / 64, 1.0)
    edges = ImageStat.Stat(_inner(grey.filter(ImageFilter.FIND_EDGES)))
    sharpness = min(edges.mean[0] / 24, 1.0)
    return (0.4 * entropy + 0.3 * spread + 0.3 * sharpness) * _exposure(stat.mean[0]) * entropy


class PosterPicker:
    """Takes candidates one by one and keeps the best, so that only one is held in memory."""

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._best: Candidate | None = None
        self._seen = 0

    def offer(self, data: bytes) -> None:
        """Consider one picture of raw RGB."""
        image = Image.frombytes("RGB", self._size, data)
        weight = 0.85 if self._seen == 0 else 1.0
        self._seen += 1
        candidate = Candidate(image, score(image) * weight)
        if self._best is None or candidate.score > self._best.score:
            self._best = candidate

    def poster(self) -> bytes | None:
        """The best picture as JPEG; None if there was none."""
        return jpeg(self._best.image, _QUALITY) if self._best else None


def _exposure(mean: float) -> float:
    """1 for a well exposed picture, towards 0 for a black or a white one."""
    if mean < _DARK:
        return mean / _DARK
    if mean > _BRIGHT:
        return max(0.0, (255 - mean) / (255 - _BRIGHT))
    return 1.0


def _inner(image: Image.Image) -> Image.Image:
    """Without the outermost pixels, where an edge filter sees the frame."""
    if min(image.size) < 4:
        return image
    return image.crop((1, 1, image.width - 1, image.height - 1))

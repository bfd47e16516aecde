"""Short films to judge pictures by: real ones of people, animals, machines and animation."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.films import Films
from media.binaries import find_tools

#: The first key frame after so many seconds begins a cut of a longer film.
_CUTS: Final = (
    ("hands", "valid/open-close_1080p25_26s.ts", 8.0),
    ("bunny-1", "valid/bbb_1080p25_64s.ts", 20.0),
    ("bunny-2", "valid/bbb_1080p25_64s.ts", 50.0),
)
_WHOLE: Final = (
    ("studio", "valid/test_stereo.mp4"),
    ("street50", "valid/sowt-with-video.mov"),
    ("dog", "valid/01_dog.mp4"),
    ("juggler", "valid/05_default_juggle.mp4"),
    ("bunny-720", "valid/bigbuckbunny.mp4"),
    ("rollercoaster", "valid/davis_rollercoaster.mp4"),
    ("bikes", "valid/bikes.mp4"),
    ("fishes", "valid/fishes.wmv"),
)

#: Seconds of each that are encoded, and in a quick run.
SECONDS: Final = 5.0
QUICK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Clip:
    """A film, of which the first :data:`SECONDS` are encoded."""

    name: str
    path: Path


def clips(films: Films) -> tuple[Clip, ...]:
    """All of them; one that is made where there is no folder of real films."""
    if films.media is None:
        return (Clip("made", films.clip()),)
    cut = [Clip(name, _cut(films, name, films.media / path, at)) for name, path, at in _CUTS]
    return (*cut, *(Clip(name, films.media / path) for name, path in _WHOLE))


def _cut(films: Films, name: str, source: Path, at: float) -> Path:
    """Without encoding, through an index: a transport stream has none to seek by."""
    path = films.scratch / f"cut-{name}.mp4"
    if not path.exists():
        films.scratch.mkdir(parents=True, exist_ok=True)
        whole, half = path.with_name(f"whole-{name}.mp4"), path.with_name(f"half-{name}.mp4")
        _copy(source, whole)
        _copy(whole, half, "-ss", f"{at:g}", "-t", f"{SECONDS + 4:g}")
        whole.unlink()
        half.replace(path)
    return path


def _copy(source: Path, target: Path, *where: str) -> None:
    said = (str(find_tools().ffmpeg), "-nostdin", "-v", "error", "-y", *where, "-i", str(source))
    subprocess.run((*said, "-map", "0:v:0", "-c", "copy", str(target)), check=True)

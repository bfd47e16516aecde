"""What every benchmark is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.films import Films
from farm.display import Display


@dataclass(frozen=True, slots=True)
class Options:
    """``quick`` asks for one small round, to see that a benchmark works; its figures are none."""

    films: Films
    #: A folder for data of the run; whoever uses it removes what it put there.
    scratch: Path
    display: Display
    repeats: int = 3
    quick: bool = False

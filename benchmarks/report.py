"""What a benchmark says: a table for people, JSON to keep, and whether each promise holds."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from farm.display import Display


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several measurements of one thing, and how far they lie apart."""

    median: float
    lowest: float
    highest: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values))

    def text(self, digits: int = 1) -> str:
        """``median (lowest to highest)``."""
        low, high = f"{self.lowest:.{digits}f}", f"{self.highest:.{digits}f}"
        return f"{self.median:.{digits}f} ({low} to {high})"


@dataclass(frozen=True, slots=True)
class Promise:
    """One bar: what was measured has to be at most (or, ``at_least``) the bound."""

    what: str
    measured: float
    bound: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether it is kept."""
        enough = self.measured >= self.bound if self.at_least else self.measured <= self.bound
        return bool(enough)

    def row(self) -> tuple[str, str, str, str]:
        """For a table."""
        sign = "≥" if self.at_least else "≤"
        verdict = "holds" if self.holds else "DOES NOT HOLD"
        return self.what, f"{self.measured:.3g}", f"{sign} {self.bound:g}", verdict


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one benchmark. ``data`` is everything measured, fit for JSON."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    promises: tuple[Promise, ...] = ()
    notes: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether every promise is kept."""
        return all(promise.holds for promise in self.promises)

    def show(self, display: Display) -> None:
        """The tables."""
        display.line(f"\n{self.title}", "bold")
        display.table(self.columns, self.rows)
        for note in self.notes:
            display.line(note)
        if self.promises:
            rows = [promise.row() for promise in self.promises]
            display.table(("promise", "measured", "bound", ""), rows)

    def keep(self, directory: Path) -> Path:
        """Write ``NAME.json`` and return its path."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{self.name}.json"
        document = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
        path.write_text(json.dumps(document | asdict(self), indent=1, ensure_ascii=False) + "\n")
        return path


def machine() -> dict[str, Any]:
    """What the figures depend on and whoever compares them has to know."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }

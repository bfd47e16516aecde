"""The same as :mod:`benchmarks.against_ffmpeg` over ten minutes: some twenty minutes of work."""

from __future__ import annotations

from benchmarks.against_ffmpeg import LONG, compared
from benchmarks.options import Options
from benchmarks.report import Report


def run(options: Options) -> Report:
    """Measure the long film."""
    return compared("against_ffmpeg_long", options, LONG)

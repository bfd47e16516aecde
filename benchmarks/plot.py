"""Pictures of what was measured. The only module that knows matplotlib, which draws to files here.

One call draws one picture with labelled axes::

    from benchmarks.plot import Series, curves

    curves(
        Path("docs/performance/scale-out.png"),
        "Speed-up",
        "workers",
        "times faster than one worker",
        [Series("measured", xs, ys), Series("ideal", xs, xs, ideal=True)],
        log="xy",
    )
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

_INCHES = (8.0, 5.0)
_DPI = 120
_MARKERS = "osD^vPX*"


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name in the legend, and as many ys as xs.

    ``low`` and ``high`` (as many again) shade a spread around it. An ``ideal`` line is what one
    compares with: thin, grey, dashed, without markers.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    ideal: bool = False


def curves(
    path: Path,
    title: str,
    x_label: str,
    y_label: str,
    series: Sequence[Series],
    log: Literal["", "x", "y", "xy"] = "",
    from_zero: bool = False,
) -> Path:
    """Draw the lines on one pair of axes and write the picture, as PNG or SVG by its suffix.

    ``log`` names the axes that are logarithmic. ``from_zero`` starts a linear y axis at 0, so that
    what is flat looks flat. Folders are made. Returns the path.
    """
    figure, axes = plt.subplots(figsize=_INCHES, layout="constrained")
    for order, each in enumerate(series):
        _draw(axes, each, _MARKERS[order % len(_MARKERS)])
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    if "x" in log:
        axes.set_xscale("log")
    if "y" in log:
        axes.set_yscale("log")
    elif from_zero:
        axes.set_ylim(bottom=0)
    axes.grid(visible=True, which="major", color="0.85")
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=_DPI, metadata=_no_date(path))
    plt.close(figure)
    return path


def _draw(axes: Axes, each: Series, marker: str) -> None:
    if each.ideal:
        axes.plot(each.xs, each.ys, label=each.name, color="0.5", linestyle="--", linewidth=1)
        return
    (line,) = axes.plot(each.xs, each.ys, label=each.name, marker=marker, markersize=4)
    if each.low is not None and each.high is not None:
        axes.fill_between(each.xs, each.low, each.high, color=line.get_color(), alpha=0.15)


def _no_date(path: Path) -> dict[str, None]:
    """The same figures give the same file."""
    return {"Date": None} if path.suffix == ".svg" else {"Software": None}

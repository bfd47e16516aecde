"""``python -m benchmarks [NAME…]``: measure, print tables, keep JSON."""

from __future__ import annotations

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from benchmarks.films import Films
from benchmarks.options import Options
from benchmarks.report import Report
from farm.display import Display
from farm.logging import configure

#: In the order in which they run; each is a module with ``run(options) -> Report``.
NAMES: Final = (
    "against_ffmpeg",
    "against_ffmpeg_long",
    "against_renditions",
    "against_shaka",
    "playable",
    "overhead",
    "control_plane",
    "scale_out",
    "scaling",
    "quality",
)

_HELP: Final = f"Which to run, of {', '.join(NAMES)}; all where none is named."


def main(
    names: Annotated[list[str] | None, typer.Argument(help=_HELP)] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Measurements of each thing.")] = 3,
    quick: Annotated[
        bool, typer.Option("--quick", help="One small round: whether it works, not how fast.")
    ] = False,
    media: Annotated[Path | None, typer.Option(help="A folder of real films.")] = None,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = Path(".reelfarm/benchmarks"),
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON document per benchmark.")
    ] = False,
) -> None:
    """Measure the farm. Exit code 1 where a promise does not hold."""
    unknown = [name for name in names or () if name not in NAMES]
    if unknown:
        raise typer.BadParameter(f"there is no {unknown[0]}; there are {', '.join(NAMES)}")
    configure("text", "warning")
    display = Display(as_json=as_json)
    found = media or _sibling_media()
    out = out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=out) as scratch:
        films = Films(found, out / "films")
        options = Options(films, Path(scratch).absolute(), display, 1 if quick else repeats, quick)
        reports = [_measure(name, options, out) for name in names or NAMES]
    raise typer.Exit(0 if quick or all(report.holds for report in reports) else 1)


def _measure(name: str, options: Options, out: Path) -> Report:
    options.display.say(f"{name} …")
    module: Any = import_module(f"benchmarks.{name}")
    report: Report = module.run(options)
    if options.display.as_json:
        options.display.document(report.data)
    report.show(options.display)
    options.display.say(f"kept in {report.keep(out)}")
    return report


def _sibling_media() -> Path | None:
    """The films that lie beside the project on machines that have them."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "media"
    return folder if folder.is_dir() else None


if __name__ == "__main__":
    typer.run(main)

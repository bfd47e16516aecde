"""The real ffmpeg and ffprobe, and small films made with them."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from media.binaries import Tools, find_tools


@pytest.fixture(scope="session")
def tools() -> Tools:
    """The programs of the wheels."""
    return find_tools()


@pytest.fixture(scope="session")
def make_clip(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a film: ``make_clip("a.ts", seconds=4, rate="25", video=("-g", "50"))``."""
    folder = tmp_path_factory.mktemp("clips")

    def make(
        name: str,
        *,
        seconds: float = 2.0,
        rate: str = "25",
        size: str = "160x120",
        source: str = "testsrc2",
        filters: str = "null",
        video: tuple[str, ...] = (),
        output: tuple[str, ...] = (),
        sound: bool = False,
    ) -> Path:
        path = folder / name
        picture = f"{source}=size={size}:rate={rate}:duration={seconds},{filters}"
        beep = ("-f", "lavfi", "-i", f"sine=duration={seconds}", "-c:a", "aac") if sound else ()
        subprocess.run(
            [
                *(tools.ffmpeg, "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", picture),
                *(*beep, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
                *(*video, *output, path),
            ],
            check=True,
            timeout=60,
        )
        return path

    return make

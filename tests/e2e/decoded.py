"""What ffprobe says of what is published."""

from __future__ import annotations

import json
import subprocess
from fractions import Fraction
from typing import Any

from media.binaries import Tools


def probed(tools: Tools, source: object, *show: str) -> dict[str, Any]:
    """ffprobe's answer about a file or URL. It has no complaint."""
    command = [tools.ffprobe, "-v", "error", "-of", "json", *show, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert not done.returncode, done.stderr
    assert not done.stderr, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def packet_times(tools: Tools, source: object, stream: str) -> list[Fraction]:
    """When each frame of a stream is shown, in order, exactly; the clock is the source's own."""
    copied = ("-copyts", "-i", str(source), "-map", f"0:{stream}", "-c", "copy", "-f", "framecrc")
    command = [tools.ffmpeg, "-v", "error", *copied, "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert not done.stderr, done.stderr
    lines = done.stdout.splitlines()
    (base,) = (Fraction(line.split()[2]) for line in lines if line.startswith("#tb"))
    return sorted(int(line.split(",")[2]) * base for line in lines if not line.startswith("#"))

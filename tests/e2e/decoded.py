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
    """When each frame of a stream is shown, in order, exactly."""
    entries = "packet=pts:stream=time_base"
    found = probed(tools, source, "-select_streams", stream, "-show_entries", entries)
    base = Fraction(found["streams"][0]["time_base"])
    return sorted(packet["pts"] * base for packet in found["packets"])

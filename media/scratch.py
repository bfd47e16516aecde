"""How much a process has written: a limit on each of its files does not bound their number."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

#: Bytes that every file costs at the least, so that empty ones count too.
_LEAST: Final = 4096
#: ``st_blocks`` counts these, whatever the file system's own are (stat(2)).
_BLOCK: Final = 512


def used(folder: Path) -> int:
    """Bytes on disk of everything below ``folder``. What vanishes meanwhile is not counted."""
    total = 0
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(OSError):
                found = os.lstat(Path(place) / name)
                total += max(found.st_blocks * _BLOCK, _LEAST)
    return total

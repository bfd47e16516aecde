"""The note a running farm leaves in its data directory, by which commands find it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from farm.embedded.state import write_private


@dataclass(frozen=True, slots=True)
class RunningFarm:
    """Where a farm answers, and the settings by which workers join it (secrets among them)."""

    url: str
    pid: int
    #: When the process started, in seconds since 1970: pids come round again.
    started: float
    settings: Mapping[str, str]


def here(url: str, settings: Mapping[str, str]) -> RunningFarm:
    """The farm that this process is."""
    pid = os.getpid()
    return RunningFarm(url, pid, psutil.Process(pid).create_time(), settings)


def path(data_dir: Path) -> Path:
    """Where the note lies."""
    return data_dir / "farm.json"


def announce(data_dir: Path, farm: RunningFarm) -> None:
    """Leave the note, readable by this user only."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(path(data_dir), json.dumps(asdict(farm)))


def withdraw(data_dir: Path) -> None:
    """Take the note away."""
    path(data_dir).unlink(missing_ok=True)


def find(data_dir: Path) -> RunningFarm | None:
    """The farm running on this data directory; None if there is none (any more)."""
    try:
        found = RunningFarm(**json.loads(path(data_dir).read_text()))
        created = psutil.Process(found.pid).create_time()
    except (OSError, ValueError, TypeError, psutil.Error):
        return None
    return found if abs(created - found.started) < 1.0 else None

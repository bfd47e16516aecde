"""Ports and secrets that survive a restart, so that URLs handed out stay good."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServerState:
    """The ports of a server in its own order, and the secret its clients show."""

    ports: tuple[int, ...]
    secret: str


def load(path: Path) -> ServerState | None:
    """What was saved, or None if there is nothing usable."""
    try:
        saved = json.loads(path.read_text())
        return ServerState(tuple(map(int, saved["ports"])), str(saved["secret"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save(path: Path, state: ServerState) -> None:
    """Write the state, for its owner's eyes only."""
    write_private(path, json.dumps(asdict(state)))


def write_private(path: Path, text: str) -> None:
    """Write a file that holds a secret: mode 600 from its first byte on, replaced at once."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)

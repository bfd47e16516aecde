"""Runs the parts of a plan on a local file and joins what they made."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from media.binaries import Tools
from media.command import SINK, Command


def run_command(tools: Tools, command: Command) -> dict[str, bytes]:
    """Everything the command writes, by sink. Raises CalledProcessError."""
    pipes = {name: os.pipe() for name in command.sinks}
    made: dict[str, bytes] = {}
    arguments = [
        f"pipe:{pipes[a.removeprefix(SINK)][1]}" if a.startswith(SINK) else a
        for a in command.arguments
    ]
    with subprocess.Popen(
        [tools.ffmpeg, "-v", "error", "-nostdin", *arguments],
        pass_fds=[write for _, write in pipes.values()],
        stderr=subprocess.PIPE,
    ) as process:
        for _, write in pipes.values():
            os.close(write)

        def read(name: str, fd: int) -> None:
            with open(fd, "rb") as pipe:
                made[name] = pipe.read()

        threads = [
            threading.Thread(target=read, args=(name, fd)) for name, (fd, _) in pipes.items()
        ]
        for thread in threads:
            thread.start()
        assert process.stderr is not None
        said = process.stderr.read().decode(errors="replace")
        for thread in threads:
            thread.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, stderr=said)
    return made

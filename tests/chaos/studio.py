"""Real ffmpeg and ffprobe whose every output is made once: the same command has it at once again.

A scenario is run some hundreds of times; what differs from run to run is the farm, not the film.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from media.binaries import Tools, find_tools
from media.command import Command
from media.errors import CanceledError, Evidence, FfmpegFailedError
from media.probe import probe
from media.probed import Probe
from media.process import Finished, Sink
from media.process import run as run_ffmpeg
from tests.numbered import ClipSpec, make_clip

#: Five seconds of picture and sound: a head, one chunk, a stream of sound, pictures. And twenty
#: of bare pictures, which cannot be cut: one stream part with a receipt every ten seconds.
FILMS = {
    "short": ClipSpec(frames=125, size=(128, 72)),
    "stream": ClipSpec(frames=500, size=(128, 72), container="h264", sound=False),
}


@dataclass
class Recorded:
    """What one run of ffmpeg made."""

    pieces: dict[str, list[bytes]]
    finished: Finished


class Studio:
    """Stands in for ``media`` with what it made before. ``film`` names the one being shown."""

    def __init__(self, folder: Path) -> None:
        self.tools = find_tools()
        self.film = "short"
        #: Called once, in the middle of the next run of ffmpeg.
        self.interrupt: Callable[[], None] | None = None
        #: Whether ffmpeg finds fault with the film every time.
        self.is_broken = False
        self._folder = folder
        self._films: dict[str, bytes] = {}
        self._runs: dict[tuple[str, ...], Recorded] = {}
        self._probes: dict[str, Probe] = {}

    def bytes(self) -> bytes:
        """The film as it is uploaded."""
        if self.film not in self._films:
            clip = make_clip(self._folder / self.film, self.tools, FILMS[self.film])
            self._films[self.film] = clip.path.read_bytes()
        return self._films[self.film]

    def probe(self, tools: Tools, url: str, **options: Any) -> Probe:
        """In place of :func:`media.probe.probe`."""
        if self.film not in self._probes:
            self._probes[self.film] = probe(tools, url, **options)
        return self._probes[self.film]

    def run(
        self,
        tools: Tools,
        command: Command,
        *,
        sinks: Mapping[str, Sink],
        cancel: Event | None = None,
        **_: Any,
    ) -> Finished:
        """In place of :func:`media.process.run`."""
        if self.is_broken:
            raise FfmpegFailedError("it failed", Evidence(command.arguments, ("no",), 1))
        recorded = self._recorded(tools, command, sinks)
        for name, each in recorded.pieces.items():
            for piece in each:
                sinks[name](piece)
            self._disturb()
            if cancel is not None and cancel.is_set():
                raise CanceledError("ended on request", Evidence(command.arguments))
        return recorded.finished

    def _recorded(self, tools: Tools, command: Command, sinks: Mapping[str, Sink]) -> Recorded:
        words = ("URL" if "://" in word else word for word in command.arguments)
        key = (self.film, *words)
        if key not in self._runs:
            pieces: dict[str, list[bytes]] = {name: [] for name in sinks}
            taken = {name: each.append for name, each in pieces.items()}
            self._runs[key] = Recorded(pieces, run_ffmpeg(tools, command, sinks=taken))
        return self._runs[key]

    def _disturb(self) -> None:
        interrupt, self.interrupt = self.interrupt, None
        if interrupt is not None:
            interrupt()

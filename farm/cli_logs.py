"""``reelfarm logs``: what happened to a video, from the farm's records and this host's log."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from farm.cli_options import Json, Url, client_of
from farm.client import Client
from farm.describe import TERMINAL
from farm.display import Display
from farm.errors import UnreachableError
from farm.log_files import folder_of, present
from farm.settings import load
from farm.story import Entry, as_document, as_text, entries_of, entry_of_line, matters
from jobs.ids import is_video_id, time_of

#: Seconds between two looks at a video that is followed.
_EVERY = 1.0

#: What no trace is called.
_NO_TRACE = "-" * 32

_STYLES = {"warning": "yellow", "error": "red", "critical": "bold red", "debug": "dim"}


class Level(StrEnum):
    """The least that is told."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def logs(
    video_id: Annotated[str, typer.Argument(metavar="ID", help="The id the upload was given.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    level: Annotated[Level, typer.Option(help="Only what matters so much.")] = Level.INFO,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Tell a video's story: its record, its parts, and what this host logged of it.

    Times are seconds from the upload. What other hosts logged is theirs to tell. Where no farm
    answers, this host's log is told alone, and the status is 3.
    """
    display, tail = Display(as_json=as_json), Tail(folder_of(load().data_dir))
    with client_of(url) as client:
        try:
            for document, entries in _chapters(client, video_id, tail, follow=follow):
                begun = datetime.fromisoformat(document["created_at"]).timestamp()
                _tell_all(display, entries, begun, level)
        except UnreachableError:
            if is_video_id(video_id):
                alone = (entry_of_line(line, video_id, _NO_TRACE) for line in tail.lines())
                known = [entry for entry in alone if entry is not None]
                _tell_all(display, known, time_of(video_id) / 1000, level)
            raise


def _tell_all(display: Display, entries: Iterable[Entry], begun: float, level: str) -> None:
    for entry in sorted(entries, key=lambda each: each.at):
        if matters(entry, level):
            _tell(display, entry, begun)


def _tell(display: Display, entry: Entry, begun: float) -> None:
    if display.as_json:
        display.document(as_document(entry, begun))
    else:
        display.line(as_text(entry, begun), _STYLES.get(entry.level, ""))


def _chapters(
    client: Client, video_id: str, tail: Tail, *, follow: bool
) -> Iterator[tuple[dict[str, Any], list[Entry]]]:
    """What the farm says of the video, and what is new since the last time, until it has ended."""
    told: set[Entry] = set()
    over = False
    while True:
        document = client.story(video_id)
        lines = (entry_of_line(each, video_id, document["trace_id"]) for each in tail.lines())
        found = {*entries_of(document), *(entry for entry in lines if entry is not None)}
        yield document, list(found - told)
        told |= found
        if over or not follow:
            return
        # Once more after the end: its last words may still be on their way to the disk.
        over = document["status"] in TERMINAL
        time.sleep(_EVERY)


class Tail:
    """Reads the log files of this host, each line once, wherever they are set aside."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: How far each file has been read, by its inode and first line: inodes come round again.
        self._read: dict[tuple[int, bytes], int] = {}

    def lines(self) -> Iterator[bytes]:
        """The whole lines since the last call, oldest first."""
        with ExitStack() as stack:
            # All are opened before any is read: meanwhile they may be given other names.
            for file in [stack.enter_context(file) for file in _opened(self._folder)]:
                yield from self._rest_of(file)

    def _rest_of(self, file: BinaryIO) -> Iterator[bytes]:
        name = os.fstat(file.fileno()).st_ino, file.readline()
        file.seek(self._read.get(name, 0))
        for line in file:
            if not line.endswith(b"\n"):
                return
            self._read[name] = self._read.get(name, 0) + len(line)
            yield line


def _opened(folder: Path) -> Iterator[BinaryIO]:
    for path in present(folder):
        with suppress(OSError):
            yield path.open("rb")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(logs)

"""What commands say: results on stdout, talk on stderr; tables for people, plain for pipes.

Rich leaves colours out by itself where the output is no terminal or ``NO_COLOR`` is set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text


class Display:
    """The two streams of a command. ``as_json`` turns results into JSON and silences talk."""

    def __init__(
        self, *, as_json: bool, out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self.as_json = as_json
        self._out = Console(file=out, highlight=False, soft_wrap=True)
        self.talk = Console(file=err, stderr=err is None, highlight=False, soft_wrap=True)

    @property
    def is_lively(self) -> bool:
        """Whether progress can be drawn: somebody looks at a terminal."""
        return self.talk.is_terminal and not self.as_json

    def document(self, value: Any) -> None:
        """One JSON document, on a line of its own."""
        self._out.file.write(json_text(value) + "\n")
        self._out.file.flush()

    def line(self, text: str, style: str = "") -> None:
        """A line of the result; nothing under ``--json``."""
        if not self.as_json:
            self._out.print(Text(shown(text), style=style))

    def say(self, text: str, style: str = "") -> None:
        """A remark beside the result; nothing under ``--json``."""
        if not self.as_json:
            self.talk.print(Text(shown(text), style=style))

    def complain(self, text: str) -> None:
        """An error, whatever the mode."""
        self.talk.print(Text("error: ", style="bold red") + Text(shown(text)))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Rows under headings; tab-separated where nobody looks."""
        if self._out.is_terminal:
            table = Table(*columns, box=None, pad_edge=False, header_style="bold")
            for row in rows:
                table.add_row(*(Text(shown(cell)) for cell in row))
            self._out.print(table)
            return
        for row in (columns, *rows):
            self._out.file.write("\t".join(map(shown_in_line, row)) + "\n")


def shown(text: str) -> str:
    """``text`` with escapes for what a terminal would obey or hide: names of files are hostile."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else _escaped(char) for char in text)


def shown_in_line(text: str) -> str:
    """The same, with line ends escaped, too."""
    return shown(text).replace("\n", "\\n")


def json_text(value: Any) -> str:
    """JSON on one line that no terminal obeys; letters of all languages stay as they are."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", errors="backslashreplace").decode()


def bytes_text(count: float) -> str:
    """A size such as ``73.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def rate_text(bits: float) -> str:
    """A bit rate such as ``2.41 Mbit/s``; a dash where it was not measured."""
    if not bits:
        return "-"
    return f"{bits / 1e6:.2f} Mbit/s" if bits >= 1e6 else f"{bits / 1e3:.0f} kbit/s"


def time_text(seconds: float | None) -> str:
    """A duration such as ``1:02:03`` or ``0:07``; a dash where it is not known."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"

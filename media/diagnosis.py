"""Reads stderr: did ffmpeg see every byte of its source?

An exit code is no verdict. A source connection that breaks half-way makes ffmpeg and ffprobe
exit 0 with half of the frames. With ``-reconnect 1`` (see :mod:`media.safety`) either one
writes a line for each break and for each attempt to mend it (ffmpeg 9.0.2, ffprobe 8.1.2, at
``-v repeat+warning``)::

    [http @ 0x5575abc8aa80] Stream ends prematurely at 254951, should be 509903
    [http @ 0x5575abc8aa80] Will reconnect at 254951 in 0 second(s), error=Input/output error.

A break with no attempt after it, or attempts that were used up at one offset, was not mended.
A file that was cut before it was uploaded says none of this: it is damaged, not unreadable.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from typing import Final

from media.redact import redact
from media.safety import RECONNECTS

#: Lines of stderr that are kept.
TAIL: Final = 30
#: Characters of a line that are kept, and of a line without end.
_LINE: Final = 400

#: What every line below has in it.
_TELLING: Final = re.compile(r"http|tcp|tls|Error ")

_BREAK: Final = re.compile(r"\[https? @ (\w+)\] Stream ends prematurely")
_MEND: Final = re.compile(r"\[https? @ (\w+)\] Will reconnect at (\d+)")
#: 416 is left out: a damaged index makes ffmpeg ask for bytes that never existed.
_STATUS: Final = re.compile(r"HTTP error (?!416)(\d{3})")
_NETWORK: Final = re.compile(
    r"\[tcp @ \w+\] (?:Connection|Failed|Connection attempt|getaddrinfo)\b.*"
    r"|\[tls @ \w+\] .*"
    r"|Error (?:during demuxing|opening input): (?:Connection \w+|Input/output error|.*timed out)"
    r"|https?://\S+: (?:I/O error|Input/output error|Connection .*)"
)


class Diagnosis:
    """Fed with stderr as it comes; keeps its last lines and what they say of the source."""

    def __init__(self) -> None:
        self._tail: deque[str] = deque(maxlen=TAIL)
        self.status: int | None = None
        self._partial = b""
        self._broken: set[str] = set()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._network: str | None = None

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, redacted."""
        return tuple(redact(line)[:_LINE] for line in self._tail)

    def feed(self, data: bytes) -> None:
        """A sink for stderr."""
        *lines, rest = (self._partial + data).replace(b"\r", b"\n").split(b"\n")
        self._partial = rest[:_LINE]
        for line in lines:
            self._read(line)

    def finish(self) -> None:
        """The last line need not end."""
        self._read(self._partial)
        self._partial = b""

    def _read(self, raw: bytes) -> None:
        line = raw.decode("utf-8", "replace").strip()
        if not line:
            return
        self._tail.append(line)
        if not _TELLING.search(line):  # a damaged film complains thousands of times
            return
        if found := _BREAK.search(line):
            self._broken.add(found[1])
        elif found := _MEND.search(line):
            self._broken.discard(found[1])
            self._attempts[found[1], found[2]] += 1
        elif found := _STATUS.search(line):
            self.status = int(found[1])
        elif _NETWORK.search(line):
            self._network = self._network or redact(line)[:_LINE]

    @property
    def unreadable(self) -> str | None:
        """Why not all bytes of the source arrived; None where nothing says so."""
        if self.status is not None:
            return f"the source's server answered {self.status}"
        if self._broken or any(n >= RECONNECTS for n in self._attempts.values()):
            return "the connection to the source broke off"
        if self._network is not None:
            return f"the source could not be read ({self._network})"
        return None

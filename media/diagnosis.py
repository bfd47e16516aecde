"""Reads stderr: did ffmpeg see every byte of its source?

An exit code is no verdict. A source connection that breaks half-way makes ffmpeg and ffprobe
exit 0 with half of the frames. With ``-reconnect 1`` (see :mod:`media.safety`) either one
writes a line for each break and for each attempt to mend it (ffmpeg 9.0.2, ffprobe 8.1.2, at
``-v repeat+warning``)::

    [http @ 0x5575abc8aa80] Stream ends prematurely at 254951, should be 509903
    [http @ 0x5575abc8aa80] Will reconnect at 254951 in 0 second(s), error=Input/output error.

A break with no attempt after it, or attempts that were used up at one offset, was not mended.
A file that was cut before it was uploaded says none of this: it is damaged, not unreadable. That
holds, too, where it cannot be opened for an "I/O error" of which no connection told, but a demuxer.

Of damage ffmpeg tells that there is some, not when: a decoder conceals what it can.
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
#: Characters of a line that are looked at; an address with its signature takes up to two thousand.
_LONGEST: Final = 4096

#: What every line below has in it.
_TELLING: Final = re.compile(
    r"http|tcp|tls|Error |[Cc]orrupt|nvalid (?:as|track)|mismatch|sync byte"
)

#: The second is a connection that closes before the first line of an answer.
_BREAK: Final = re.compile(
    r"\[https? @ (\w+)\] (?:Stream ends prematurely|Error reading HTTP response)"
)
_MEND: Final = re.compile(r"\[https? @ (\w+)\] Will reconnect at (\d+)")
#: 416 is left out: a damaged index makes ffmpeg ask for bytes that never existed.
_STATUS: Final = re.compile(r"HTTP error (?!416)(\d{3})")
_NETWORK: Final = re.compile(
    r"\[tcp @ \w+\] (?:Connection|Failed|Connection attempt|getaddrinfo)\b.*"
    r"|\[tls @ \w+\] .*"
    r"|Error (?:during demuxing|opening input): (?:Connection \w+|.*timed out)"
    r"|Error during demuxing: Input/output error"
    r"|https?://\S+: Connection .*"
)
#: What is said of a redirect, and there nothing else is, but by Matroska of a cut header, too.
_UNOPENED: Final = re.compile(
    r"Error opening input: Input/output error|https?://\S+: (?:I/O error|Input/output error)"
)
#: Beginnings of lines: of a connection, and of one that somebody wrote who has read some bytes.
_WIRE: Final = re.compile(r"\[(?:https?|tcp|tls) @ ")
_CONTENTS: Final = re.compile(r"\[(?!(?:https?|tcp|tls) @ )[^\]]+\] (?!Error )|Truncating packet ")
#: Of damage: decoders in general (fftools/ffmpeg_dec.c), then MPEG-TS, FLV and Matroska. Decoders'
#: own words are left out: after a seek they complain of healthy films, too.
_DAMAGE: Final = re.compile(
    r"corrupt decoded frame|Error submitting packet to decoder|Packet corrupt|corrupt input packet"
    r"|Packet mismatch|packet size mismatch|could not find sync byte"
    r"|invalid as first byte of an EBML number|Invalid track number"
)


class Diagnosis:
    """Fed with stderr as it comes; keeps its last lines and what they say of the source.

    ``faults`` finds lines that say that a device failed, of which the first is kept: as many
    encoders as there are rungs say more after it than is kept of the end.
    """

    def __init__(self, faults: re.Pattern[str] | None = None) -> None:
        self._faults = faults
        self.fault: str | None = None
        self._tail: deque[str] = deque(maxlen=TAIL)
        self.status: int | None = None
        self._partial = b""
        self._broken: set[str] = set()
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._network: str | None = None
        self._wire = self._contents = False
        #: Whether ffmpeg met damage.
        self.damaged = False

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
        line = raw[:_LONGEST].decode("utf-8", "replace").strip()
        if not line:
            return
        self._tail.append(line)
        if self._faults and self.fault is None and self._faults.search(line):
            self.fault = redact(line)[:_LINE]
        self._wire = self._wire or _WIRE.match(line) is not None
        self._contents = self._contents or _CONTENTS.match(line) is not None
        if not _TELLING.search(line):  # a damaged film complains thousands of times
            return
        self.damaged = self.damaged or _DAMAGE.search(line) is not None
        if found := _BREAK.search(line):
            self._broken.add(found[1])
        elif found := _MEND.search(line):
            self._broken.discard(found[1])
            self._attempts[found[1], found[2]] += 1
        elif found := _STATUS.search(line):
            self.status = int(found[1])
        elif _NETWORK.search(line) or (self._is_unread and _UNOPENED.search(line)):
            self._network = self._network or redact(line)[:_LINE]

    @property
    def _is_unread(self) -> bool:
        """Whether nothing says that bytes came and were the trouble."""
        return self._wire or not self._contents

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

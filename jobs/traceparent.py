"""Which trace a video belongs to, as W3C Trace Context writes it.

Every upload has one, whether or not traces are collected anywhere: the caller's, where its request
carries a ``traceparent``, else one of its own. It stands in the video's record, so whoever works
on the video later, after Redis was emptied or a week later by a retry, goes on with the same; and
in every line of the log that tells of the video. What messages carry is a hint.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import Final

#: A later version may go on behind a dash; ``ff`` is none.
_PATTERN: Final = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})"
    r"-(?!0{16})(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_LONGEST: Final = 512
_SAMPLED: Final = 1

#: Videos of which a process remembers the trace.
_REMEMBERED: Final = 4096


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span of a trace, to which what follows from it belongs. Ids are lower-case hex."""

    trace_id: str
    span_id: str
    #: Whether the trace is recorded by who began it.
    sampled: bool = False

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def parse(text: str | None) -> TraceContext | None:
    """What a ``traceparent`` says; None for none, and for one that is not valid."""
    found = _PATTERN.fullmatch(text) if text and len(text) <= _LONGEST else None
    if found is None or (found["version"] == "00" and found["more"]):
        return None
    return TraceContext(found["trace"], found["span"], bool(int(found["flags"], 16) & _SAMPLED))


def fresh() -> TraceContext:
    """A trace that nobody records (yet)."""
    return TraceContext(secrets.token_hex(16), secrets.token_hex(8))


def derived(video_id: str) -> TraceContext:
    """The trace of a video whose record names none, the same for whoever asks."""
    digest = hashlib.sha256(f"reelfarm trace {video_id}".encode()).hexdigest()
    return TraceContext(digest[:32], digest[32:48])


class TraceIds:
    """The traces of the videos that a process has lately met: its log lines look them up here.

    Threads and libraries need not be told of which trace the video is that they tell of.
    """

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._most = most
        self._lock = Lock()
        self._known: OrderedDict[str, str] = OrderedDict()

    def remember(self, video_id: str, trace_id: str) -> None:
        """Note the trace of a video."""
        with self._lock:
            self._known[video_id] = trace_id
            self._known.move_to_end(video_id)
            if len(self._known) > self._most:
                self._known.popitem(last=False)

    def hint(self, video_id: str, traceparent: str | None) -> None:
        """Note what a message says, until the record does."""
        context = parse(traceparent)
        if context is not None and video_id not in self._known:
            self.remember(video_id, context.trace_id)

    def get(self, video_id: str) -> str | None:
        """The trace of a video, if it has been met."""
        return self._known.get(video_id)


#: This process's.
TRACE_IDS: Final = TraceIds()

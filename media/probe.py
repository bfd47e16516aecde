"""Asks ffprobe what a source is, with few small reads.

One run for the tracks, then two side by side: for the first packets of the main picture track,
and for one near its stated end. Where the first packets leave in doubt which picture is shown
first, ffmpeg decodes one: it is ffmpeg that will encode.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Final

from media.binaries import Tools
from media.command import SINK
from media.ending import find_end
from media.errors import (
    CanceledError,
    FfmpegFailedError,
    MediaError,
    NotMediaError,
    NotStartedError,
    SinkFailedError,
    TooCostlyError,
)
from media.execute import Finished, Job, execute
from media.fields import integer, mapping, mappings
from media.limits import Limits
from media.parse import ENTRIES, parse
from media.probed import Probe, Timing, VideoStream
from media.safety import input_options
from media.timing import Packet, first_shown, parse_packets, timing

#: Bytes of JSON; a source that needs more to describe itself means no good.
_LONGEST: Final = 8 * 1024 * 1024

#: One more than x264's default distance of key frames, so that two are seen.
_PACKETS: Final = 256
_FEWEST: Final = 24
#: Bytes of the source that the sample of packets may take to read.
_SAMPLE: Final = 6 * 1024 * 1024

#: What describing a source may take. An index box of twenty bytes can ask for gigabytes and many
#: seconds of filling them; the longest honest films' indexes take 100 MB and a second. Addresses
#: are taken by the threads of decoders, too, and their number grows with the machine's.
LIMITS: Final = Limits(
    cpu_seconds=10, address_space=(1024 + 160 * (os.cpu_count() or 1)) * 1024 * 1024
)

#: Seconds that looking for the end may take: without an index, a seek reads all there is.
_END: Final = 6.0
#: Packets that are read on from there: more than any group of pictures and its sound.
_LAST_PACKETS: Final = 4000
#: Share of a fragmented MP4 that the index behind its last packet takes at the most.
_INDEX: Final = Fraction(1, 25)
#: Their length is taken from the last packets, so that it is that of what can be read.
_MEASURED: Final = frozenset({"mpegts", "mpeg", "ogg"})

#: ffprobe has no other way to say it (libavformat/demux.c, estimate_timings_from_bit_rate).
_ESTIMATED: Final = "Estimating duration from bitrate"

_FRAME: Final = re.compile(r"^0,\s*-?\d+,\s*(-?\d+),", re.MULTILINE)
_TIME_BASE: Final = re.compile(r"^#tb 0: (\d+)/(\d+)", re.MULTILINE)


def probe(
    tools: Tools,
    url: str,
    *,
    deadline: float = 30.0,
    limits: Limits = LIMITS,
    max_pixels: int | None = None,
    cancel: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Probe:
    """What the source at ``url`` (or at an absolute path) is. Times are seconds.

    ``max_pixels`` is the largest picture that is decoded to find out.
    Raises :class:`NotMediaError` where ffprobe can make nothing of the bytes,
    :class:`TooCostlyError` where it takes more than it may to describe them, and a
    :class:`media.errors.RunError` otherwise, :class:`SourceUnreadableError` among them.
    """
    source = input_options(url, max_pixels=max_pixels)
    asker = _Asker(tools, url, source, clock() + deadline, limits, cancel, clock)
    document, finished = asker.describe("-show_entries", ENTRIES)
    estimated = any(_ESTIMATED in line for line in finished.stderr_tail)
    found = parse(document, estimated=estimated)
    if not found.video and not found.audio:
        raise NotMediaError("the source holds neither a picture nor a sound track")
    main = found.main_video
    if main is None or found.encrypted:
        return found
    return found.model_copy(update={"timing": _timing(asker, found, main)})


def _timing(asker: _Asker, found: Probe, main: VideoStream) -> Timing | None:
    count = sample_size(found, main)
    with ThreadPoolExecutor(1) as pool:
        # In this thread's context, so that what is logged there says of which video it is.
        ending = pool.submit(copy_context().run, _ending, asker.hurried(_END), found, main)
        packets = asker.packets(main, f"%+#{count}")
        first = _first_picture(asker, main, packets)
        end = ending.result()
    if first is None:
        return None
    complete = end.breaks_off is None and len(packets) < count
    return timing(main, packets, first, complete=complete).model_copy(update=asdict(end))


@dataclass(frozen=True, slots=True)
class _End:
    """What is known of a source's end: those fields of :class:`Timing`."""

    seen_to_end: bool
    breaks_off: Fraction | None = None
    unread: int = 0


def _ending(asker: _Asker, found: Probe, main: VideoStream) -> _End:
    if found.estimated or found.duration is None or found.container in _MEASURED:
        return _End(found.container in _MEASURED)
    begin = _exact(found.start or 0.0 if main.start is None else main.start)
    told = begin + _exact(main.duration) if main.duration else _exact(found.duration)
    try:
        end = find_end(partial(asker.packets, main), main.time_base, begin, told)
        return _End(True, end, _unread(asker, found, main, told))
    except (CanceledError, NotStartedError):
        raise
    except MediaError:
        return _End(False)


def _unread(asker: _Asker, found: Probe, main: VideoStream, told: Fraction) -> int:
    """A fragmented MP4 lasts as long as its fragments, up to the first damaged header.

    So what lies behind its last packet tells whether that was all.
    """
    if found.container != "mov" or main.frames is not None or found.size is None:
        return 0
    lost = found.size - asker.reach(told)
    return lost if lost > found.size * _INDEX else 0


def _exact(seconds: float) -> Fraction:
    return Fraction(seconds).limit_denominator(1_000_000)


def sample_size(found: Probe, main: VideoStream) -> int:
    """How many packets of the track can be read within the budget."""
    rate = main.average_rate or main.base_rate
    if not found.bit_rate or not rate or rate > 1000:
        return _PACKETS // 2
    packet = found.bit_rate / 8 / float(rate)
    return max(_FEWEST, min(_PACKETS, int(_SAMPLE / packet)))


def _first_picture(
    asker: _Asker, main: VideoStream, packets: tuple[Packet, ...]
) -> Fraction | None:
    if not packets:
        return None
    first = first_shown(packets)
    return asker.decode_first(main) if first is None else first * main.time_base


@dataclass(frozen=True, slots=True)
class _Asker:
    """Runs questions about one source, all before one deadline."""

    tools: Tools
    url: str
    source: tuple[str, ...]
    until: float
    limits: Limits
    cancel: threading.Event | None
    clock: Callable[[], float]

    def hurried(self, seconds: float) -> _Asker:
        """The same with no more than so many seconds left."""
        return replace(self, until=min(self.until, self.clock() + seconds))

    def packets(self, main: VideoStream, intervals: str) -> tuple[Packet, ...]:
        """The track's packets in ffprobe's ``-read_intervals``."""
        document, _ = self.describe(
            *("-select_streams", str(main.index)),
            *("-read_intervals", intervals),
            *("-show_entries", "packet=pts,dts,flags"),
        )
        return parse_packets(document)

    def reach(self, start: Fraction) -> int:
        """Where the last byte of the packets from ``start`` on lies."""
        document, _ = self.describe(
            *("-read_intervals", f"{float(start):.3f}%+#{_LAST_PACKETS}"),
            *("-show_entries", "packet=pos,size"),
        )
        listed = mappings(mapping(document).get("packets"))
        return max(
            ((integer(p.get("pos")) or 0) + (integer(p.get("size")) or 0) for p in listed),
            default=0,
        )

    def describe(self, *question: str) -> tuple[Any, Finished]:
        """ffprobe's JSON answer. Raises :class:`NotMediaError`."""
        quiet = ("-hide_banner", "-v", "repeat+warning", "-of", "json=c=1", "-o", f"{SINK}json")
        try:
            answer, finished = self._run(
                self.tools.ffprobe, (*quiet, *question, *self.source, "-i", self.url), "json"
            )
            return json.loads(answer), finished
        except FfmpegFailedError as error:
            self._check_signal(error)
            raise NotMediaError("this is no media that we read", error.evidence.stderr) from error
        except (ValueError, RecursionError) as error:
            raise NotMediaError("ffprobe cannot describe the source") from error

    def decode_first(self, main: VideoStream) -> Fraction | None:
        """Presentation time of the first picture that ffmpeg decodes; None where it cannot."""
        arguments = (
            *("-hide_banner", "-nostdin", "-nostats", "-v", "repeat+warning", "-copyts"),
            *("-max_error_rate", "1", *self.source, "-i", self.url),
            *("-map", f"0:{main.index}", "-frames:v", "1"),
            *("-fps_mode", "passthrough", "-enc_time_base", "demux"),
            *("-f", "framecrc", f"{SINK}first"),
        )
        try:
            answer, _ = self._run(self.tools.ffmpeg, arguments, "first")
        except FfmpegFailedError as error:
            self._check_signal(error)
            return None
        return parse_first(answer.decode("ascii", "replace"))

    def _check_signal(self, error: FfmpegFailedError) -> None:
        """Raise unless the process ended by itself."""
        code = error.evidence.exit_code or 0
        if code == -signal.SIGXCPU:
            took = f"describing the source takes more than {self.limits.cpu_seconds} s"
            raise TooCostlyError(took) from error
        if code < 0:
            raise error

    def _run(self, program: Path, arguments: tuple[str, ...], sink: str) -> tuple[bytes, Finished]:
        answer = bytearray()

        def take(data: bytes) -> None:
            if len(answer) + len(data) > _LONGEST:
                raise OverflowError(f"more than {_LONGEST} bytes of description")
            answer.extend(data)

        try:
            finished = execute(
                Job(
                    program=program,
                    arguments=arguments,
                    sinks={sink: take},
                    deadline=max(self.until - self.clock(), 0.1),
                    limits=self.limits,
                    cancel=self.cancel,
                    clock=self.clock,
                )
            )
        except SinkFailedError as error:
            told = f"the source cannot be described: {error.__cause__}"
            raise TooCostlyError(told) from error
        return bytes(answer), finished


def parse_first(answer: str) -> Fraction | None:
    """Seconds of the first picture in a ``framecrc`` listing."""
    base, frame = _TIME_BASE.search(answer), _FRAME.search(answer)
    if base is None or frame is None or int(base[2]) == 0:
        return None
    return int(frame[1]) * Fraction(int(base[1]), int(base[2]))

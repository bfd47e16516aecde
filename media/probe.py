"""Asks ffprobe what a source is, with few small reads.

Two runs: one for the tracks, one for the first packets of the main picture track. Where those
leave in doubt which picture is shown first, ffmpeg decodes one: it is ffmpeg that will encode.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from media.binaries import Tools
from media.command import SINK
from media.errors import FfmpegFailedError, NotMediaError, SinkFailedError
from media.execute import Finished, Job, execute
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

#: ffprobe has no other way to say it (libavformat/demux.c, estimate_timings_from_bit_rate).
_ESTIMATED: Final = "Estimating duration from bitrate"

_FRAME: Final = re.compile(r"^0,\s*-?\d+,\s*(-?\d+),", re.MULTILINE)
_TIME_BASE: Final = re.compile(r"^#tb 0: (\d+)/(\d+)", re.MULTILINE)


def probe(
    tools: Tools,
    url: str,
    *,
    deadline: float = 30.0,
    ca_file: Path | None = None,
    limits: Limits | None = None,
    cancel: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Probe:
    """What the source at ``url`` (or at an absolute path) is. Times are seconds.

    Raises :class:`NotMediaError` where ffprobe can make nothing of the bytes, and a
    :class:`media.errors.RunError` otherwise, :class:`SourceUnreadableError` among them.
    """
    source = input_options(url, ca_file=ca_file)
    asker = _Asker(tools, url, source, clock() + deadline, limits or Limits(), cancel, clock)
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
    document, _ = asker.describe(
        *("-select_streams", str(main.index)),
        *("-read_intervals", f"%+#{count}"),
        *("-show_entries", "packet=pts,dts,flags"),
    )
    packets = parse_packets(document)
    first = _first_picture(asker, main, packets)
    if first is None:
        return None
    return timing(main, packets, first, complete=len(packets) < count)


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

    def describe(self, *question: str) -> tuple[Any, Finished]:
        """ffprobe's JSON answer. Raises :class:`NotMediaError`."""
        quiet = ("-hide_banner", "-v", "repeat+warning", "-of", "json=c=1", "-o", f"{SINK}json")
        try:
            answer, finished = self._run(
                self.tools.ffprobe, (*quiet, *question, *self.source, "-i", self.url), "json"
            )
            return json.loads(answer), finished
        except FfmpegFailedError as error:
            if (error.evidence.exit_code or 0) < 0:
                raise
            raise NotMediaError("this is no media that we read", error.evidence.stderr) from error
        except (ValueError, RecursionError) as error:
            raise NotMediaError("ffprobe cannot describe the source") from error

    def decode_first(self, main: VideoStream) -> Fraction | None:
        """Presentation time of the first picture that ffmpeg decodes; None where it cannot."""
        arguments = (
            *("-hide_banner", "-nostdin", "-nostats", "-v", "repeat+warning", "-copyts"),
            *(*self.source, "-i", self.url, "-map", f"0:{main.index}", "-frames:v", "1"),
            *("-fps_mode", "passthrough", "-enc_time_base", "demux"),
            *("-f", "framecrc", f"{SINK}first"),
        )
        try:
            answer, _ = self._run(self.tools.ffmpeg, arguments, "first")
        except FfmpegFailedError as error:
            if (error.evidence.exit_code or 0) < 0:
                raise
            return None
        return parse_first(answer.decode("ascii", "replace"))

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
            raise NotMediaError(f"the source cannot be described: {error.__cause__}") from error
        return bytes(answer), finished


def parse_first(answer: str) -> Fraction | None:
    """Seconds of the first picture in a ``framecrc`` listing."""
    base, frame = _TIME_BASE.search(answer), _FRAME.search(answer)
    if base is None or frame is None or int(base[2]) == 0:
        return None
    return int(frame[1]) * Fraction(int(base[1]), int(base[2]))

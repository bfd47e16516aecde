"""An encoder that sleeps, and films of any number of parts: the control plane without ffmpeg.

What surrounds the encoding is the product's own: the look at what is done before a part, the
recorder with its threads, the segment, the init segment, the receipt. A part's segment is a few
bytes, and there is one rung, so that a part costs the farm what its bookkeeping costs.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

import pipeline.inspect
import pipeline.work
from media.errors import CanceledError, Evidence
from media.probed import Probe, VideoStream
from pipeline.bench import Bench
from pipeline.encode import next_spot
from pipeline.recorder import PartRecorder, Stint, TrackTape
from pipeline.runs import Run
from transcoder.cmaf import CutSegment, Grid, Init, Segmenter
from transcoder.plan import Lane, Part, PartKind, Plan, Rung, VideoPlan
from transcoder.segments import KeyFrame, Receipt, Segment, TrackSegments

RUNG: Final = "180p"
GOP: Final = 50
SEGMENT: Final = 150
RATE: Final = 25

#: Ticks of a frame at that rate.
_TICKS: Final = 1000
_DATA: Final = bytes(64)
_CODEC: Final = "avc1.64001e"

#: A part lasts from so much to so much of what it lasts on average.
_SPREAD: Final = (0.5, 1.5)
#: What a head lasts, of that.
_HEAD: Final = 0.1


def film(parts: int) -> Plan:
    """A plan of so many parts: a head of one group of pictures, then chunks of one segment."""
    frames = GOP + SEGMENT * (parts - 1)
    rates: dict[str, Any] = {"crf": 23.0, "maxrate": 100_000, "bufsize": 200_000, "level": "3.0"}
    video = VideoPlan(
        stream=0, zero=Fraction(0), rate=Fraction(RATE), gop=GOP, segment=SEGMENT, frames=frames,
        preroll=0, constant_rate=True, width=320, height=180, preset="veryfast",
        rungs=(Rung(name=RUNG, width=320, height=180, **rates),),
    )  # fmt: skip
    stream = VideoStream(index=0, codec="h264", width=320, height=180)
    probe = Probe(
        container="mov", duration=frames / RATE, start=0, size=1, bit_rate=1, indexed=True,
        video=(stream,),
    )  # fmt: skip
    made = tuple(_part(number, parts) for number in range(parts))
    lane = Lane(tracks=(RUNG,), parts=tuple(part.id for part in made))
    return Plan(
        profile="default", probe=probe, target_duration=6, checkpoint=5, video=video, parts=made,
        lanes=(lane,),
    )  # fmt: skip


def _part(number: int, parts: int) -> Part:
    return Part(
        id=f"v{number:05}",
        kind=PartKind.VIDEO,
        head=number == 0,
        tracks=(RUNG,),
        first=0 if number == 0 else GOP + SEGMENT * (number - 1),
        count=None if number == parts - 1 else _frames(number),
    )


def _frames(number: int) -> int:
    return SEGMENT if number else GOP


def receipt(part: Part, number: int) -> Receipt:
    """What a run of that part would have left."""
    cut = _cut(number)
    segment = Segment(
        path=f"1/run/{RUNG}-{number:05}.m4s",
        size=len(cut.data),
        start=cut.start,
        ticks=cut.ticks,
        keyframes=cut.keyframes,
    )
    track = TrackSegments(
        track=RUNG,
        codec=_CODEC,
        timescale=RATE * _TICKS,
        init_path=f"1/{RUNG}-init-{_INIT.sha256[:12]}.mp4",
        init_hash=_INIT.sha256,
        segments=(segment,),
    )
    return Receipt(part=part.id, run="run", host="host", first=part.first, tracks=(track,))


def _cut(number: int) -> CutSegment:
    frames = _frames(number)
    key = KeyFrame(offset=20, size=40, duration=Fraction(frames, RATE))
    start = (GOP + SEGMENT * (number - 1)) * _TICKS if number else 0
    return CutSegment(_DATA, start, frames * _TICKS, (key,), frames)


_INIT: Final = Init(
    data=_DATA, sha256=hashlib.sha256(_DATA).hexdigest(), codec=_CODEC, timescale=RATE * _TICKS,
    is_video=True, media_time=0,
)  # fmt: skip


class _Cutter(Segmenter):
    """Cuts the one segment of a part whatever it is fed."""

    def __init__(self, number: int, grid: Grid) -> None:
        super().__init__(grid, timescale=RATE * _TICKS)
        self._number = number

    @property
    def init(self) -> Init:
        return _INIT

    def feed(self, data: bytes) -> list[CutSegment]:  # noqa: ARG002
        return [_cut(self._number)]

    def finish(self) -> list[CutSegment]:
        return []


@dataclass(frozen=True, slots=True)
class StandIn:
    """In the place of looking and encoding: films of ``parts``, parts of ``seconds``."""

    parts: int
    seconds: float

    def install(self) -> None:
        """Have the pipeline of this process use it, for good."""
        plan = film(self.parts)

        def examine(*_: Any) -> Probe:
            return plan.probe

        def make_plan(*_: Any, **__: Any) -> Plan:
            return plan

        # Not through mypy: a module's names are not there to be exchanged.
        for module, name, stand_in in (
            (pipeline.inspect, "examine", examine),
            (pipeline.inspect, "make_plan", make_plan),
            (pipeline.work, "encode", self.encode),
        ):
            assert hasattr(module, name)
            setattr(module, name, stand_in)

    def encode(
        self, bench: Bench, run: Run, _plan: Plan, part: Part, on_commit: Callable[[], None]
    ) -> None:
        """In place of :func:`pipeline.encode.encode`."""
        spot = next_spot(bench.store, run.ref, part)
        if spot is None:
            return
        number = int(part.id.removeprefix("v"))
        grid = Grid(head=GOP * _TICKS, segment=SEGMENT * _TICKS)
        tape = TrackTape(RUNG, _Cutter(number, grid), grid)
        stint = Stint(run.ref, run.id, bench.host, part.first, spot.checkpoint, None)
        recorder = PartRecorder(bench.store, stint, [tape], on_commit=on_commit)
        with bench.sources.lend(run.ref.video_id), closing(recorder):
            seconds = self.seconds * (_HEAD if part.head else 1)
            if run.cancel.wait(seconds * random.uniform(*_SPREAD)):
                raise CanceledError("ended on request", Evidence(()))
            for sink in recorder.sinks.values():
                sink(_DATA)
            recorder.finish(cpu=0.0, skew=0.0)

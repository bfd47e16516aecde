"""A video or audio part: one ffmpeg run, its segments stored, its receipt written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from jobs.ids import new_run_id
from jobs.parts import PartRef
from media.command import Command
from media.errors import FfmpegFailedError
from media.process import Progress, Sink
from media.process import run as run_ffmpeg
from media.safety import input_mapping
from pipeline.bench import Bench
from pipeline.recorder import PartRecorder, Stint, TrackTape
from pipeline.runs import Run
from storage import layout
from storage.documents import load_document
from storage.objects import ObjectStore
from transcoder.cmaf import Grid, Segmenter
from transcoder.command import (
    FRAMES_SINK,
    audio_command,
    audio_cut,
    audio_plan,
    deadline,
    video_command,
    video_deadline,
)
from transcoder.frames import FrameMeter, FrameReport
from transcoder.plan import AAC_FRAME, Part, PartKind, Plan
from transcoder.segments import Receipt

_LOG = structlog.get_logger(__name__)

#: Seconds a presigned source URL outlives the deadline of the run that reads from it.
URL_MARGIN: Final = 600.0

#: Pre-roll of the second try in seconds, at least: longer than most groups of pictures.
_LONG_PREROLL: Final = 10.0

#: Pre-roll of the last try: as good as decoding from the start, without the cost in a long film.
_LONGEST_PREROLL: Final = 300.0

#: Seconds by which a film may be shorter than it says before that is worth a word.
_CUT_OFF: Final = 1.0

_SILENT: Final = (("tracks_left_out", "A sound track is declared that holds no sound."),)

OnCommit = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a part goes on: the first frame and the checkpoint not yet committed."""

    first: int
    checkpoint: int


@dataclass(frozen=True, slots=True)
class Shift:
    """All that one try at a part needs, but the pre-roll."""

    bench: Bench
    run: Run
    plan: Plan
    part: Part
    spot: Spot
    on_commit: OnCommit


def encode(bench: Bench, run: Run, plan: Plan, part: Part, on_commit: OnCommit) -> None:
    """Make the part's segments, unless its receipts are all there.

    ``on_commit`` is called after each checkpoint of a stream part. Raises
    :mod:`media.errors`, :class:`pipeline.errors.SupersededError` and :mod:`storage.errors`.
    """
    spot = next_spot(bench.store, run.ref, part)
    if spot is None:
        return
    shift = Shift(bench, run, plan, part, spot, on_commit)
    if part.kind is PartKind.AUDIO:
        _encode_audio(shift)
    else:
        _encode_video(shift)


def next_spot(store: ObjectStore, ref: PartRef, part: Part) -> Spot | None:
    """The first checkpoint without a receipt; None where nothing is left to do."""
    prefix = layout.receipts(ref.video_id, ref.generation, f"{part.id}.")
    keys = [info.key for info in store.list(prefix)]
    if not keys:
        return Spot(part.first, 0)
    receipt = Receipt.model_validate(load_document(store, keys[-1])[0])
    return None if receipt.last else Spot(receipt.first + receipt.count, receipt.checkpoint + 1)


def _encode_video(shift: Shift) -> None:
    """Wrong pictures are made once more with a longer pre-roll, then with a very long one.

    What is wrong even then is damage in the source, and is shipped with a warning.
    """
    *tries, last = _prerolls(shift.plan, shift.part)
    for preroll in tries:
        if _try_video(shift, preroll, strict=True):
            return
    _try_video(shift, last, strict=False)


def _prerolls(plan: Plan, part: Part) -> tuple[float, ...]:
    assert plan.video is not None
    planned = plan.video.preroll
    if part.stream or part.first == 0:
        return (planned,)
    return planned, max(2 * planned, _LONG_PREROLL), max(4 * planned, _LONGEST_PREROLL)


def _try_video(shift: Shift, preroll: float, *, strict: bool) -> bool:
    """Encode once; False where the pictures are wrong and ``strict`` says to try again."""
    video = shift.plan.video
    assert video is not None
    patience = video_deadline(shift.plan, shift.part, shift.spot.first, preroll)
    url = _source_url(shift, patience)
    command = video_command(
        shift.plan,
        shift.part,
        url,
        input_options=input_mapping(url, ca_file=shift.bench.ca_file),
        first=shift.spot.first,
        preroll=preroll,
    )
    ticks = video.frame_ticks
    grid = Grid(head=video.gop * ticks, segment=video.segment * ticks)
    first = shift.spot.first * ticks
    tapes = [
        TrackTape(name, Segmenter(grid, timescale=video.timescale, first=first, label=name), grid)
        for name in shift.part.tracks
    ]
    count = shift.part.count and shift.part.first + shift.part.count - shift.spot.first
    meter = FrameMeter(video, shift.spot.first, count)
    with _recorder(shift, tapes) as recorder:
        cpu = _run(shift, command, recorder, {FRAMES_SINK: meter.feed}, _frames_done(shift))
        report = meter.report()
        if strict and not report.ok:
            _LOG.warning("wrong_frames", preroll=preroll, skew=report.skew)
            return False
        recorder.finish(cpu=cpu, skew=report.skew, warnings=_frame_warnings(shift, report))
    return True


def _encode_audio(shift: Shift) -> None:
    audio = audio_plan(shift.plan, shift.part)
    url = _source_url(shift, deadline(shift.part))
    command = audio_command(
        shift.plan,
        shift.part,
        url,
        input_options=input_mapping(url, ca_file=shift.bench.ca_file),
        first=shift.spot.first,
    )
    cut = audio_cut(audio, shift.spot.first)
    grid = Grid(head=audio.fragment * AAC_FRAME, segment=audio.segment * AAC_FRAME)
    segmenter = Segmenter(
        grid,
        timescale=audio.sample_rate,
        first=cut.shift,
        drop_until=cut.drop_until,
        shift=cut.shift,
        label=audio.name,
    )
    with _recorder(shift, [TrackTape(audio.name, segmenter, grid)]) as recorder:
        try:
            cpu = _run(shift, command, recorder, {}, _seconds_done(shift))
        except FfmpegFailedError:
            # ffmpeg 9 crashes where a track that is declared has no packet.
            if not segmenter.untouched or shift.run.attempts.errors == 0:
                raise
            cpu = 0.0
        empty = segmenter.untouched and shift.spot.first == 0
        recorder.finish(cpu=cpu, skew=None, warnings=_SILENT if empty else ())


@contextmanager
def _recorder(shift: Shift, tapes: Sequence[TrackTape]) -> Iterator[PartRecorder]:
    """A recorder for one try, under a run id of its own, that leaves no orphans."""
    stint = Stint(
        ref=shift.run.ref,
        run=new_run_id(),
        host=shift.bench.host,
        first=shift.spot.first,
        checkpoint=shift.spot.checkpoint,
        every=shift.plan.checkpoint if shift.part.stream else None,
    )
    recorder = PartRecorder(shift.bench.store, stint, tapes, on_commit=shift.on_commit)
    try:
        yield recorder
    finally:
        recorder.close()


def _run(
    shift: Shift,
    command: Command,
    recorder: PartRecorder,
    sinks: Mapping[str, Sink],
    on_progress: Callable[[Progress], None],
) -> float:
    """Run ffmpeg into the recorder; the CPU seconds it took."""
    finished = run_ffmpeg(
        shift.bench.tools,
        command,
        sinks={**recorder.sinks, **sinks},
        on_progress=on_progress,
        cancel=shift.run.cancel,
    )
    return finished.cpu


def _source_url(shift: Shift, patience: float) -> str:
    """An address of the source that outlives a run of ``patience`` seconds."""
    key = layout.source(shift.run.ref.video_id)
    return shift.bench.store.presign(key, patience + URL_MARGIN)


def _frames_done(shift: Shift) -> Callable[[Progress], None]:
    """Reports the fraction of a video part that is encoded."""
    video = shift.plan.video
    frames = shift.part.count or (video.frames if video else None)
    already = shift.spot.first - shift.part.first

    def report(progress: Progress) -> None:
        if frames:
            shift.run.report(min((already + progress.frame) / frames, 1.0))

    return report


def _seconds_done(shift: Shift) -> Callable[[Progress], None]:
    """Reports the fraction of a sound part that is encoded."""
    audio = audio_plan(shift.plan, shift.part)
    begin = shift.spot.first * AAC_FRAME / audio.sample_rate

    def report(progress: Progress) -> None:
        if audio.duration and progress.out_time is not None:
            shift.run.report(min((begin + progress.out_time) / audio.duration, 1.0))

    return report


def _frame_warnings(shift: Shift, report: FrameReport) -> tuple[tuple[str, str], ...]:
    """What is to be said of the pictures, once for all rungs."""
    video = shift.plan.video
    if video is None or video.rungs[0].name not in shift.part.tracks:
        return ()
    if not report.ok:
        start = float(shift.part.first / video.rate)
        text = (
            f"The source is damaged near {start:.0f} s: pictures are missing or out of place there."
        )
        return (("damaged_source", text),)
    end = float((shift.spot.first + report.count) / video.rate)
    told = _told_seconds(shift.plan)
    if shift.part.count is not None or told is None or end > told - _CUT_OFF:
        return ()
    text = (
        f"The source says that it lasts {told:.1f} s, but its pictures end at {float(end):.1f} s."
    )
    return (("damaged_source", text),)


def _told_seconds(plan: Plan) -> float | None:
    """Seconds that the picture track is said to last; None where only the whole file's are told."""
    video = plan.video
    if video is None or video.frames is None:
        return None
    stream = next(each for each in plan.probe.video if each.index == video.stream)
    return None if stream.duration is None else float(video.frames / video.rate)

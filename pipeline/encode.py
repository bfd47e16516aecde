"""A video or audio part: one ffmpeg run, its segments stored, its receipt written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from catalog.documents import load
from jobs.ids import new_run_id
from jobs.parts import PartRef
from jobs.records import Problem
from media.command import Command
from media.errors import FfmpegFailedError
from media.process import Finished, Progress, Sink
from media.process import run as run_ffmpeg
from pipeline.accounts import tally_speed
from pipeline.bench import Bench
from pipeline.errors import DeviceFaultError
from pipeline.gpu import on_gpu
from pipeline.recorder import PartRecorder, Stint, TrackTape
from pipeline.runs import Run
from storage import layout
from storage.objects import ObjectStore
from transcoder.cmaf import Grid, Segmenter
from transcoder.command import (
    FRAMES_SINK,
    audio_command,
    audio_cut,
    audio_plan,
    look_command,
    video_command,
)
from transcoder.damage import Damage
from transcoder.frames import FrameMeter, FrameReport
from transcoder.look import Look
from transcoder.plan import AAC_FRAME, Part, PartKind, Plan
from transcoder.segments import Receipt
from transcoder.sounds import SoundMeter

_LOG = structlog.get_logger(__name__)

#: Pre-roll of the second try in seconds, at least: longer than most groups of pictures.
_LONG_PREROLL: Final = 10.0

#: Pre-roll of the last try: as good as decoding from the start, without the cost in a long film.
_LONGEST_PREROLL: Final = 300.0

#: Of these pre-rolls, so many are tried on a graphics processor.
_DEVICE_PREROLLS: Final = 2

_SILENT: Final = (("tracks_left_out", "A sound track is declared that holds no sound."),)

#: What ffmpeg says last where a decoder gave nothing at all (fftools/ffmpeg_mux.c).
_NO_PICTURE: Final = "at least one of its streams received no packets"

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
    #: Of the source.
    url: str
    #: The graphics processor to use; None for software.
    device: str | None = None


def encode(bench: Bench, run: Run, plan: Plan, part: Part, on_commit: OnCommit) -> None:
    """Make the part's segments, unless its receipts are all there.

    ``on_commit`` is called after each checkpoint of a stream part. Raises
    :mod:`media.errors`, :class:`pipeline.errors.SupersededError` and :mod:`storage.errors`.
    """
    spot = next_spot(bench.store, run.ref, part)
    if spot is None:
        return
    with bench.sources.lend(run.ref.video_id) as url:
        device = bench.gpu.device.name if bench.gpu and on_gpu(plan, part) else None
        shift = Shift(bench, run, plan, part, spot, on_commit, url, device)
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
    receipt, _ = load(store, keys[-1], Receipt)
    return None if receipt.last else Spot(receipt.first + receipt.count, receipt.checkpoint + 1)


def _encode_video(shift: Shift) -> None:
    """Wrong pictures are made once more with a longer pre-roll, then with a very long one.

    What is wrong even then, or in the same way twice, is damage in the source, and is shipped.
    """
    *tries, last = _prerolls(shift.plan, shift.part)
    if shift.device is not None:
        # Whether what is wrong on a device is the source's fault is for software to find out.
        *tries, last = (*tries, last)[:_DEVICE_PREROLLS]
    before: FrameReport | None = None
    for preroll in tries:
        before = _try_video(shift, preroll, before)
        if before is None:
            return
    _try_video(shift, last, before, last=True)


def _prerolls(plan: Plan, part: Part) -> tuple[float, ...]:
    assert plan.video is not None
    planned = plan.video.preroll
    if part.stream or part.first == 0:
        return (planned,)
    return planned, max(2 * planned, _LONG_PREROLL), max(4 * planned, _LONGEST_PREROLL)


def _try_video(
    shift: Shift, preroll: float, before: FrameReport | None, *, last: bool = False
) -> FrameReport | None:
    """Encode once; what was wrong with the pictures where it is worth another try."""
    video = shift.plan.video
    assert video is not None
    command = video_command(
        shift.plan,
        shift.part,
        shift.url,
        input_options=shift.bench.reading(shift.url),
        first=shift.spot.first,
        preroll=preroll,
        fill=last and shift.device is None and _is_inside(shift),
        device=shift.device,
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
    seen: list[Damage] = []
    with _recorder(shift, tapes, lambda: (*meter.faults(), *seen)) as recorder:
        cpu, mended, wall = 0.0, False, 0.0
        try:
            ended = _run(shift, command, recorder, {FRAMES_SINK: meter.feed}, _frames_done(shift))
            cpu, mended, wall = ended.cpu, ended.damaged, ended.wall
        except FfmpegFailedError as error:
            nothing = _decoded_nothing(error) and all(t.segmenter.untouched for t in tapes)
            if shift.device is not None or not nothing:
                raise
        report = meter.report()
        if shift.device is not None:
            _check_device(shift, tapes, report, last=last, damaged=mended)
        if not last and not (report.ok if shift.device else report.settles(before)):
            _LOG.warning("wrong_frames", preroll=preroll, skew=report.skew)
            return report
        if mended:
            seen += _look(shift, preroll)
        recorder.finish(cpu=cpu, skew=report.skew)
        tally_speed(shift.bench.board.tallies, shift.run, float(recorder.count / video.rate), wall)
    return None


def _check_device(
    shift: Shift, tapes: Sequence[TrackTape], report: FrameReport, *, last: bool, damaged: bool
) -> None:
    """Raise :class:`DeviceFaultError` where a graphics processor broke the frame contract.

    Wrong pictures may be the source's fault, so a longer pre-roll is tried first. That as many
    come out of an encoder as went in, no source has anything to do with.
    """
    message = f"Part {shift.part.id} shows pictures in the wrong places, or too few of them."
    hint = "`reelfarm doctor` on the worker tries its encoders; see its log for what else failed."
    problem = Problem(code="encode_failed", message=message, hint=hint)
    lost = [t.name for t in tapes if t.segmenter.samples != report.count]
    if lost:
        given = ", ".join(f"{t.segmenter.samples} in {t.name}" for t in tapes if t.name in lost)
        raise DeviceFaultError(problem, f"of {report.count} pictures it encoded {given}")
    if last and not report.ok:
        reason = f"pictures in the wrong places: {report.count}, skew {report.skew} s"
        raise DeviceFaultError(problem, None if damaged else reason)


def _decoded_nothing(error: FfmpegFailedError) -> bool:
    """Whether ffmpeg failed for want of a single picture, of which it would know the format."""
    return any(_NO_PICTURE in line for line in error.evidence.stderr)


def _is_inside(shift: Shift) -> bool:
    """Whether pictures are known to follow, so that a part without any has to show something."""
    timing = shift.plan.probe.timing
    return timing is not None and timing.seen_to_end


def _look(shift: Shift, preroll: float) -> tuple[Damage, ...]:
    """When the decoder had to mend pictures, told once for all rungs."""
    video = shift.plan.video
    if video is None or video.rungs[0].name not in shift.part.tracks:
        return ()
    command = look_command(
        shift.plan,
        shift.part,
        shift.url,
        input_options=shift.bench.reading(shift.url),
        preroll=preroll,
    )
    look = Look(video, shift.part)
    sinks = {"stderr": look.feed}
    try:
        run_ffmpeg(shift.bench.tools, command, sinks=sinks, cancel=shift.run.cancel)
    except FfmpegFailedError as error:
        _LOG.warning("damage_not_located", error=str(error))
    return look.damage()


def _encode_audio(shift: Shift) -> None:
    audio = audio_plan(shift.plan, shift.part)
    command = audio_command(
        shift.plan,
        shift.part,
        shift.url,
        input_options=shift.bench.reading(shift.url),
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
    meter = SoundMeter(shift.plan, audio, cut.shift)
    with _recorder(shift, [TrackTape(audio.name, segmenter, grid)], meter.gaps) as recorder:
        try:
            sinks = {FRAMES_SINK: meter.feed}
            ended = _run(shift, command, recorder, sinks, _seconds_done(shift))
            cpu, wall = ended.cpu, ended.wall
        except FfmpegFailedError:
            # ffmpeg 9 crashes where a track that is declared has no packet.
            if not segmenter.untouched or shift.run.attempts.errors == 0:
                raise
            cpu, wall = 0.0, 0.0
        empty = segmenter.untouched and shift.spot.first == 0
        recorder.finish(cpu=cpu, skew=None, warnings=_SILENT if empty else ())
        film = recorder.count * AAC_FRAME / audio.sample_rate
        tally_speed(shift.bench.board.tallies, shift.run, film, wall)


@contextmanager
def _recorder(
    shift: Shift, tapes: Sequence[TrackTape], damage: Callable[[], tuple[Damage, ...]]
) -> Iterator[PartRecorder]:
    """A recorder for one try, under a run id of its own, that leaves no orphans."""
    stint = Stint(
        ref=shift.run.ref,
        run=new_run_id(),
        host=shift.bench.host,
        first=shift.spot.first,
        checkpoint=shift.spot.checkpoint,
        every=shift.plan.checkpoint if shift.part.stream else None,
    )
    recorder = PartRecorder(
        shift.bench.store,
        stint,
        tapes,
        on_commit=shift.on_commit,
        damage=damage,
        span=shift.bench.tracer.current(),
    )
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
) -> Finished:
    """Run ffmpeg into the recorder."""
    return run_ffmpeg(
        shift.bench.tools,
        command,
        sinks={**recorder.sinks, **sinks},
        on_progress=on_progress,
        cancel=shift.run.cancel,
    )


def _frames_done(
    shift: Shift, clock: Callable[[], float] = time.monotonic
) -> Callable[[Progress], None]:
    """Reports the fraction of a video part that is encoded, and how fast, from now on."""
    video = shift.plan.video
    assert video is not None
    frames = shift.part.count or video.frames
    already = shift.spot.first - shift.part.first
    rate, began = float(video.rate), clock()

    def report(progress: Progress) -> None:
        shift.run.pace(progress.frame / rate, clock() - began)
        if frames:
            shift.run.report(min((already + progress.frame) / frames, 1.0))

    return report


def _seconds_done(
    shift: Shift, clock: Callable[[], float] = time.monotonic
) -> Callable[[Progress], None]:
    """Reports the fraction of a sound part that is encoded, and how fast, from now on."""
    audio = audio_plan(shift.plan, shift.part)
    begin, began = shift.spot.first * AAC_FRAME / audio.sample_rate, clock()

    def report(progress: Progress) -> None:
        shift.run.pace(progress.out_time or 0.0, clock() - began)
        if audio.duration and progress.out_time is not None:
            shift.run.report(min((begin + progress.out_time) / audio.duration, 1.0))

    return report

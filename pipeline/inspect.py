"""The first part of every generation: look at the source, decide what is made of it."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from threading import Event
from typing import Final

import structlog

from catalog.documents import parsed
from jobs.parts import PartRef
from jobs.records import AudioSummary, Rendition, SourceSummary, VideoRecord, VideoWarning
from jobs.send import QueueUnavailableError
from jobs.states import State
from media.errors import NotMediaError, TooCostlyError
from media.probe import probe
from media.probed import AudioStream, Probe
from pipeline.bench import Bench, needed_schema
from pipeline.gpu import FELL_BACK, has_fallen_back, place_of
from pipeline.inherit import inherit
from storage import layout
from storage.documents import create_document
from transcoder.plan import SOFTWARE, AudioPlan, Plan
from transcoder.planner import make_plan

_LOG = structlog.get_logger(__name__)

#: Seconds ffprobe gets: it reads headers and a few packets.
_DEADLINE = 30.0

#: Bytes at each end of a source.
_ENDS: Final = 64 * 1024

_FELL_BACK: Final = (
    FELL_BACK,
    "A graphics processor failed, so that the video was made in software from its beginning.",
)


def inspect(bench: Bench, ref: PartRef, cancel: Event) -> None:
    """Write the generation's plan, unless it is there, and say in the record what was found.

    Before that, while no other part is sent yet, a retried video takes over what is finished, and
    a new one has its heads sent: a viewer is waiting. ``cancel`` ends the look at the source.

    Raises what :func:`examine` and :func:`transcoder.planner.make_plan` raise.
    """
    plan = bench.plans.of(ref)
    if plan is None:
        found = examine(bench, ref, cancel)
        record = bench.catalog.load_any(ref.video_id)
        encoder = bench.fleet.choose(record) if bench.fleet else SOFTWARE
        proposed = make_plan(found, bench.profile, limits=bench.limits, encoder=encoder)
        if has_fallen_back(record):
            warnings = (*proposed.warnings, _FELL_BACK)
            proposed = proposed.model_copy(update={"warnings": warnings})
        key = layout.plan(ref.video_id, ref.generation)
        created = create_document(bench.store, key, proposed.model_dump(mode="json"))
        plan = parsed(Plan, created.document, key)
    waiting = bench.catalog.load_any(ref.video_id)
    if waiting.generation == ref.generation and waiting.state is State.QUEUED:
        if ref.generation == 1:
            _send_heads(bench, waiting, plan)
        inherit(bench, waiting, plan)
    bench.catalog.update(ref.video_id, lambda record: describe(record, ref, plan))


def _send_heads(bench: Bench, record: VideoRecord, plan: Plan) -> None:
    """Have them begun before anything is written about them; what is not sent now is later.

    Where Redis does not answer, the first one is waited for, and the others are not tried.
    """
    with suppress(QueueUnavailableError):
        for part in plan.parts:
            if part.head:
                ref = PartRef(record.id, record.generation, part.id)
                needs = needed_schema(record, plan)
                pool, priority = place_of(plan, part, record.priority)
                bench.sender.send(
                    ref,
                    pool,
                    priority,
                    cost=part.cost,
                    schema=needs,
                    trace=record.trace,
                )


def examine(bench: Bench, ref: PartRef, cancel: Event) -> Probe:
    """What the source is; that it is no media is believed the second time only.

    That verdict ends the video, and an answer that ends too soon can look like rubbish. Between
    the two looks the source's ends are read in a way that misses nothing.
    Raises what :func:`media.probe.probe` raises, and :mod:`storage.errors`.
    """
    try:
        return _look(bench, ref, cancel)
    except TooCostlyError:
        raise
    except NotMediaError as error:
        _LOG.info("source_looked_at_again", reason=str(error))
        bench.sources.forget(ref.video_id)
        _read_ends(bench, ref)
        return _look(bench, ref, cancel)


def _look(bench: Bench, ref: PartRef, cancel: Event) -> Probe:
    with bench.sources.lend(ref.video_id) as url:
        return probe(
            bench.tools,
            url,
            deadline=_DEADLINE,
            max_pixels=bench.max_pixels,
            cancel=cancel,
        )


def _read_ends(bench: Bench, ref: PartRef) -> None:
    """Read the first and the last bytes. Raises :mod:`storage.errors` where some are missing."""
    key = layout.source(ref.video_id)
    if bench.store.head(key).size == 0:
        return
    for first, last in ((0, _ENDS - 1), (-_ENDS, None)):
        with bench.store.open(key, first, last) as stream:
            deque(stream.iter_chunks(), maxlen=0)


def describe(record: VideoRecord, ref: PartRef, plan: Plan) -> VideoRecord:
    """``record`` with what the plan found, for as long as it waits for just that."""
    if record.state is not State.QUEUED or record.generation != ref.generation:
        return record
    return record.model_copy(
        update={
            "state": State.PROCESSING,
            "source": summarise(plan),
            "renditions": renditions(plan),
            "warnings": tuple(
                VideoWarning(code=code, message=text) for code, text in plan.warnings
            ),
        }
    )


def summarise(plan: Plan) -> SourceSummary:
    """What the API tells of the source."""
    source = plan.probe
    audio = tuple(_audio_summary(stream) for stream in source.audio)
    if plan.video is None:
        return SourceSummary(container=source.container, duration=source.duration, audio=audio)
    picked = plan.video
    stream = next(video for video in source.video if video.index == picked.stream)
    return SourceSummary(
        container=source.container,
        duration=source.duration,
        width=picked.width,
        height=picked.height,
        rotation=stream.rotation,
        fps=str(picked.rate),
        video_codec=stream.codec,
        hdr=picked.tone_map.value if picked.tone_map else None,
        audio=audio,
    )


def renditions(plan: Plan) -> tuple[Rendition, ...]:
    """What will be made, not measured yet."""
    rungs = plan.video.rungs if plan.video else ()
    pictures = tuple(
        Rendition(name=rung.name, width=rung.width, height=rung.height, codec="h264")
        for rung in rungs
    )
    return pictures + tuple(_audio_rendition(track) for track in plan.audio)


def _audio_summary(stream: AudioStream) -> AudioSummary:
    return AudioSummary(codec=stream.codec, channels=stream.channels, language=stream.language)


def _audio_rendition(track: AudioPlan) -> Rendition:
    return Rendition(name=track.name, codec="aac")

"""The pictures part: poster and storyboard. A film without them is still a film."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Final

import structlog

from media.command import Command
from media.errors import (
    CanceledError,
    FfmpegFailedError,
    MediaError,
    NotStartedError,
    SourceUnreadableError,
)
from media.process import Finished, Sink
from media.process import run as run_ffmpeg
from pipeline.bench import Bench
from pipeline.errors import CERTAIN_TRIES, MAX_CRASHES
from pipeline.problems import plain, tries
from pipeline.runs import Run
from storage import layout
from storage.documents import create_document
from thumbnailer.commands import Film
from thumbnailer.errors import NoPictureError
from thumbnailer.pictures import Pictures, Runner, make_pictures
from transcoder.command import deadline
from transcoder.plan import Part, Plan
from transcoder.segments import Receipt, Thumbnails

_LOG = structlog.get_logger(__name__)

POSTER: Final = "poster.jpg"
STORYBOARD: Final = "storyboard.vtt"
_STORYBOARD_JSON: Final = "storyboard.json"

#: Pictures keep their names from one generation to the next, so caches have to ask again.
_CACHE: Final = "public, max-age=300"


def picture(bench: Bench, run: Run, plan: Plan, part: Part) -> None:
    """Make and store the pictures, and write the receipt; one without objects if there are none.

    Raises :class:`media.errors.MediaError` where another try may do better, and
    :mod:`storage.errors`.
    """
    try:
        pictures = _made(bench, run, plan, part)
    except CanceledError:
        raise
    except Exception as error:
        if run.attempts.errors + 1 < _tries(error):
            raise
        foreseen = isinstance(error, (NoPictureError, MediaError))
        _LOG.warning("no_pictures", reason=str(error), exc_info=not foreseen)
        warning = ("no_pictures", f"There is no poster and no storyboard: {plain(str(error))}")
        receipt = Receipt(part=part.id, run=run.id, host=bench.host, warnings=(warning,))
    else:
        objects = _store(bench, run.ref.video_id, pictures)
        receipt = Receipt(
            part=part.id,
            run=run.id,
            host=bench.host,
            objects=objects,
            thumbnails=_thumbnails(pictures),
        )
    key = layout.receipt(run.ref.video_id, run.ref.generation, part.id)
    create_document(bench.store, key, receipt.model_dump(mode="json"))


def _made(bench: Bench, run: Run, plan: Plan, part: Part) -> Pictures:
    if run.attempts.crashes >= MAX_CRASHES:
        raise NoPictureError(f"making them ended {run.attempts.crashes} workers")
    with bench.sources.lend(run.ref.video_id) as url:
        return make_pictures(_runner(bench, run), _film(bench, plan, url), deadline=deadline(part))


def _tries(error: Exception) -> int:
    """Runs that may fail so before the film goes without pictures. An outage is no reason to."""
    if isinstance(error, NoPictureError):
        return 1
    told = isinstance(error, (SourceUnreadableError, NotStartedError, FfmpegFailedError))
    return tries(error) if told else CERTAIN_TRIES


def _runner(bench: Bench, run: Run) -> Runner:
    def start(command: Command, sinks: Mapping[str, Sink]) -> Finished:
        return run_ffmpeg(bench.tools, command, sinks=sinks, cancel=run.cancel)

    return start


def _film(bench: Bench, plan: Plan, url: str) -> Film:
    video = plan.video
    assert video is not None
    length = None if video.frames is None else Fraction(video.frames) / video.rate
    return Film(
        url=url,
        stream=video.stream,
        width=video.width,
        height=video.height,
        zero=video.zero,
        duration=length,
        frames=video.frames,
        input_options=bench.reading(url),
        interlaced=video.deinterlace,
        tone_map=video.tone_map.value if video.tone_map else None,
        color_matrix=video.color_space,
    )


def _store(bench: Bench, video_id: str, pictures: Pictures) -> tuple[str, ...]:
    files = {
        POSTER: (pictures.poster, "image/jpeg"),
        STORYBOARD: (pictures.vtt.encode(), "text/vtt"),
        _STORYBOARD_JSON: (pictures.json.encode(), "application/json"),
    }
    for number, sheet in enumerate(pictures.sheets):
        files[f"storyboard_{number}.jpg"] = sheet, "image/jpeg"
    for path, (body, kind) in files.items():
        key = layout.play(video_id, path)
        bench.store.put(key, body, content_type=kind, cache_control=_CACHE)
    return tuple(files)


def _thumbnails(pictures: Pictures) -> Thumbnails:
    shape = pictures.layout
    return Thumbnails(
        width=shape.tile_width * shape.columns,
        height=shape.tile_height * shape.rows,
        columns=shape.columns,
        rows=shape.rows,
        interval=shape.interval,
        largest=max(len(sheet) for sheet in pictures.sheets),
    )

"""The end of a generation: complete manifests with measured rates, then ``ready``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from catalog.videos import utc_now
from jobs.records import Problem, Rendition, VideoRecord, VideoWarning
from jobs.states import State
from pipeline.bench import Bench
from pipeline.errors import PermanentError
from pipeline.pictures import POSTER, STORYBOARD
from pipeline.playlists import DASH_TYPE, MANIFEST, MASTER, write_text
from storage import layout
from storage.documents import load_document
from transcoder.bandwidth import measure, measure_iframes
from transcoder.dash import mpd
from transcoder.hls import (
    Stream,
    iframe_playlist,
    iframes_path,
    media_playlist,
    multivariant,
    playlist_path,
)
from transcoder.plan import Plan
from transcoder.segments import Receipt, SegmentsError, Thumbnails, TrackSegments, joined

_LOG = structlog.get_logger(__name__)

#: Receipts read at once.
_READERS: Final = 8

Tracks = dict[str, TrackSegments]


def finish(bench: Bench, record: VideoRecord, plan: Plan) -> None:
    """Write the final playlists and the MPD, remove what they do not name, say ``ready``.

    Every write is the same whoever does it and however often. Raises
    :class:`pipeline.errors.PermanentError` where the parts do not make a whole.
    """
    receipts = read_receipts(bench, record)
    tracks = join_tracks(plan, receipts)
    named = write_manifests(bench, record, plan, tracks, receipts)
    remove_unnamed(bench, record, named)
    ready = bench.catalog.update(record.id, lambda now: _ready(now, record, plan, tracks, receipts))
    if ready.state is State.READY:
        bench.catalog.settle(record.id, record.generation)
        bench.board.forget(record.id)
        _LOG.info("video_ready", video_id=record.id, tracks=len(tracks))


def read_receipts(bench: Bench, record: VideoRecord) -> list[Receipt]:
    """Every receipt of the generation, in the order of their keys."""
    prefix = layout.receipts(record.id, record.generation)
    keys = [info.key for info in bench.store.list(prefix)]
    with ThreadPoolExecutor(_READERS) as pool:
        payloads = pool.map(lambda key: load_document(bench.store, key)[0], keys)
        return [Receipt.model_validate(payload) for payload in payloads]


def join_tracks(plan: Plan, receipts: list[Receipt]) -> Tracks:
    """Each track as one; those of which nothing came are left out."""
    pieces: dict[str, list[TrackSegments]] = {}
    for receipt in receipts:
        for track in receipt.tracks:
            pieces.setdefault(track.track, []).append(track)
    try:
        tracks = {name: joined(parts) for name, parts in pieces.items()}
    except SegmentsError as error:
        raise PermanentError(_broken(str(error))) from error
    if not tracks or (plan.video and plan.video.rungs[0].name not in tracks):
        raise PermanentError(_broken("not one picture or sound could be decoded"))
    return tracks


def write_manifests(
    bench: Bench, record: VideoRecord, plan: Plan, tracks: Tracks, receipts: list[Receipt]
) -> frozenset[str]:
    """Write all playlists and the MPD; the paths below ``play/`` of the whole generation."""
    generation, target = record.generation, plan.target_duration
    named: set[str] = set()
    streams: dict[str, Stream] = {}
    for name, track in tracks.items():
        path, iframes = playlist_path(generation, name), iframes_path(generation, name)
        write_text(bench.store, record.id, path, media_playlist(path, track, target))
        named |= {path, track.init_path} | {segment.path for segment in track.segments}
        scrubbing = any(segment.keyframes for segment in track.segments)
        if scrubbing:
            text = iframe_playlist(iframes, track, target)
            write_text(bench.store, record.id, iframes, text)
            named.add(iframes)
        streams[name] = Stream(
            path,
            track.codec,
            measure(track, target),
            iframes if scrubbing else None,
            measure_iframes(track, target) if scrubbing else None,
        )
    manifest = mpd(plan, tracks, _thumbnails(receipts))
    write_text(bench.store, record.id, MANIFEST, manifest, DASH_TYPE)
    write_text(bench.store, record.id, MASTER, multivariant(plan, streams))
    pictures = {path for receipt in receipts for path in receipt.objects}
    return frozenset({MASTER, MANIFEST, *named, *pictures})


def remove_unnamed(bench: Bench, record: VideoRecord, named: frozenset[str]) -> None:
    """Remove what runs left that do not count: every part has its receipt, so nobody needs it.

    What an earlier generation made and this one does not name goes, too; a later one's stays.
    """
    root = layout.play(record.id)
    paths = [info.key.removeprefix(root) for info in bench.store.list(root)]
    mine = [path for path in paths if _generation(path) <= record.generation]
    orphans = [root + path for path in mine if path not in named]
    if orphans:
        _LOG.info("orphans_removed", video_id=record.id, objects=len(orphans))
        bench.store.delete(orphans)


def _generation(path: str) -> int:
    """Which generation made an object below ``play/``; 0 for what all of them share."""
    folder, slash, _ = path.partition("/")
    return int(folder) if slash else 0


def _ready(
    now: VideoRecord, seen: VideoRecord, plan: Plan, tracks: Tracks, receipts: list[Receipt]
) -> VideoRecord:
    if now.state is not State.PROCESSING or now.generation != seen.generation:
        return now
    at = utc_now()
    objects = {path for receipt in receipts for path in receipt.objects}
    found = [VideoWarning(code=code, message=text) for r in receipts for code, text in r.warnings]
    update = {
        "state": State.READY,
        "playable": True,
        "playable_at": now.playable_at or at,
        "ready_at": at,
        "renditions": tuple(
            _measured(rendition, tracks[rendition.name], plan.target_duration)
            for rendition in now.renditions
            if rendition.name in tracks
        ),
        "has_poster": POSTER in objects,
        "has_storyboard": STORYBOARD in objects,
        "warnings": (*now.warnings, *found),
    }
    return now.model_copy(update=update).with_event("ready", at)


def _thumbnails(receipts: list[Receipt]) -> Thumbnails | None:
    return next((receipt.thumbnails for receipt in receipts if receipt.thumbnails), None)


def _measured(rendition: Rendition, track: TrackSegments, target_duration: int) -> Rendition:
    rate = measure(track, target_duration)
    update = {"bandwidth": rate.peak, "average_bandwidth": rate.average or 0}
    return rendition.model_copy(update=update)


def _broken(what: str) -> Problem:
    return Problem(
        code="damaged_media",
        message=f"The parts of the film do not make a whole: {what}.",
        hint="The file may be damaged: play it locally, repair or re-export it.",
    )

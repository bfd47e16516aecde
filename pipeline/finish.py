"""The end of a generation: complete manifests with measured rates, then ``ready``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from catalog.documents import load
from catalog.videos import utc_now
from jobs.records import Problem, Rendition, VideoRecord, VideoWarning
from jobs.states import State
from pipeline.bench import Bench
from pipeline.errors import PermanentError
from pipeline.pictures import POSTER, STORYBOARD
from pipeline.playlists import DASH_TYPE, MANIFEST, MASTER, write_text
from storage import layout
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
from transcoder.salvage import Warnings, salvage
from transcoder.segments import Receipt, SegmentsError, Thumbnails, TrackSegments, joined

_LOG = structlog.get_logger(__name__)

#: Receipts read at once.
_READERS: Final = 8

#: What playlists and manifests are called; they stay, whatever becomes of the video.
_LISTS: Final = (".m3u8", ".mpd")

Tracks = dict[str, TrackSegments]


def finish(bench: Bench, record: VideoRecord, plan: Plan) -> None:
    """Write the final playlists and the MPD, remove what they do not name, say ``ready``.

    Every write is the same whoever does it and however often. Raises
    :class:`pipeline.errors.PermanentError` where the parts do not make a whole, and
    :class:`transcoder.errors.Unplayable` where too little of it plays.
    """
    receipts = read_receipts(bench, record)
    tracks = join_tracks(plan, receipts)
    plan, said = salvage(plan, tracks, receipts)
    named = write_manifests(bench, record, plan, tracks, receipts)
    remove_unnamed(bench, record, named)
    ready = bench.catalog.update(
        record.id, lambda now: as_ready(now, record, plan, tracks, receipts, said)
    )
    if ready.state is State.READY:
        bench.catalog.letters.retire(record.id, record.generation)
        bench.catalog.settle(record.id, record.generation)
        bench.board.forget(record.id)
        bench.sources.forget(record.id)
        _LOG.info("video_ready", video_id=record.id, tracks=len(tracks))


def read_receipts(bench: Bench, record: VideoRecord) -> list[Receipt]:
    """Every receipt of the generation, in the order of their keys."""
    prefix = layout.receipts(record.id, record.generation)
    keys = [info.key for info in bench.store.list(prefix)]
    with ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(lambda key: load(bench.store, key, Receipt)[0], keys))


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
    rungs = {rung.name for rung in plan.video.rungs} if plan.video else set()
    if 0 < len(rungs & tracks.keys()) < len(rungs):
        raise PermanentError(_broken("not all renditions have pictures"))
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


def remove_leftovers(bench: Bench, record: VideoRecord) -> None:
    """Remove segments and pictures that no receipt names, where a generation is not whole.

    What receipts name stays, for viewers and for a retry. To be called when no part runs. Objects
    are listed first: one that a late run's receipt names after all is then kept, or was not seen.
    Pictures have the same names in every generation: a video that is retried by now keeps all.
    """
    root = layout.play(record.id)
    paths = [info.key.removeprefix(root) for info in bench.store.list(root)]
    made = [path for path in paths if not path.endswith(_LISTS)]
    mine = [path for path in made if _generation(path) <= record.generation]
    if not mine:
        return
    named: set[str] = set()
    for number in range(1, record.generation + 1):
        for receipt in read_receipts(bench, record.model_copy(update={"generation": number})):
            named |= named_by(receipt)
    leftovers = [root + path for path in mine if path not in named]
    if leftovers and bench.catalog.load_any(record.id).generation == record.generation:
        _LOG.info("leftovers_removed", video_id=record.id, objects=len(leftovers))
        bench.store.delete(leftovers)


def named_by(receipt: Receipt) -> frozenset[str]:
    """The paths below ``play/`` of all that a receipt stands for."""
    segments = {segment.path for track in receipt.tracks for segment in track.segments}
    return frozenset({*receipt.objects, *segments, *(track.init_path for track in receipt.tracks)})


def _generation(path: str) -> int:
    """Which generation made an object below ``play/``; 0 for what all of them share."""
    folder, slash, _ = path.partition("/")
    return int(folder) if slash else 0


def as_ready(
    now: VideoRecord,
    seen: VideoRecord,
    plan: Plan,
    tracks: Tracks,
    receipts: list[Receipt],
    said: Warnings,
) -> VideoRecord:
    """``now`` as ready, unless it has ended meanwhile or is of another generation than ``seen``."""
    if now.state is not State.PROCESSING or now.generation != seen.generation:
        return now
    at = utc_now()
    objects = {path for receipt in receipts for path in receipt.objects}
    pairs = (*(pair for receipt in receipts for pair in receipt.warnings), *said)
    found = [VideoWarning(code=code, message=text) for code, text in pairs]
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
    # Viewers may not have been told before, where all came at once or a write was contended.
    shown = now if now.playable else now.with_event("playable", at)
    return shown.model_copy(update=update).with_event("ready", at)


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

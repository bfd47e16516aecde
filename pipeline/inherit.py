"""What a retried video keeps: receipts of earlier generations whose parts are the same again.

Receipts are copied, the segments they name stay where they are: paths below ``play/`` say which
generation made them. Init segments are copied, too, since a playlist names one, and parts that are
still to be made come with that of their own generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import structlog

from jobs.records import VideoRecord
from pipeline.bench import Bench
from pipeline.finish import named_by, read_receipts
from pipeline.publish import Publisher
from pipeline.recorder import IMMUTABLE, INIT_TYPE
from storage import layout
from storage.documents import create_document
from transcoder.plan import PICTURES, SOFTWARE, AudioPlan, Part, PartKind, Plan, VideoPlan
from transcoder.segments import Receipt

_LOG = structlog.get_logger(__name__)


def inherit(bench: Bench, record: VideoRecord, plan: Plan) -> None:
    """Take over what earlier generations finished, and end their playlists. Repeatable.

    A part is taken from the latest generation that has anything of it. To be called before the
    first part of the generation is sent. Raises :class:`storage.errors.StorageError`.
    """
    if record.generation == 1:
        return
    there = _stored(bench, record)
    kept: list[Receipt] = []
    for number in range(record.generation - 1, 0, -1):
        before = bench.plans.load(record.id, number)
        if before is None:
            continue
        old = record.model_copy(update={"generation": number})
        Publisher(bench, old, before).close()
        receipts = read_receipts(bench, old)
        if not is_trusted(receipts, before):
            break
        found = _new(reusable(receipts, before, plan), kept, there)
        if not _is_mixed([*kept, *found]):
            kept += found
    copied = _copied(bench, record, kept)
    _LOG.info("receipts_kept", video_id=record.id, receipts=copied)


def is_trusted(receipts: list[Receipt], plan: Plan) -> bool:
    """Whether a generation's parts may be used again, and those of the ones before it.

    Not where they did not make a whole: all were there and it failed all the same, or different
    encoders made them.
    """
    ended = {receipt.part for receipt in receipts if receipt.last}
    return ended != {part.id for part in plan.parts} and not _is_mixed(receipts)


def _stored(bench: Bench, record: VideoRecord) -> frozenset[str]:
    """The paths of all that is below ``play/``."""
    root = layout.play(record.id)
    return frozenset(info.key.removeprefix(root) for info in bench.store.list(root))


def _new(found: list[Receipt], kept: list[Receipt], there: frozenset[str]) -> list[Receipt]:
    """Receipts of parts not kept yet, those of each part up to the first that lacks an object.

    A run that was given up on may have written a receipt after its segments were removed.
    """
    known = {receipt.part for receipt in kept}
    broken: set[str] = set()
    new: list[Receipt] = []
    for receipt in found:
        if not named_by(receipt) <= there:
            broken.add(receipt.part)
        if receipt.part not in known | broken:
            new.append(receipt)
    return new


def reusable(receipts: list[Receipt], before: Plan, plan: Plan) -> list[Receipt]:
    """Receipts of parts that ``plan`` has with the same inputs as ``before``."""
    olds = {part.id: _inputs(before, part) for part in before.parts}
    same = {part.id for part in plan.parts if olds.get(part.id) == _inputs(plan, part)}
    return [receipt for receipt in receipts if receipt.part in same and _is_worth(receipt)]


def _is_mixed(receipts: Iterable[Receipt]) -> bool:
    inits = {(track.track, track.init_hash) for receipt in receipts for track in receipt.tracks}
    return len(inits) > len({name for name, _ in inits})


def _is_worth(receipt: Receipt) -> bool:
    """Whether there is anything in it; pictures that could not be made are tried once more."""
    return receipt.part != PICTURES or bool(receipt.objects)


def _inputs(plan: Plan, part: Part) -> tuple[Part, VideoPlan | None, list[AudioPlan], int]:
    """All that a part's result depends on, but the source."""
    sound = [track for track in plan.audio if track.name in part.tracks]
    picture = None if part.kind is PartKind.AUDIO else plan.video
    if picture is not None and part.kind is PartKind.PICTURES:
        # They are made in software, whatever encodes the film.
        picture = picture.model_copy(update={"encoder": SOFTWARE})
    return part.model_copy(update={"cost": 0.0}), picture, sound, plan.checkpoint


def _copied(bench: Bench, record: VideoRecord, receipts: Sequence[Receipt]) -> int:
    """Enter receipts under the record's generation; how many were not there yet."""
    inits = {track.init_path for receipt in receipts for track in receipt.tracks}
    paths = {path: _own(record, path) for path in inits}
    for path, own in paths.items():
        body = bench.store.get(layout.play(record.id, path)).body
        key = layout.play(record.id, own)
        bench.store.put(key, body, content_type=INIT_TYPE, cache_control=IMMUTABLE)
    count = 0
    for receipt in receipts:
        tracks = tuple(
            track.model_copy(update={"init_path": paths[track.init_path]})
            for track in receipt.tracks
        )
        mine = receipt.model_copy(update={"tracks": tracks}).model_dump(mode="json")
        key = layout.receipt(record.id, record.generation, receipt.part, receipt.checkpoint)
        count += create_document(bench.store, key, mine).won
    return count


def _own(record: VideoRecord, path: str) -> str:
    """Where the record's generation has its copy of an object of another."""
    return f"{record.generation}/{PurePosixPath(path).name}"

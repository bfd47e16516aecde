"""How far a video is: the plan's parts weighed by their predicted cost.

Receipts in storage tell which parts are done, also after Redis was emptied; what is being worked
on right now is known to Redis alone, and may be missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache

import structlog

from catalog.documents import load
from catalog.errors import NewerSchemaError
from ingest.config import IngestDeps
from ingest.views import Progress
from jobs.records import VideoRecord
from jobs.states import State
from storage import layout
from storage.errors import NotFoundError
from storage.objects import ObjectStore
from transcoder.plan import AAC_FRAME, Part, PartKind, Plan

_LOG = structlog.get_logger(__name__)

#: What a stream part may claim before its last receipt is there.
_ALMOST = 0.99


def weigh(plan: Plan, receipts: Mapping[str, int], live: Mapping[str, float]) -> Progress:
    """Progress from the receipts of each part (how many) and the live fractions."""
    fractions = {part.id: _fraction(plan, part, receipts, live) for part in plan.parts}
    tracks = {track for part in plan.parts for track in part.tracks}
    return Progress(
        overall=_weighed(plan.parts, fractions),
        renditions={
            track: _weighed((part for part in plan.parts if track in part.tracks), fractions)
            for track in tracks
        },
    )


def progress_of(deps: IngestDeps, record: VideoRecord) -> Progress:
    """Progress of a video being worked on, as well as it can be told. Raises StorageError."""
    if record.state is not State.PROCESSING:
        return Progress()
    try:
        plan = _plan(deps.store, record.id, record.generation)
    except (NotFoundError, NewerSchemaError):
        return Progress()
    found = deps.store.list(layout.receipts(record.id, record.generation))
    receipts = Counter(layout.receipt_name(info.key)[0] for info in found)
    return weigh(plan, receipts, _live(deps, record.id))


def _live(deps: IngestDeps, video_id: str) -> Mapping[str, float]:
    try:
        return deps.progress(video_id)
    except Exception as error:  # noqa: BLE001 - a wish for progress, however it fails
        _LOG.warning("progress_unknown", video_id=video_id, error=repr(error))
        return {}


@lru_cache(maxsize=256)
def _plan(store: ObjectStore, video_id: str, generation: int) -> Plan:
    """Plans never change, so one that was read is kept. Raises NotFoundError."""
    return load(store, layout.plan(video_id, generation), Plan)[0]


def _fraction(
    plan: Plan, part: Part, receipts: Mapping[str, int], live: Mapping[str, float]
) -> float:
    count = receipts.get(part.id, 0)
    if not part.stream:
        return 1.0 if count else live.get(part.id, 0.0)
    expected = _segments(plan, part) / plan.checkpoint
    committed = min(count / expected, _ALMOST) if expected else 0.0
    return max(committed, live.get(part.id, 0.0))


def _segments(plan: Plan, part: Part) -> float:
    """Segments a stream part is going to make; 0 where nobody can tell."""
    if part.kind is PartKind.VIDEO and plan.video is not None and plan.video.frames is not None:
        return (plan.video.frames - part.first) / plan.video.segment
    for audio in plan.audio:
        if audio.name in part.tracks and audio.duration is not None:
            frames = audio.duration * audio.sample_rate / AAC_FRAME
            return (frames - part.first) / audio.segment
    return 0.0


def _weighed(parts: Iterable[Part], fractions: Mapping[str, float]) -> float:
    costs = [(part.cost, fractions[part.id]) for part in parts]
    total = sum(cost for cost, _ in costs)
    return sum(cost * fraction for cost, fraction in costs) / total if total else 0.0

"""What every step works with, wired up once for a process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from catalog.documents import load
from catalog.videos import Catalog
from jobs.board import Board
from jobs.parts import PartRef
from jobs.records import VideoRecord
from jobs.send import Sender
from jobs.tracing import OFF, Tracer
from media.binaries import Tools
from media.safety import input_mapping
from pipeline.gpu import Fleet, Gpu
from pipeline.source import SourceReader
from storage import layout
from storage.errors import NotFoundError
from storage.objects import ObjectStore
from transcoder.plan import Plan
from transcoder.planner import PlanLimits
from transcoder.profile import Profile

#: Plans are immutable; a worker meets the same few again and again.
_CACHED_PLANS = 32


@dataclass(frozen=True, slots=True)
class Bench:
    """The ports and settings of the steps."""

    store: ObjectStore
    catalog: Catalog
    board: Board
    sender: Sender
    tools: Tools
    profile: Profile
    limits: PlanLimits
    host: str
    plans: PlanShelf
    #: Lends the addresses by which ffmpeg reads sources.
    sources: SourceReader
    #: Takes the spans of traces.
    tracer: Tracer = OFF
    #: What is known of the farm's graphics processors; None for a farm that has none.
    fleet: Fleet | None = None
    #: This worker's own, in the GPU pool.
    gpu: Gpu | None = None

    @property
    def max_pixels(self) -> int:
        """Pixels of the largest picture that is decoded.

        Twice what is accepted, for decoders count the blocks that stick out beyond the picture.
        """
        return 2 * self.limits.max_pixels

    def reading(self, url: str) -> dict[str, str]:
        """Input options for the source at ``url``."""
        return input_mapping(url, max_pixels=self.max_pixels)


def needed_schema(record: VideoRecord, plan: Plan | None = None) -> int:
    """What a worker has to know to do a part of the video."""
    return max(record.schema_version, plan.schema_version if plan else 1)


class PlanShelf:
    """Reads plans, each once."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._cached = lru_cache(_CACHED_PLANS)(self._read)

    def load(self, video_id: str, generation: int) -> Plan | None:
        """The plan of a generation, or None where there is none yet."""
        try:
            return self._cached(video_id, generation)
        except NotFoundError:
            return None

    def of(self, ref: PartRef) -> Plan | None:
        """The plan a part belongs to."""
        return self.load(ref.video_id, ref.generation)

    def _read(self, video_id: str, generation: int) -> Plan:
        return load(self._store, layout.plan(video_id, generation), Plan)[0]

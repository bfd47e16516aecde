"""What every step works with, wired up once for a process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from catalog.videos import Catalog
from jobs.board import Board
from jobs.parts import PartRef
from jobs.send import Sender
from media.binaries import Tools
from media.safety import input_mapping
from pipeline.source import SourceReader
from storage import layout
from storage.documents import load_document
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

    @property
    def max_pixels(self) -> int:
        """Pixels of the largest picture that is decoded.

        Twice what is accepted, for decoders count the blocks that stick out beyond the picture.
        """
        return 2 * self.limits.max_pixels

    def reading(self, url: str) -> dict[str, str]:
        """Input options for the source at ``url``."""
        return input_mapping(url, max_pixels=self.max_pixels)


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
        payload, _ = load_document(self._store, layout.plan(video_id, generation))
        return Plan.model_validate(payload)

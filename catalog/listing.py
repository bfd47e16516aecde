"""Pages of videos, newest first, without reading more records than a page shows."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from heapq import merge
from itertools import islice

from catalog.errors import UnknownVideoError
from catalog.videos import Catalog
from jobs.records import VideoRecord
from jobs.states import TERMINAL, State
from storage import layout
from storage.objects import ObjectStore

#: Records read at once for a page.
_READERS = 8


@dataclass(frozen=True, slots=True)
class Page:
    """Some videos, and the cursor of the page after them; None on the last."""

    videos: tuple[VideoRecord, ...]
    next: str | None


class Listing:
    """Lists the videos of a catalog. ``cursor`` is the id of the last video seen."""

    def __init__(self, catalog: Catalog, store: ObjectStore) -> None:
        self._catalog = catalog
        self._store = store

    def page(self, states: frozenset[State] | None, limit: int, cursor: str | None) -> Page:
        """At most ``limit`` videos in one of ``states`` (None: in any), after ``cursor``.

        A page may be shorter than ``limit`` before the last one where many were filtered out.
        """
        seen = list(islice(self._ids(states, cursor), limit))
        with ThreadPoolExecutor(_READERS) as pool:
            loaded = list(pool.map(self._load, seen))
        videos = tuple(
            record
            for record in loaded
            if record is not None and (states is None or record.state in states)
        )
        return Page(videos, seen[-1] if len(seen) == limit else None)

    def _ids(self, states: frozenset[State] | None, cursor: str | None) -> Iterator[str]:
        """Ids in listing order. What is terminal is in the index, anything else in the inbox."""
        after = layout.index(cursor) if cursor else layout.INDEX
        sources: list[Iterator[str]] = []
        if states is None or states - TERMINAL:
            waiting = sorted(layout.index(video_id) for video_id in self._catalog.inbox())
            sources.append(key for key in waiting if key > after)
        if states is None or states & TERMINAL:
            sources.append(info.key for info in self._store.list(layout.INDEX, after=after))
        previous = ""
        for key in merge(*sources):
            if key != previous:
                yield layout.index_id(key)
            previous = key

    def _load(self, video_id: str) -> VideoRecord | None:
        try:
            return self._catalog.load(video_id)
        except UnknownVideoError:
            return None

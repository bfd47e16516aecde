"""Pages of videos, newest first, without reading more records than a page shows.

The index lists the newest first, the inbox the oldest, because it is a queue. So the newest that
wait are looked for by time, in ever smaller spans: where ten thousand wait, two to seven lists of
two hundred instead of all of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from heapq import merge
from itertools import islice, takewhile
from typing import Final

import structlog

from catalog.errors import NewerSchemaError, UnknownVideoError
from catalog.videos import Catalog
from jobs.ids import beginning, time_of
from jobs.records import VideoRecord
from jobs.states import TERMINAL, State
from storage import layout
from storage.objects import ObjectStore

_LOG = structlog.get_logger(__name__)

#: Records read at once for a page.
_READERS = 8
#: Entries of the inbox that are listed at once.
_SPAN: Final = 200
#: Milliseconds by which the clock of a host that accepts videos may be ahead of ours.
_AHEAD: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class Page:
    """Some videos, and the cursor of the page after them; None on the last."""

    videos: tuple[VideoRecord, ...]
    next: str | None


class Listing:
    """Lists the videos of a catalog. ``cursor`` is the id of the last video seen."""

    def __init__(
        self, catalog: Catalog, store: ObjectStore, clock: Callable[[], float] = time.time
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._clock = clock

    def page(self, states: frozenset[State] | None, limit: int, cursor: str | None) -> Page:
        """At most ``limit`` videos in one of ``states`` (None: in any), after ``cursor``.

        A page may be shorter than ``limit`` before the last one where many were filtered out.
        Videos that only newer versions of the farm can read are left out.
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
            newest = time_of(cursor) if cursor else int(self._clock() * 1000) + _AHEAD
            sources.append(key for key in self._waiting(0, newest + 1) if key > after)
        if states is None or states & TERMINAL:
            sources.append(info.key for info in self._store.list(layout.INDEX, after=after))
        previous = ""
        for key in merge(*sources):
            if key != previous:
                yield layout.index_id(key)
            previous = key

    def _waiting(self, since: int, until: int) -> Iterator[str]:
        """Index keys of the videos in the inbox from that millisecond on, until that one."""
        first, end = layout.INBOX + beginning(since), beginning(until)
        limit = _SPAN if until - since > 1 else None
        infos = self._store.list(layout.INBOX, after=first, limit=limit)
        ids = (layout.inbox_id(info.key) for info in infos)
        found = list(takewhile(lambda video_id: video_id < end, ids))
        if len(found) != limit:
            yield from sorted(set(map(layout.index, found)))
            return
        oldest = time_of(found[0])
        middle = max((oldest + until) // 2, oldest + 1)
        yield from self._waiting(middle, until)
        yield from self._waiting(oldest, middle)

    def _load(self, video_id: str) -> VideoRecord | None:
        try:
            return self._catalog.load(video_id)
        except UnknownVideoError:
            return None
        except NewerSchemaError as error:
            _LOG.warning("left_to_newer_version", video_id=video_id, reason=str(error))
            return None

"""Everything that a farm has to remember, but for the media: what a backup takes and puts back.

The documents come in an order in which they may be written back while a farm is running. A video
is on the to-do list only once all is there that the work on it needs, as at its acceptance; and
deletions that were promised come behind the videos they are about. What there is to do is looked
up first: a video that ends meanwhile moves from the to-do list to the index, and would be in
neither if these were read the other way round.

Of a video that is ready the receipts are left out: there are many, and nothing asks for them any
more. Left out as well are uploads that have not been acknowledged. Written back after their end,
such an entry would have the sweeper take the video for an upload that was given up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final

from jobs.ids import is_video_id
from jobs.records import InboxEntry
from jobs.states import State
from storage import layout
from storage.errors import NotFoundError
from storage.objects import ObjectStore

#: Videos read at once, by as many threads.
_BATCH: Final = 64
_READERS: Final = 16

_IN_WORK: Final = (State.QUEUED, State.PROCESSING)

_ID: Final = "[0-9a-hjkmnp-tv-z]{26}"
_NAME: Final = "[A-Za-z0-9_-]{1,80}"
_NUMBER: Final = "[0-9]{1,9}"
_STAMP: Final = "[0-9a-z]{10,12}"
_KEY: Final = re.compile(
    rf"videos/{_ID}/(video|plan/{_NUMBER}|published/{_NUMBER}|parts/{_NUMBER}/{_NAME}\.{_NUMBER})"
    rf"\.json"
    rf"|inbox/{_ID}(\.{_NUMBER})?\.json|index/{_STAMP}-{_ID}|tombstones/{_STAMP}-{_ID}"
    rf"|trash/{_ID}\.json|idempotency/[0-9a-f]{{16,128}}\.json"
    rf"|dead-letters/{_STAMP}-{_ID}-{_NUMBER}-{_NAME}\.json"
)


@dataclass(frozen=True, slots=True)
class Memory:
    """One object that is to be remembered."""

    key: str
    body: bytes

    @property
    def kind(self) -> str:
        """What it is counted as: ``inbox``, ``records``, ``plans`` and so on."""
        top, _, rest = self.key.partition("/")
        if top != layout.VIDEOS.rstrip("/"):
            return top
        below = rest.partition("/")[2].partition("/")[0]
        return {"video.json": "records", "plan": "plans", "parts": "receipts"}.get(below, below)


def is_memory(key: str) -> bool:
    """Whether a key is of a kind that :func:`memories` gives; no other is ever written back."""
    return _KEY.fullmatch(key) is not None


def memories(store: ObjectStore) -> Iterator[Memory]:
    """Every object to remember, each as it is when its turn comes.

    Costs two requests a video, four lists of which are short ones, and never lists media. Holds
    the to-do list and the ids of all videos in memory. Raises :mod:`storage.errors`.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        to_do = list(_read(store, pool, _keys(store, layout.INBOX)))
        index = list(_keys(store, layout.INDEX))
        known = dict.fromkeys(layout.inbox_id(each.key) for each in to_do)
        known |= dict.fromkeys(map(layout.index_id, index))
        owed = {each.key: each for each in to_do if _is_accepted(each)}
        for memory in _videos(store, pool, known):
            yield memory
            if memory.kind == "records":
                owed = _owed(memory) | owed
        for prefix in (layout.DEAD_LETTERS, layout.IDEMPOTENCY):
            yield from _read(store, pool, _keys(store, prefix))
        trash, tombstones = (list(_keys(store, p)) for p in (layout.TRASH, layout.TOMBSTONES))
        buried = [layout.trash_id(key) for key in trash]
        buried += [layout.tombstone_name(key)[0] for key in tombstones]
        yield from _videos(store, pool, (each for each in buried if each not in known))
        yield from (Memory(key, b"") for key in (*index, *tombstones, *trash))
        yield from owed.values()


def _videos(store: ObjectStore, pool: ThreadPoolExecutor, ids: Iterable[str]) -> Iterator[Memory]:
    rest = (video_id for video_id in ids if is_video_id(video_id))
    while batch := list(islice(rest, _BATCH)):
        for found in pool.map(lambda video_id: _video(store, video_id), batch):
            yield from found


def _video(store: ObjectStore, video_id: str) -> list[Memory]:
    """What is remembered of a video, the record last; nothing where there is no record."""
    try:
        record = _load(store, layout.record(video_id))
    except NotFoundError:
        return []
    below = layout.video(video_id)
    prefixes = [f"{below}plan/", f"{below}published/"]
    if _field(record, "state") != State.READY:
        prefixes.append(f"{below}parts/")
    keys = (key for prefix in prefixes for key in _keys(store, prefix))
    return [*_present(store, keys), record]


def _read(store: ObjectStore, pool: ThreadPoolExecutor, keys: Iterable[str]) -> Iterator[Memory]:
    rest = iter(keys)
    while batch := list(islice(rest, _BATCH)):
        for found in pool.map(lambda key: list(_present(store, [key])), batch):
            yield from found


def _present(store: ObjectStore, keys: Iterable[str]) -> Iterator[Memory]:
    """Those of the objects that have not gone since they were listed."""
    for key in keys:
        try:
            yield _load(store, key)
        except NotFoundError:
            continue


def _load(store: ObjectStore, key: str) -> Memory:
    return Memory(key, store.get(key).body)


def _keys(store: ObjectStore, prefix: str) -> Iterator[str]:
    return (info.key for info in store.list(prefix) if is_memory(info.key))


def _owed(record: Memory) -> dict[str, Memory]:
    """The line of the to-do list that belongs to a video in work.

    One that was retried since the list was read has it from here.
    """
    if _field(record, "state") not in _IN_WORK:
        return {}
    video_id, generation = record.key.split("/")[1], _field(record, "generation")
    key = layout.inbox(video_id, generation if isinstance(generation, int) else 1)
    entry = InboxEntry(state="accepted").model_dump_json(exclude_none=True)
    return {key: Memory(key, entry.encode())}


def _is_accepted(entry: Memory) -> bool:
    return _field(entry, "state") == "accepted"


def _field(memory: Memory, name: str) -> object:
    """A field of a document of whatever version; None where it cannot be read."""
    try:
        document = json.loads(memory.body)
    except ValueError:
        return None
    return document.get(name) if isinstance(document, dict) else None

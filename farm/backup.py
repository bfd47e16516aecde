"""Backup and restore of what a farm remembers: the way between storage and a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Final

from catalog.durable import Memory, memories
from farm import archive
from farm.archive import Manifest
from storage.documents import CONTENT_TYPE
from storage.objects import OCTETS, ObjectStore

#: Objects written at once; objects, and bytes of them, that are held in memory for that.
_WRITERS: Final = 16
_BATCH: Final = 256
_HELD: Final = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Restored:
    """How many objects were written, and how many were there already and stayed."""

    manifest: Manifest
    written: int
    present: int


def back_up(store: ObjectStore, place: Path, version: str, now: datetime) -> tuple[Path, Manifest]:
    """Write a backup into a file, or into a directory under a name that tells the time.

    The farm may be at work meanwhile. Raises :mod:`storage.errors`, OSError,
    :class:`farm.errors.SettingsError`.
    """
    path = place / f"reelfarm-{now:%Y%m%dT%H%M%SZ}.tar.gz" if place.is_dir() else place
    created_at = now.isoformat(timespec="seconds")
    return path, archive.write(path, memories(store), version, created_at)


def restore(
    store: ObjectStore,
    path: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Restored:
    """Put back what is missing, or with ``overwrite`` everything, once the file proved whole.

    What is on the to-do list of a running farm is taken up by its sweeper. ``progress`` is told
    how many objects have been looked after. Raises :class:`farm.archive.BackupError`,
    :class:`farm.errors.NotFoundError`, :mod:`storage.errors`; called again it goes on.
    """
    manifest = archive.verify(path)
    store.ensure_bucket()
    written = done = 0
    with ThreadPoolExecutor(_WRITERS) as pool:
        for batch in _batches(archive.read(path)):
            written += sum(pool.map(lambda each: _put(store, each, overwrite=overwrite), batch))
            done += len(batch)
            progress(done)
    return Restored(manifest, written, done - written)


def _put(store: ObjectStore, memory: Memory, *, overwrite: bool) -> bool:
    kind = CONTENT_TYPE if memory.body else OCTETS
    if overwrite:
        store.put(memory.key, memory.body, content_type=kind)
        return True
    return store.create(memory.key, memory.body, content_type=kind) is not None


def _batches(found: Iterable[Memory]) -> Iterator[list[Memory]]:
    """What may be written at once: nothing of one folder before all of the folder before it."""
    for _, group in groupby(found, key=lambda each: each.key.partition("/")[0]):
        batch: list[Memory] = []
        held = 0
        for memory in group:
            if batch and (len(batch) == _BATCH or held + len(memory.body) > _HELD):
                yield batch
                batch, held = [], 0
            batch.append(memory)
            held += len(memory.body)
        yield batch

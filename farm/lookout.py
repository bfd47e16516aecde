"""What a host waits for: said at once, and again for as long as it lasts, with what to do.

Workers go on waiting for a Redis or a storage that went away, since it will come back and they
are all the sooner at work; but a farm that stands still should say why to whoever reads its log
later than that. At its start, a host of workers waits for a bounded time only: a setting that is
wrong is not going to mend itself.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Final
from urllib.parse import urlsplit

import redis
import structlog

from farm import connections
from farm.display import bytes_text
from farm.errors import SettingsError, StartError
from farm.settings import Settings
from storage import layout
from storage.errors import StorageError
from storage.objects import ObjectStore, connect

_LOG = structlog.get_logger(__name__)

#: Seconds between two looks, and for the storage to say something.
EVERY: Final = 30.0
_ANSWER: Final = 10.0
#: Seconds for Redis and the storage to answer for the first time, and between two tries.
PATIENCE: Final = 30.0
_PAUSE: Final = 1.0
#: Bytes of free disk below which the embedded servers are about to refuse writes; SeaweedFS does
#: so below one percent of it.
FULL: Final = 200 * 10**6


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something a farm cannot work without, and what to do about it."""

    what: str
    error: str
    to_do: str


def troubles(
    settings: Settings, disk: Path | None = None, store: ObjectStore | None = None
) -> Iterator[Trouble]:
    """What is wrong now. ``disk`` is where embedded servers keep their data.

    ``store`` is to be one of :func:`looked_at`; whoever looks often keeps it, since making one
    takes more processor time than many looks. Raises :class:`SettingsError` where the settings
    cannot be right.
    """
    yield from _disk(disk) if disk else ()
    yield from _redis(settings)
    if store is not None:
        yield from _storage(settings, store)
        return
    with closing(looked_at(settings)) as own:
        yield from _storage(settings, own)


def looked_at(settings: Settings) -> ObjectStore:
    """The storage, for somebody who would rather know than wait."""
    return connect(connections.s3_config(settings), read_timeout=_ANSWER, tries=1)


def await_servers(
    settings: Settings,
    stopped: Callable[[], bool],
    *,
    patience: float = PATIENCE,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return once Redis and the storage answer, or ``stopped``. Raises :class:`StartError`."""
    deadline, told = clock() + patience, False
    while (found := list(troubles(settings))) and not stopped():
        if clock() >= deadline:
            lines = (f"{each.error}\n{each.to_do}" for each in found)
            raise StartError("\n".join((f"Nothing to work for after {patience:g} s.", *lines)))
        if not told:
            _tell(found)
        told = True
        sleep(_PAUSE)


class Lookout:
    """Looks every so often. ``run`` blocks; ``tick`` is one look."""

    def __init__(self, look: Callable[[], Iterator[Trouble]], every: float = EVERY) -> None:
        self._look = look
        self._every = every
        self._known: frozenset[str] = frozenset()

    def run(self, stop: Event) -> None:
        """Look until ``stop`` is set."""
        while not stop.wait(self._every):
            try:
                self.tick()
            except Exception:  # noqa: BLE001 - a lookout that fails must not end the farm
                _LOG.exception("lookout_failed")

    def tick(self) -> None:
        """Say what there is to say."""
        found = list(self._look())
        _tell(found)
        now = frozenset(each.what for each in found)
        for what in sorted(self._known - now):
            _LOG.info("trouble_over", what=what)
        self._known = now


def _tell(found: list[Trouble]) -> None:
    for each in found:
        _LOG.warning("waiting_for", what=each.what, error=each.error, to_do=each.to_do)


def _disk(directory: Path) -> Iterator[Trouble]:
    disk = shutil.disk_usage(directory)
    free = disk.free
    if free < max(FULL, disk.total // 100):
        yield Trouble(
            "disk",
            f"Only {bytes_text(free)} are free at {directory}.",
            "Free some. Until then uploads are refused and films wait; then they go on.",
        )


def _redis(settings: Settings) -> Iterator[Trouble]:
    try:
        with connections.redis_client(settings) as client:
            client.ping()
    except ValueError as error:
        raise SettingsError(f"REELFARM_REDIS_URL cannot be read: {error}.") from None
    except redis.RedisError as error:
        place = urlsplit(settings.redis_url or "").netloc.rpartition("@")[2]
        yield Trouble(
            "redis",
            f"Redis at {place} does not answer: {error}",
            "See that it runs, and that REELFARM_REDIS_URL names it, with its password.",
        )


def _storage(settings: Settings, store: ObjectStore) -> Iterator[Trouble]:
    try:
        next(iter(store.list(layout.INBOX, limit=1)), None)
    except StorageError as error:
        yield Trouble(
            "storage",
            f"The storage at {settings.s3_endpoint or 'AWS'} does not answer: {error}",
            "See that it runs, and that the REELFARM_S3_… settings are right.",
        )

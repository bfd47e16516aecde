"""Whether the storage does what a farm needs: tried under keys of its own, not asked.

Conditional writes are what keeps two workers from publishing the same part, and an S3 that accepts
the header and ignores it looks healthy.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Final

from farm import connections
from farm.doctor_check import Check, clock_check
from farm.settings import Settings
from storage import layout
from storage.errors import DeniedError, NotFoundError, StorageError
from storage.objects import ObjectStore

#: Writers that race for one key.
_RACERS: Final = 8
#: Seconds: storage states times in whole ones; signatures are refused at fifteen minutes.
_CLOCK_ALLOWED, _CLOCK_UNUSABLE = 5.0, 300.0

_TAKE_ANOTHER: Final = (
    "This S3 does not do conditional writes. Take one that honours them: AWS, MinIO, Ceph, "
    "SeaweedFS."
)


def check_storage(settings: Settings, clock: Callable[[], float]) -> Iterator[Check]:
    """Every check of the storage that the settings name; ``clock`` in seconds since 1970."""
    where = settings.s3_endpoint or "AWS"
    with closing(connections.object_store(settings)) as store:
        try:
            yield from _try(store, where, clock)
        except StorageError as error:
            yield Check("s3", "fail", str(error), _fix(error))


def _try(store: ObjectStore, where: str, clock: Callable[[], float]) -> Iterator[Check]:
    probe = _Probe(store)
    store.ensure_bucket()
    try:
        denied = probe.denied()
        if denied:
            yield Check("s3", "fail", f"refused: {'; '.join(denied)}", _allow(store))
            return
        yield _clock(store, probe.key, clock)
        yield _judged("s3 create", "If-None-Match", lambda: _race(store, probe.other))
        yield _judged("s3 replace", "If-Match", lambda: _swap(store, probe.key))
    finally:
        probe.clean()
    found = f"bucket {store.bucket} at {where} can be written, read, listed and emptied"
    yield Check("s3", "ok", found)


class _Probe:
    """Keys nobody else has, and every operation tried on them."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        name = secrets.token_hex(8)
        self.key = f"doctor/{name}"
        self.other = f"doctor/{name}-2"
        self.large = f"doctor/{name}-3"
        # A policy of the bucket may be older than this prefix.
        self.letter = f"{layout.DEAD_LETTERS}doctor/{name}"

    def denied(self) -> list[str]:
        """What the credentials may not do, as ``s3:DeleteObject below … (AccessDenied)``."""
        refused = []
        for name, attempt in self._attempts():
            try:
                attempt()
            except DeniedError as error:
                refused.append(f"{name} ({error.code})")
            except NotFoundError:
                continue  # what was to be written here was refused
        return refused

    def clean(self) -> None:
        """Leave nothing, as far as that is permitted."""
        try:
            self._store.delete([self.key, self.other, self.large, self.letter])
        except DeniedError:
            return

    def _attempts(self) -> Iterator[tuple[str, Callable[[], object]]]:
        store, below = self._store, "doctor/"
        yield "s3:PutObject", lambda: store.put(self.key, b"probe")
        yield f"s3:PutObject below {layout.DEAD_LETTERS}", lambda: store.put(self.letter, b"")
        yield "s3:GetObject", lambda: store.get(self.key)
        yield "s3:ListBucket", lambda: list(store.list(self.key, limit=1))
        yield "s3:PutObject in parts", self._in_parts
        yield "s3:AbortMultipartUpload", self._aborted
        yield "s3:ListBucketMultipartUploads", lambda: list(store.uploads(below))
        yield "s3:DeleteObject", lambda: store.delete([self.letter])

    def _in_parts(self) -> None:
        upload = self._store.multipart(self.large)
        try:
            upload.upload_part(1, b"probe")
            upload.complete()
        except BaseException:
            upload.abort()
            raise

    def _aborted(self) -> None:
        self._store.multipart(self.large).abort()


def _judged(name: str, header: str, attempt: Callable[[], tuple[bool, str]]) -> Check:
    try:
        good, found = attempt()
    except StorageError as error:
        return Check(name, "fail", f"{header}: {error}", _TAKE_ANOTHER)
    return Check(
        name, "ok" if good else "fail", f"{header}: {found}", "" if good else _TAKE_ANOTHER
    )


def _race(store: ObjectStore, key: str) -> tuple[bool, str]:
    """Let writers race for one new key: exactly one may win."""
    with ThreadPoolExecutor(_RACERS) as pool:
        etags = list(pool.map(lambda n: store.create(key, str(n).encode()), range(_RACERS)))
    winners = [number for number, etag in enumerate(etags) if etag is not None]
    good = len(winners) == 1 and store.get(key).body == str(winners[0]).encode()
    return good, f"{len(winners)} of {_RACERS} racing writers won"


def _swap(store: ObjectStore, key: str) -> tuple[bool, str]:
    """Replace by ETag: once with the present one, once with the one before."""
    etag = store.get(key).etag
    first, second = store.replace(key, b"first", etag), store.replace(key, b"second", etag)
    good = first is not None and second is None and store.get(key).body == b"first"
    return good, f"a stale writer was {'refused' if good else 'not refused'}"


def _clock(store: ObjectStore, key: str, clock: Callable[[], float]) -> Check:
    """By the time that the storage gives an object on its arrival, in whole seconds."""
    before = clock()
    store.put(key, b"clock")
    modified = store.head(key).modified.timestamp()
    ahead = modified - (before + clock()) / 2
    return clock_check("s3 clock", ahead, _CLOCK_ALLOWED, _CLOCK_UNUSABLE)


def _allow(store: ObjectStore) -> str:
    return (
        f"Allow the credentials that on the bucket {store.bucket} and below {store.prefix or '/'}."
    )


def _fix(error: StorageError) -> str:
    if error.code == "RequestTimeTooSkewed":
        return "This host's clock and the storage's differ too much: have both keep time by NTP."
    return "See the s3_… settings."

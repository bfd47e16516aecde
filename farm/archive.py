"""A backup as a file: a tar of the objects to remember, and last a manifest that seals them.

It is read and written as a stream, so that its size costs no memory. One digest over all names and
bodies, in their order, tells whether it is whole; being no signature, it tells nothing of who made
it. So what a name may be is checked as well, and nothing is ever unpacked into files.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO, Final, Self

from catalog.durable import Memory, is_memory
from farm.errors import FarmError, NotFoundError, SettingsError
from jobs.schema import SCHEMA

#: The format of the file; raised where one of before could not be read any more.
FORMAT: Final = 1
#: Bytes of one document, of which a long film's plan is the longest at about a megabyte.
LARGEST: Final = 64 * 1024**2

_MANIFEST: Final = "manifest.json"
_OBJECTS: Final = "objects/"
_MODE: Final = 0o600


class BackupError(FarmError):
    """The file is no backup, not whole, or of a version that this one cannot read."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself. ``counts`` are of objects by kind."""

    format: int
    #: The schema that the documents may need at the most.
    schema: int
    version: str
    created_at: str
    objects: int
    bytes: int
    counts: Mapping[str, int]
    sha256: str


class _Header(tarfile.TarInfo):
    """A member's header, refused before anything behind it is read.

    Long names and the like are members of other types, which are read into memory.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type != tarfile.REGTYPE or not 0 <= header.size <= LARGEST:
            raise _foreign(header.name)
        return header


class _Seal:
    """Counts and digests what passes."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._counts: Counter[str] = Counter()

    def add(self, memory: Memory) -> None:
        head = f"{memory.key}\0{len(memory.body)}\0".encode()
        self._digest.update(head + hashlib.sha256(memory.body).digest())
        self._bytes += len(memory.body)
        self._counts[memory.kind] += 1

    def manifest(self, version: str, created_at: str) -> Manifest:
        return Manifest(
            format=FORMAT,
            schema=SCHEMA,
            version=version,
            created_at=created_at,
            objects=self._counts.total(),
            bytes=self._bytes,
            counts=dict(sorted(self._counts.items())),
            sha256=self._digest.hexdigest(),
        )

    def fits(self, manifest: Manifest) -> bool:
        return (self._digest.hexdigest(), self._counts.total()) == (
            manifest.sha256,
            manifest.objects,
        )


def write(path: Path, memories: Iterable[Memory], version: str, created_at: str) -> Manifest:
    """Write a backup, compressed where ``path`` ends in ``gz``, readable by this user alone.

    It is there whole or not at all; a file that is there is never replaced. Raises
    :class:`farm.errors.SettingsError`, OSError, and what ``memories`` raises.
    """
    if path.exists():
        raise SettingsError(f"{path} exists already; take another name, or remove it first.")
    # Of a name of its own: another backup may be at the same file, or somebody wait for its name.
    part, seal = path.with_name(f"{path.name}.{token_hex(4)}.part"), _Seal()
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with _tar(file, "w|gz" if path.name.endswith("gz") else "w|") as tar:
                for memory in memories:
                    seal.add(memory)
                    _add(tar, _OBJECTS + memory.key, memory.body)
                manifest = seal.manifest(version, created_at)
                _add(tar, _MANIFEST, json.dumps(asdict(manifest), indent=2).encode())
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return manifest


def verify(path: Path) -> Manifest:
    """Read a backup from end to end; its manifest, if all is there as it was written.

    Raises :class:`BackupError`, :class:`farm.errors.NotFoundError`.
    """
    seal, manifest = _Seal(), None
    for found in _members(path):
        if manifest is not None:
            raise BackupError(f"{path} goes on behind its manifest. Nothing was restored.")
        if isinstance(found, Manifest):
            manifest = found
        else:
            seal.add(found)
    if manifest is None:
        raise BackupError(f"{path} ends before its manifest: it is cut off. Nothing was restored.")
    if not seal.fits(manifest):
        raise BackupError(f"{path} is not what was written: its checksum is another one.")
    return manifest


def read(path: Path) -> Iterator[Memory]:
    """What a backup holds, in its order; for one that :func:`verify` has found whole."""
    return (found for found in _members(path) if isinstance(found, Memory))


def _members(path: Path) -> Iterator[Memory | Manifest]:
    try:
        with path.open("rb") as file, _tar(file, "r|*") as tar:
            for member in tar:
                yield _member(path, member.name, _body(tar, member))
    except OSError as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise NotFoundError(f"{path} cannot be read: {error.strerror}.") from error
        raise BackupError(f"{path} cannot be read to its end: {error}.") from error
    except (tarfile.TarError, EOFError, zlib.error, ValueError, RecursionError) as error:
        raise BackupError(f"{path} is no backup, or a broken one: {error}.") from error


def _member(path: Path, name: str, body: bytes) -> Memory | Manifest:
    """One member, if it is one of those that are written here."""
    if name == _MANIFEST:
        return _manifest(path, body)
    key = name.removeprefix(_OBJECTS)
    if key == name or not is_memory(key):
        raise _foreign(name)
    return Memory(key, body)


def _body(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def _foreign(name: str) -> BackupError:
    return BackupError(f"The file holds {name!r}, which no backup of ours has.")


def _manifest(path: Path, body: bytes) -> Manifest:
    found = json.loads(body)
    fields: dict[str, Any] = found if isinstance(found, dict) else {}
    form, schema = fields.get("format"), fields.get("schema")
    if not isinstance(form, int) or not isinstance(schema, int):
        raise BackupError(f"{path} has a manifest that makes no sense.")
    if form > FORMAT or schema > SCHEMA:
        raise BackupError(
            f"{path} was made by a newer version ({fields.get('version')}: format {form}, schema "
            f"{schema}; known here: {FORMAT}, {SCHEMA}). Upgrade this one first."
        )
    try:
        return Manifest(**{name: fields[name] for name in Manifest.__slots__})
    except KeyError as error:
        raise BackupError(f"{path} has a manifest without {error}.") from None


@contextmanager
def _tar(file: BinaryIO, mode: str) -> Iterator[tarfile.TarFile]:
    # The mode is one of three literals, which the stubs want to see.
    options = {"format": tarfile.USTAR_FORMAT, "tarinfo": _Header}
    with tarfile.open(fileobj=file, mode=mode, **options) as tar:  # type: ignore[call-overload]
        yield tar


def _add(tar: tarfile.TarFile, name: str, body: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(body), _MODE
    tar.addfile(info, io.BytesIO(body))

"""What a farm remembers: written into a file, put back, and files that are not to be trusted."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from catalog.durable import Memory, is_memory, memories
from catalog.videos import Catalog
from farm import archive
from farm.archive import BackupError
from farm.backup import _batches, back_up, restore
from farm.errors import NotFoundError, SettingsError
from jobs.ids import new_video_id
from jobs.letters import DeadLetter
from jobs.records import Problem, VideoRecord
from jobs.states import State
from storage import layout
from storage.objects import ObjectStore

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def catalog(object_store: ObjectStore) -> Catalog:
    return Catalog(object_store)


def video(store: ObjectStore, catalog: Catalog, state: State) -> str:
    """A video in a state, with a plan, receipts, a published mark and media."""
    video_id = new_video_id()
    catalog.receive(video_id, 60)
    record = VideoRecord(id=video_id, state=State.QUEUED, size=3, created_at=NOW)
    catalog.accept(record)
    for key in (
        layout.plan(video_id, 1),
        layout.receipt(video_id, 1, "v0"),
        layout.receipt(video_id, 1, "a0-eng", 12),
        layout.published(video_id, 1),
    ):
        store.put(key, json.dumps({"about": key}).encode())
    store.put(layout.source(video_id), b"the bytes")
    store.put(layout.play(video_id, "master.m3u8"), b"#EXTM3U")
    if state is not State.QUEUED:
        update = {"state": State.PROCESSING}
        catalog.update(video_id, lambda known: known.model_copy(update=update))
    if state not in (State.QUEUED, State.PROCESSING):
        catalog.update(video_id, lambda known: known.model_copy(update={"state": state}))
        catalog.settle(video_id)
    return video_id


def contents(store: ObjectStore) -> dict[str, bytes]:
    return {info.key: store.get(info.key).body for info in store.list("")}


def wiped(store: ObjectStore) -> dict[str, bytes]:
    """What is there, after everything that is remembered has been removed."""
    store.delete([info.key for info in store.list("") if is_memory(info.key)])
    return contents(store)


def test_everything_but_the_media_comes_back(
    object_store: ObjectStore, catalog: Catalog, tmp_path: Path
) -> None:
    ready, half, errored, canceled, deleted = (
        video(object_store, catalog, state)
        for state in (*(State.READY, State.PROCESSING, State.ERRORED, State.CANCELED, State.READY),)
    )
    problem = Problem(code="encode_failed", message="it broke", hint="mend it")
    letter = DeadLetter(
        id=f"{errored}-1-v0",
        video_id=errored,
        generation=1,
        part="v0",
        problem=problem,
        created_at=NOW,
    )
    catalog.letters.put(letter)
    catalog.delete(deleted)
    gone = video(object_store, catalog, State.READY)
    catalog.delete(gone)
    catalog.purge(gone)
    catalog.retry(canceled)
    object_store.put(layout.idempotency("ab" * 32), b"{}")
    receiving = new_video_id()
    catalog.receive(receiving, 60)

    before = contents(object_store)
    path, manifest = back_up(object_store, tmp_path, "1.2", NOW)
    assert path == tmp_path / "reelfarm-20260102T030405Z.tar.gz"
    assert path.stat().st_mode & 0o777 == 0o600
    left = wiped(object_store)
    assert left.keys() == {key for key in before if key.endswith(("/source", "/master.m3u8"))}

    done = restore(object_store, path)
    # Of a video that is ready nobody asks for the receipts, and nothing was promised to an upload.
    spared = {layout.inbox(receiving)} | {
        key
        for each in (ready, deleted)
        for key in before
        if key.startswith(layout.receipts(each, 1))
    }
    after = contents(object_store)
    assert after.keys() >= before.keys() - spared - {layout.receipt(deleted, 1, "v0")}
    assert {key: body for key, body in before.items() if key in after} == after
    assert (done.written, done.present) == (manifest.objects, 0)
    assert manifest.counts["records"] == 6
    assert list(catalog.inbox()) == sorted({half, canceled})
    assert list(catalog.trash()) == [deleted]
    assert catalog.letters.load(letter.id) == letter

    again = restore(object_store, path)
    assert (again.written, again.present) == (0, manifest.objects)


def test_what_is_newer_stays_unless_told_otherwise(
    object_store: ObjectStore, catalog: Catalog, tmp_path: Path
) -> None:
    video_id = video(object_store, catalog, State.PROCESSING)
    path, _ = back_up(object_store, tmp_path / "farm.tar", "1.2", NOW)
    catalog.cancel(video_id)
    restore(object_store, path)
    assert catalog.load(video_id).state is State.CANCELED
    restore(object_store, path, overwrite=True)
    assert catalog.load(video_id).state is State.PROCESSING


def test_a_video_retried_meanwhile_is_on_the_to_do_list(
    object_store: ObjectStore, catalog: Catalog, tmp_path: Path
) -> None:
    """It was not when the list was read, and may have ended before it could be read again."""
    video_id = video(object_store, catalog, State.ERRORED)
    found = memories(object_store)
    first = next(found)
    assert first.key.startswith(layout.video(video_id))
    record = object_store.get(layout.record(video_id))
    document = json.loads(record.body)
    retried = document | {"state": "queued", "generation": 2}
    other = video(object_store, catalog, State.ERRORED)
    object_store.put(layout.record(other), json.dumps(retried | {"id": other}).encode())
    keys = [each.key for each in memories(object_store)]
    assert keys[-1] == layout.inbox(other, 2)
    assert layout.inbox(video_id) not in keys


def test_a_backup_is_never_replaced_and_never_half_there(
    object_store: ObjectStore, catalog: Catalog, tmp_path: Path
) -> None:
    path = tmp_path / "farm.tar.gz"
    path.write_text("an older one")
    with pytest.raises(SettingsError, match="exists already"):
        back_up(object_store, path, "1.2", NOW)
    path.unlink()

    def broken() -> Any:
        yield from memories(object_store)
        raise OSError("the disk is full")

    video(object_store, catalog, State.READY)
    with pytest.raises(OSError, match="disk is full"):
        archive.write(path, broken(), "1.2", "now")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def backup(object_store: ObjectStore, catalog: Catalog, tmp_path: Path) -> Path:
    """Of a farm with a video, which is wiped."""
    video(object_store, catalog, State.PROCESSING)
    path, _ = back_up(object_store, tmp_path / "farm.tar", "1.2", NOW)
    wiped(object_store)
    return path


def members(path: Path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        return [(each, _body(tar, each)) for each in tar]


def _body(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def rewrite(path: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]) -> None:
    found = members(path)
    change(found)
    with tarfile.open(path, "w") as tar:
        for member, body in found:
            member.size = len(body) if member.isreg() else 0
            tar.addfile(member, io.BytesIO(body))


def named(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


KEY = f"objects/videos/{'0' * 26}/video.json"


@pytest.mark.parametrize(
    "member",
    [
        named("../outside"),
        named("/etc/passwd"),
        named("objects/../../outside"),
        named("objects/videos/../video.json"),
        named(f"objects/videos/{'0' * 26}/source"),
        named(f"objects/videos/{'0' * 26}/play/master.m3u8"),
        named(f"objects/videos/{'0' * 26}/plan/../../x/video.json"),
        named("objects/doctor/x"),
        named("objects/"),
        named(KEY + "\n"),
        named(KEY, tarfile.SYMTYPE, "/etc/passwd"),
        named(KEY, tarfile.LNKTYPE, "/etc/passwd"),
        named(KEY, tarfile.DIRTYPE),
        named(KEY, tarfile.FIFOTYPE),
        named(KEY, tarfile.CHRTYPE),
    ],
    ids=lambda member: f"{member.name.strip()}-{member.type.decode()}",
)
def test_hostile_members_are_refused(
    object_store: ObjectStore, backup: Path, member: tarfile.TarInfo
) -> None:
    before = contents(object_store)
    rewrite(backup, lambda found: found.insert(0, (member, b"")))
    with pytest.raises(BackupError, match="no backup"):
        restore(object_store, backup)
    assert contents(object_store) == before


def test_a_member_that_would_fill_the_memory_is_not_read(
    object_store: ObjectStore, backup: Path
) -> None:
    """Its header alone says so."""
    good = backup.read_bytes()
    for kind in (
        tarfile.REGTYPE,
        tarfile.XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_SPARSE,
    ):
        info = named(KEY, kind)
        info.size = archive.LARGEST + 1
        backup.write_bytes(info.tobuf() + good)
        with pytest.raises(BackupError, match="no backup"):
            restore(object_store, backup)


def test_a_size_below_nothing_is_refused(object_store: ObjectStore, backup: Path) -> None:
    header = bytearray(named(KEY).tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\xff" * 11 + b"\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    backup.write_bytes(bytes(header) + backup.read_bytes())
    with pytest.raises(BackupError, match="no backup of ours"):
        restore(object_store, backup)


def test_large_members_are_not_all_held_at_once() -> None:
    body = b"0" * (archive.LARGEST // 2 - 1)
    found = (Memory(f"videos/{number}", body) for number in range(5))
    small = (Memory(f"index/{number}", b"") for number in range(300))
    assert [len(batch) for batch in _batches(chain(found, small))] == [2, 2, 1, 256, 44]


def test_what_is_left_of_a_backup_is_not_written_through(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    other, path = tmp_path / "other", tmp_path / "farm.tar"
    other.write_text("precious")
    (tmp_path / "farm.tar.part").symlink_to(other)
    back_up(object_store, path, "1.2", NOW)
    assert other.read_text() == "precious"
    assert path.stat().st_mode & 0o777 == 0o600


def test_changed_cut_and_foreign_files_are_refused(
    object_store: ObjectStore, backup: Path, tmp_path: Path
) -> None:
    before, good = contents(object_store), backup.read_bytes()

    def refused(said: str) -> None:
        with pytest.raises(BackupError, match=said):
            restore(object_store, backup)
        assert contents(object_store) == before
        backup.write_bytes(good)

    rewrite(backup, lambda found: found.__setitem__(0, (found[0][0], found[0][1] + b" ")))
    refused("checksum")
    rewrite(backup, lambda found: found.pop(0))
    refused("checksum")
    rewrite(backup, lambda found: found.reverse())
    refused("behind its manifest")
    rewrite(backup, lambda found: found.pop())
    refused("cut off")
    backup.write_bytes(good[:700])
    refused("broken|cut off")
    backup.write_bytes(b"no tar at all" * 100)
    refused("no backup")
    backup.write_bytes(b"")
    refused("no backup|cut off")
    with pytest.raises(NotFoundError):
        restore(object_store, tmp_path / "none.tar")
    assert restore(object_store, backup).written


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 999}, "newer version"),
        ({"format": 999}, "newer version"),
        ({"schema": None}, "makes no sense"),
        ({"sha256": "0" * 64}, "checksum"),
        ({"objects": 1}, "checksum"),
    ],
)
def test_a_manifest_that_will_not_do(
    object_store: ObjectStore, backup: Path, change: dict[str, Any], said: str
) -> None:
    before = contents(object_store)

    def changed(found: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        member, body = found.pop()
        found.append((member, json.dumps(json.loads(body) | change).encode()))

    rewrite(backup, changed)
    with pytest.raises(BackupError, match=said):
        restore(object_store, backup)
    assert contents(object_store) == before


@pytest.mark.parametrize("manifest", [b"[]", b"7", b"{", b"[" * 100_000, b"\xff"])
def test_a_manifest_that_is_none(object_store: ObjectStore, backup: Path, manifest: bytes) -> None:
    def changed(found: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        member, _ = found.pop()
        found.append((member, manifest))

    rewrite(backup, changed)
    with pytest.raises(BackupError, match=r"makes no sense|no backup"):
        restore(object_store, backup)


def test_the_keys_of_every_document_are_known_and_no_others(catalog: Catalog) -> None:
    video_id = new_video_id()
    letter = f"{video_id}-3-{'v' * 12}-x"
    for key in (
        layout.inbox(video_id),
        layout.inbox(video_id, 12),
        layout.index(video_id),
        layout.trash(video_id),
        layout.tombstone(video_id, int((NOW + timedelta(days=1)).timestamp())),
        layout.idempotency(hashlib.sha256(b"x").hexdigest()),
        layout.dead_letter(letter),
        layout.record(video_id),
        layout.plan(video_id, 2),
        layout.published(video_id, 2),
        layout.receipt(video_id, 2, "a0-eng", 42),
    ):
        assert is_memory(key), key
    for key in (layout.source(video_id), layout.play(video_id, "x.json"), "doctor/x"):
        assert not is_memory(key), key

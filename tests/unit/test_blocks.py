"""Blocks of sources on a host's disk: whole or not there, bounded, private, never in the way."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from pipeline import blocks
from pipeline.blocks import AGE, BLOCK, SPAN, BlockCache, Shelf, default_limit

SIZE = 3 * BLOCK + 17


def made(folder: Path, limit: int = 64 * BLOCK, **options: Any) -> BlockCache:
    return BlockCache(folder, limit, **{"least_free": 0, **options})


def shelf(cache: BlockCache, size: int = SIZE, etag: str = '"a"', video: str = "film") -> Shelf:
    return cache.shelf(video, "bucket/key", etag, size)


def read(place: Shelf, number: int) -> bytes | None:
    file = place.open(number)
    if file is None:
        return None
    with file:
        return file.read()


def stored(place: Shelf, number: int) -> bytes:
    data = bytes([number % 251]) * place.length(number)
    with place.turn(number):
        assert place.store(number, data)
    return data


def taken(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*/*"))


def test_a_block_is_there_once_it_is_whole(tmp_path: Path) -> None:
    place = shelf(made(tmp_path))
    assert read(place, 0) is None
    assert place.missing(0, SPAN) == 4
    for number in (0, 3):
        assert read(place, number) is None
        data = stored(place, number)
        assert read(place, number) == data
    assert len(read(place, 3) or b"") == 17
    assert place.missing(0, SPAN) == 0
    assert place.missing(1, SPAN) == 2
    assert place.missing(1, 1) == 1


def test_a_block_of_another_length_is_not_believed(tmp_path: Path) -> None:
    place = shelf(made(tmp_path))
    stored(place, 1)
    os.truncate(place.folder / "1", 100)
    assert read(place, 1) is None
    assert place.missing(1, 1) == 1
    stored(place, 1)
    assert read(place, 1) is not None


def test_nothing_is_fetched_beyond_a_span(tmp_path: Path) -> None:
    place = shelf(made(tmp_path), size=100 * BLOCK)
    assert place.missing(0, 50) == SPAN
    assert place.missing(SPAN - 1, 50) == 1


def test_versions_farms_and_boots_do_not_meet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = made(tmp_path)
    stored(shelf(cache), 0)
    assert read(shelf(cache, etag='"b"'), 0) is None
    assert read(cache.shelf("film", "other/key", '"a"', SIZE), 0) is None
    monkeypatch.setattr(blocks, "_boot", lambda: "another")
    assert read(shelf(cache), 0) is None


@pytest.mark.parametrize("limit", [4 * BLOCK, 20 * BLOCK])
def test_the_bound_holds_at_every_moment(tmp_path: Path, limit: int) -> None:
    first, second = made(tmp_path, limit), made(tmp_path, limit)
    for number in range(50):
        place = shelf((first, second)[number % 2], size=100 * BLOCK)
        stored(place, number)
        assert taken(tmp_path) <= limit
    assert taken(tmp_path) >= limit // 2


def test_what_was_read_longest_ago_goes_first(tmp_path: Path) -> None:
    place = shelf(made(tmp_path, 4 * BLOCK), size=100 * BLOCK)
    for number in range(4):
        stored(place, number)
        os.utime(place.folder / str(number), (number, number))
    assert read(place, 0) is not None
    stored(place, 4)
    assert read(place, 0) is not None
    assert read(place, 1) is None
    assert read(place, 4) is not None


def test_what_does_not_fit_at_all_is_not_kept(tmp_path: Path) -> None:
    place = shelf(made(tmp_path, BLOCK // 2))
    with place.turn(0):
        assert not place.store(0, bytes(BLOCK))
    assert read(place, 0) is None


def test_it_gives_way_where_the_disk_is_nearly_full(tmp_path: Path) -> None:
    stored(shelf(made(tmp_path)), 0)
    place = shelf(made(tmp_path, least_free=1 << 60))
    with place.turn(1):
        assert not place.store(1, bytes(BLOCK))
    assert taken(tmp_path) == 0


def test_a_disk_without_room_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shelf(made(tmp_path))
    monkeypatch.setattr(Path, "replace", full)
    with place.turn(0):
        assert not place.store(0, bytes(BLOCK))
    assert taken(tmp_path) == 0


def full(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_folder_that_cannot_be_had_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = made(tmp_path / "file" / "cache")
    place = shelf(cache)
    with place.turn(0):
        assert not place.store(0, bytes(BLOCK))
    assert read(place, 0) is None
    cache.sweep()
    cache.forget("film")


def test_a_folder_that_is_taken_away_is_no_failure(tmp_path: Path) -> None:
    cache = made(tmp_path / "cache")
    place = shelf(cache)
    stored(place, 0)
    (tmp_path / "cache").rename(tmp_path / "gone")
    with place.turn(1):
        assert not place.store(1, bytes(BLOCK))
    assert read(place, 0) is None


def test_what_nobody_reads_goes_and_so_do_leftovers(tmp_path: Path) -> None:
    late = made(tmp_path)
    place = shelf(late)
    for number in range(3):
        stored(place, number)
    (place.folder / "2.dead.new").write_bytes(bytes(100))
    long_ago = (place.folder / "0").stat().st_mtime - AGE - 60
    for path in place.folder.iterdir():
        if path.name != "1":
            os.utime(path, (long_ago, long_ago))
    late.sweep()
    assert [path.name for path in place.folder.iterdir()] == ["1"]
    os.utime(place.folder / "1", (long_ago, long_ago))
    made(tmp_path)  # as the next process of the farm starts
    assert not place.folder.exists()


def test_a_damaged_ledger_is_begun_anew(tmp_path: Path) -> None:
    place = shelf(made(tmp_path, 4 * BLOCK), size=100 * BLOCK)
    for number, told in enumerate((b"", b"rubbish", b"-5", b"9" * 32)):
        (tmp_path / "ledger").write_bytes(told)
        stored(place, number)
        assert taken(tmp_path) <= 4 * BLOCK


def test_a_video_is_forgotten_alone(tmp_path: Path) -> None:
    cache = made(tmp_path)
    stored(shelf(cache), 0)
    stored(shelf(cache, etag='"b"'), 0)
    stored(shelf(cache, video="other"), 0)
    cache.forget("film")
    assert read(shelf(cache), 0) is read(shelf(cache, etag='"b"'), 0) is None
    assert read(shelf(cache, video="other"), 0) is not None


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    cache = made(tmp_path / "cache")
    stored(shelf(cache), 0)
    for path in ((tmp_path / "cache"), *(tmp_path / "cache").rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_a_process_that_was_stopped_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_PATIENCE", 0.05)
    place = shelf(made(tmp_path))
    with place.turn(0), place.turn(1):
        stored(place, 1)
    with blocks._turn(tmp_path / "ledger") as ledger:
        assert ledger is not None
        assert not place.store(2, bytes(BLOCK))


def test_the_default_bound_is_a_share_of_what_is_free(tmp_path: Path) -> None:
    assert 0 < default_limit(tmp_path / "not" / "there") <= 4 * 1024**3

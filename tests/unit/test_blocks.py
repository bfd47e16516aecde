"""Blocks of sources on a host's disk: whole or not there, bounded, private, never in the way."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from farm import wiring
from farm.settings import load
from pipeline import blocks
from pipeline.blocks import AGE, BLOCK, SPAN, BlockCache, Shelf, default_limit

FILM = "01h455vb4pex5vsknk084sn02q"
OTHER = "01h455vb4pex5vsknk084sn02r"
SIZE = 3 * BLOCK + 17


def made(folder: Path, limit: int = 64 * BLOCK, **options: Any) -> BlockCache:
    return BlockCache(folder, limit, **{"least_free": 0, **options})


def shelf(cache: BlockCache, size: int = SIZE, etag: str = '"a"', video: str = FILM) -> Shelf:
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
    assert read(cache.shelf(FILM, "other/key", '"a"', SIZE), 0) is None
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
    cache.forget(FILM)


def test_a_folder_that_is_taken_away_is_no_failure(tmp_path: Path) -> None:
    cache = made(tmp_path / "cache")
    place = shelf(cache)
    stored(place, 0)
    (tmp_path / "cache").rename(tmp_path / "gone")
    with place.turn(1):
        assert not place.store(1, bytes(BLOCK))
    assert read(place, 0) is None


@pytest.mark.parametrize("least_free", [0, 1 << 60], ids=["room", "no room"])
def test_what_is_not_its_own_is_let_be(tmp_path: Path, least_free: int) -> None:
    folder = tmp_path / "cache"
    version = f"{FILM}.{'0' * 24}"
    cache = made(folder, BLOCK, least_free=least_free)
    stored(shelf(made(folder)), 0)
    foreign = [
        *(folder / "1", folder / "volumes" / "1.dat", folder / "volumes" / "2"),
        *(folder / f"film.{'0' * 24}" / "3", folder / f"{FILM}.mp4" / "4", folder / FILM / "5"),
        *(shelf(cache).folder / "notes.txt", tmp_path / "linked" / "6", tmp_path / "linked.bin"),
    ]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100))
        os.utime(path, (1, 1))
    (folder / "empty").mkdir()
    (folder / version).symlink_to(tmp_path / "linked")
    (shelf(cache).folder / "7").symlink_to(tmp_path / "linked.bin")
    with shelf(cache).turn(1):
        shelf(cache).store(1, bytes(BLOCK))
    cache.sweep()
    cache.forget(OTHER)
    assert read(shelf(cache), 0) is None, "what is its own had to go"
    assert [path for path in foreign if not path.exists()] == []
    assert (folder / "empty").exists()
    cache.forget(FILM)
    assert (tmp_path / "linked" / "6").exists()
    assert (tmp_path / "linked.bin").exists()


def test_a_disk_that_fails_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = made(tmp_path)
    stored(shelf(cache), 0)
    monkeypatch.setattr(os, "scandir", full)
    cache.sweep()
    cache.forget(FILM)


def test_a_place_that_cannot_be_told_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert default_limit(Path("cache")) == 0
    place = shelf(made(Path("cache")))
    with place.turn(0):
        assert not place.store(0, bytes(BLOCK))
    monkeypatch.setattr(shutil, "disk_usage", full)
    assert default_limit(tmp_path) == 0


def test_what_nobody_reads_goes_and_so_do_leftovers(tmp_path: Path) -> None:
    late = made(tmp_path)
    place = shelf(late)
    for number in range(3):
        stored(place, number)
    (place.folder / "2.deadbeef.new").write_bytes(bytes(100))
    long_ago = (place.folder / "0").stat().st_mtime - AGE - 60
    for path in place.folder.iterdir():
        if path.name != "1":
            os.utime(path, (long_ago, long_ago))
    late.sweep()
    assert [path.name for path in place.folder.iterdir()] == ["1"]
    os.utime(place.folder / "1", (long_ago, long_ago))
    made(tmp_path)  # an API's, or a sweeper's
    assert place.folder.exists()
    made(tmp_path).sweep()
    assert not place.folder.exists()


def test_a_worker_removes_what_has_aged_before_it_has_work(tmp_path: Path) -> None:
    settings = load(
        data_dir=tmp_path,
        source_cache=BLOCK,
        redis_url="redis://127.0.0.1:1",
        s3_endpoint="http://127.0.0.1:1",
        s3_access_key="key",
        s3_secret_key="secret",
    )
    folder = tmp_path / "cache" / "blocks"
    place = shelf(made(folder))
    stored(place, 0)
    os.utime(place.folder / "0", (1, 1))
    queue = wiring.queue(settings)
    wiring.bench(settings, queue)
    assert (place.folder / "0").exists()
    with closing(wiring.workshop(settings, queue).bench.sources):
        assert within_seconds(lambda: not (place.folder / "0").exists())


def within_seconds(happened: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + 10
    while not happened() and time.monotonic() < give_up:
        time.sleep(0.01)
    return happened()


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
    stored(shelf(cache, video=OTHER), 0)
    cache.forget(FILM)
    assert read(shelf(cache), 0) is read(shelf(cache, etag='"b"'), 0) is None
    assert read(shelf(cache, video=OTHER), 0) is not None


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

"""Sources read by way of the loopback: the object's own bytes, each fetched once, or an error."""

from __future__ import annotations

import random
import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from farm.embedded import SeaweedFS
from media.binaries import Tools
from media.command import Command
from media.errors import (
    DeadlineExceededError,
    Evidence,
    NotStartedError,
    RunError,
    SourceUnreadableError,
    StalledError,
)
from media.process import run
from media.safety import input_options
from pipeline import source
from pipeline.blocks import BLOCK, BlockCache
from pipeline.original import Original
from pipeline.source import SourceReader
from storage import layout
from storage.errors import ChangedError, NotFoundError, UnavailableError
from storage.objects import ObjectStore, connect
from tests.chaos.s3_proxy import CUT, DROPPED, INTERNAL, STALL, Fault, Request, S3Proxy

ID = "01h455vb4pex5vsknk084sn02q"
KEY = layout.source(ID)
CLIENT = httpx.Client(timeout=20.0)
SIZES = (1, BLOCK, 3 * BLOCK + 17, 12 * BLOCK - 1)

MakeClip = Callable[..., Path]


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def proxy(seaweedfs: SeaweedFS) -> Iterator[S3Proxy]:
    at = urlsplit(seaweedfs.endpoint)
    with S3Proxy((at.hostname or "", at.port or 0)) as found:
        yield found


@pytest.fixture
def store(seaweedfs: SeaweedFS, object_store: ObjectStore, proxy: S3Proxy) -> Iterator[ObjectStore]:
    """Behind the proxy, and quick to give up."""
    config = replace(seaweedfs.config(prefix=object_store.prefix), endpoint=proxy.endpoint)
    with closing(connect(config, read_timeout=2.0, tries=1)) as found:
        yield found


@pytest.fixture
def cache(tmp_path: Path) -> BlockCache:
    return BlockCache(tmp_path / "cache", 64 * BLOCK, least_free=0)


@pytest.fixture(params=["cached", "passed through"])
def reader(
    request: pytest.FixtureRequest, store: ObjectStore, cache: BlockCache
) -> Iterator[SourceReader]:
    with closing(SourceReader(store, cache if request.param == "cached" else None)) as found:
        yield found


def get(url: str, first: int | None = None, last: int | str = "") -> httpx.Response:
    headers = {} if first is None else {"Range": f"bytes={first}-{last}"}
    return CLIENT.get(url, headers=headers)


@pytest.mark.parametrize("size", SIZES)
def test_every_range_is_that_of_the_object(
    reader: SourceReader, object_store: ObjectStore, size: int
) -> None:
    data, dice = content(size), random.Random(size)
    object_store.put(KEY, data)
    with reader.lend(ID) as url:
        assert CLIENT.head(url).headers["content-length"] == str(size)
        for _ in range(12):
            first = dice.choice([0, dice.randrange(size), size // BLOCK * BLOCK - 1]) % size
            last = dice.choice(["", first, dice.randrange(first, size), size + 100])
            answer = get(url, first, last)
            stop = size if last == "" else min(int(last) + 1, size)
            assert answer.status_code == 206
            assert answer.headers["content-range"] == f"bytes {first}-{stop - 1}/{size}"
            assert answer.content == data[first:stop]
        whole = get(url)
        assert (whole.status_code, whole.content) == (200, data)
        behind = get(url, size)
        assert behind.status_code == 416
        assert behind.headers["content-range"] == f"bytes */{size}"


def test_an_empty_source_is_empty(reader: SourceReader, object_store: ObjectStore) -> None:
    object_store.put(KEY, b"")
    with reader.lend(ID) as url:
        assert get(url, 0).status_code == 416
        assert get(url).content == b""


def test_an_address_is_good_for_its_source_and_its_time_alone(
    reader: SourceReader, object_store: ObjectStore
) -> None:
    object_store.put(KEY, b"film")
    with reader.lend(ID) as first, reader.lend(ID) as second:
        assert first != second
        assert get(first).content == get(second).content == b"film"
        root, _, token = first.partition("?")
        for url, status in {
            root: 400, f"{root}?": 400, f"{root}?{token}x": 404, f"{root}?{token[:-1]}": 404,
            root.replace("/source", f"/other?{token}"): 400,
        }.items():  # fmt: skip
            assert get(url).status_code == status, url
        assert CLIENT.post(first).status_code == 400
    assert get(first).status_code == get(second).status_code == 404


def test_nobody_else_can_reach_it(reader: SourceReader, object_store: ObjectStore) -> None:
    with reader.lend(ID) as url:
        port = urlsplit(url).port
        heard = [each.laddr for each in psutil.Process().net_connections() if each.laddr]
        assert {at.ip for at in heard if at.port == port} == {"127.0.0.1"}


def test_a_source_that_is_gone_is_told_so(reader: SourceReader, tools: Tools) -> None:
    with pytest.raises(SourceUnreadableError) as caught, reader.lend(ID) as url:
        assert get(url).status_code == 404
        copy(tools, url)
    assert caught.value.status == 404
    assert isinstance(caught.value.__cause__, NotFoundError)


def copy(
    tools: Tools, url: str, read_timeout: float = 15.0, deadline: float = 25.0, stall: float = 30.0
) -> int:
    """Read the whole source; how many packets there are."""
    lines: list[bytes] = []
    options = input_options(url, read_timeout=read_timeout)
    arguments = (*options, "-i", url, "-c", "copy", "-f", "framecrc", "sink:frames")
    run(tools, Command(arguments, deadline), sinks={"frames": lines.append}, stall=stall)
    return b"".join(lines).count(b"\n")


# One fetch


def fetched(proxy: S3Proxy) -> Counter[int]:
    """How often each block is asked for from now on."""
    seen: Counter[int] = Counter()

    def note(request: Request) -> bool:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        assert found is not None
        seen.update(range(int(found[1]) // BLOCK, int(found[2]) // BLOCK + 1))
        return False

    proxy.fail(STALL, operation="GetObject", key="/source$", match=note)
    return seen


def test_slots_that_read_at_once_fetch_every_block_once(
    store: ObjectStore, object_store: ObjectStore, proxy: S3Proxy, tmp_path: Path
) -> None:
    data, seen = content(20 * BLOCK + 5), fetched(proxy)
    object_store.put(KEY, data)
    folder = tmp_path / "cache"
    readers = [SourceReader(store, BlockCache(folder, 64 * BLOCK, least_free=0)) for _ in "12"]

    def whole(order: int) -> None:
        with readers[order % 2].lend(ID) as url:
            first = (0, 3 * BLOCK, 11 * BLOCK + 7)[order % 3]
            assert get(url, first).content == data[first:]

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(whole, range(6)))
    assert seen == Counter(range(21))
    for each in readers:
        each.close()


def test_what_was_read_is_not_asked_for_again_until_it_is_forgotten(
    store: ObjectStore, object_store: ObjectStore, proxy: S3Proxy, cache: BlockCache
) -> None:
    data, seen = content(5 * BLOCK), fetched(proxy)
    object_store.put(KEY, data)
    with closing(SourceReader(store, cache)) as reader:
        for _ in range(2):
            with reader.lend(ID) as url:
                assert get(url).content == data
        assert seen == Counter(range(5))
        reader.forget(ID)
        with reader.lend(ID) as url:
            assert get(url).content == data
    assert seen == Counter(2 * list(range(5)))


def test_a_look_here_and_there_costs_no_more_than_it_reads(
    store: ObjectStore, object_store: ObjectStore, proxy: S3Proxy, cache: BlockCache
) -> None:
    seen = fetched(proxy)
    object_store.put(KEY, content(40 * BLOCK))
    with closing(SourceReader(store, cache)) as reader, reader.lend(ID) as url:
        for number in (0, 30, 17):
            get(url, number * BLOCK + 100, number * BLOCK + 200)
    assert seen == Counter((0, 17, 30))


def test_over_a_slow_link_little_is_asked_for_at_once(
    store: ObjectStore, object_store: ObjectStore, proxy: S3Proxy
) -> None:
    """ffmpeg has its first byte when all of that has come."""
    data, asked = content(12 * BLOCK), []

    def note(request: Request) -> bool:
        first, last = re.findall(r"\d+", request.headers["range"])
        asked.append(-(-(int(last) - int(first)) // BLOCK))
        return False

    object_store.put(KEY, data)
    proxy.fail(STALL, operation="GetObject", key="/source$", match=note)
    moments = chain((0.0, 0.0, 1.0, 1.0), count(100.0, 5.0))
    original = Original(store, ID, None, clock=lambda: next(moments))
    found = [piece for piece in original.pieces(0, len(data)) if isinstance(piece, memoryview)]
    assert b"".join(found) == data
    assert asked == [1, 2, 4, 2, 1, 1, 1]


def test_a_cache_of_no_use_is_in_nobodys_way(
    store: ObjectStore, object_store: ObjectStore, tmp_path: Path
) -> None:
    """A disk without room, and a folder that cannot be made."""
    data = content(9 * BLOCK + 1)
    object_store.put(KEY, data)
    (tmp_path / "file").write_text("in the way")
    for cache in (
        BlockCache(tmp_path / "full", 64 * BLOCK, least_free=1 << 60),
        BlockCache(tmp_path / "small", BLOCK // 2, least_free=0),
        BlockCache(tmp_path / "file" / "cache", 64 * BLOCK, least_free=0),
    ):
        with closing(SourceReader(store, cache)) as reader, reader.lend(ID) as url:
            assert get(url).content == data


# Versions


def test_no_bytes_of_another_version_are_mixed_in(
    reader: SourceReader, object_store: ObjectStore
) -> None:
    old, new = content(4 * BLOCK), content(4 * BLOCK, seed=2)
    object_store.put(KEY, old)
    with reader.lend(ID) as url:
        assert get(url, 0, 99).content == old[:100]
        object_store.put(KEY, new)
        assert get(url, 2 * BLOCK).status_code == 412
        with pytest.raises(httpx.RemoteProtocolError):
            get(url, BLOCK - 10)  # begun with what is there, perhaps, and cut; or refused
            raise httpx.RemoteProtocolError("refused")
    with reader.lend(ID) as url:
        assert get(url).content == new


def test_a_version_that_changes_fails_the_run(
    reader: SourceReader, object_store: ObjectStore, tools: Tools, make_clip: MakeClip
) -> None:
    film = noisy(make_clip)
    object_store.put_file(KEY, film)
    with pytest.raises(SourceUnreadableError) as caught, reader.lend(ID) as url:
        get(url, 0, 99)
        object_store.put(KEY, content(film.stat().st_size))
        copy(tools, url)
    assert isinstance(caught.value.__cause__, ChangedError)


def noisy(make_clip: MakeClip) -> Path:
    """A film of some blocks, read from its first byte to its last."""
    noise = {"seconds": 6, "filters": "noise=alls=90:allf=t", "video": ("-g", "25", "-b:v", "3M")}
    return make_clip("blocks.mp4", output=("-movflags", "+faststart"), **noise)


# Trouble in storage


def test_an_answer_that_breaks_off_is_taken_up_where_it_broke(
    reader: SourceReader, object_store: ObjectStore, proxy: S3Proxy
) -> None:
    data = content(9 * BLOCK + 3)
    object_store.put(KEY, data)
    with proxy.failing(CUT, operation="GetObject", every=2) as rule, reader.lend(ID) as url:
        assert get(url).content == data
    assert rule.done >= 2


@pytest.mark.parametrize("fault", [CUT, DROPPED, INTERNAL], ids=lambda fault: fault.name)
def test_an_outage_fails_the_run_and_the_next_one_goes_well(
    reader: SourceReader, object_store: ObjectStore, proxy: S3Proxy, tools: Tools,
    make_clip: MakeClip, fault: Fault,
) -> None:  # fmt: skip
    film = noisy(make_clip)
    object_store.put_file(KEY, film)
    whole = copy(tools, str(film))

    def away(request: Request) -> bool:
        return not request.headers.get("range", "").startswith("bytes=0-")

    with (
        proxy.failing(fault, operation="GetObject", match=away),
        proxy.failing(DROPPED, operation="GetObject", match=away, after=3),
        pytest.raises(SourceUnreadableError) as caught,
        reader.lend(ID) as url,
    ):
        copy(tools, url)
    assert caught.value.transient
    assert isinstance(caught.value.__cause__, UnavailableError)
    assert not any(url.partition("?")[2] in line for line in caught.value.evidence.stderr)
    assert not any(url.partition("?")[2] in word for word in caught.value.evidence.argv)
    with reader.lend(ID) as url:
        assert copy(tools, url) == whole


def test_storage_that_goes_and_comes_again(
    reader: SourceReader, object_store: ObjectStore, proxy: S3Proxy
) -> None:
    data = content(40 * BLOCK)
    object_store.put(KEY, data)
    with reader.lend(ID) as url:
        with pytest.raises(httpx.RemoteProtocolError), CLIENT.stream("GET", url) as answer:
            for number, _ in enumerate(answer.iter_raw(BLOCK)):
                if number == 0:
                    proxy.refuse()
        assert get(url, 39 * BLOCK).status_code == 503
        proxy.accept()
        assert get(url).content == data


def test_storage_that_says_nothing_ends_the_run_in_time(
    reader: SourceReader, object_store: ObjectStore, proxy: S3Proxy, tools: Tools,
    make_clip: MakeClip,
) -> None:  # fmt: skip
    object_store.put_file(KEY, noisy(make_clip))
    with proxy.failing(STALL, operation="GetObject", seconds=5.0):
        began = time.monotonic()
        with pytest.raises(SourceUnreadableError), reader.lend(ID) as url:
            copy(tools, url, read_timeout=0.3)
        assert time.monotonic() - began < 4.0


@pytest.mark.parametrize("limit", [{"stall": 0.5}, {"deadline": 0.5}], ids=["stall", "deadline"])
def test_a_run_that_ends_for_want_of_bytes_says_so(
    reader: SourceReader, object_store: ObjectStore, proxy: S3Proxy, tools: Tools,
    make_clip: MakeClip, limit: dict[str, float],
) -> None:  # fmt: skip
    object_store.put_file(KEY, noisy(make_clip))
    with (
        proxy.failing(STALL, operation="GetObject", seconds=1.9),
        pytest.raises(SourceUnreadableError, match="the storage did not answer") as caught,
        reader.lend(ID) as url,
    ):
        copy(tools, url, **limit)
    assert caught.value.transient


@pytest.mark.parametrize("kind", [StalledError, DeadlineExceededError])
def test_a_run_that_stands_still_with_all_bytes_at_hand_says_so(
    reader: SourceReader, object_store: ObjectStore, proxy: S3Proxy, kind: type[RunError]
) -> None:
    object_store.put(KEY, b"film")
    with pytest.raises(kind), reader.lend(ID) as url:
        proxy.refuse()
        assert get(url).status_code == 503
        proxy.accept()
        assert get(url).content == b"film"
        raise kind("ffmpeg: no progress for 30 s", Evidence(()))


def test_a_fault_of_the_reader_is_told_to_ffmpeg(
    reader: SourceReader, store: ObjectStore, object_store: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def open_badly(*_: Any, **__: Any) -> None:
        raise ValueError("rubbish in a header")

    object_store.put(KEY, b"film")
    monkeypatch.setattr(store, "open", open_badly)
    with pytest.raises(SourceUnreadableError) as caught, reader.lend(ID) as url:
        assert get(url).status_code == 503
        raise SourceUnreadableError("ffmpeg: 503", Evidence(()), 503)
    assert isinstance(caught.value.__cause__, ValueError)


# Connections


def connected(url: str, asked: str = "") -> socket.socket:
    at = urlsplit(url)
    found = socket.create_connection((at.hostname, at.port), timeout=5.0)
    found.sendall(asked.format(at=f"{at.path}?{at.query}").encode())
    return found


def is_cut(connection: socket.socket) -> bool:
    try:
        return connection.recv(100) == b""
    except ConnectionError:
        return True


def test_a_machine_without_threads_serves_again_once_it_has_some(
    reader: SourceReader, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store.put(KEY, b"film")
    with monkeypatch.context() as bare:
        bare.setattr(source, "Thread", no_thread)
        with pytest.raises(NotStartedError), reader.lend(ID):
            pass
    assert reader._lent == {}
    with reader.lend(ID) as url:
        with monkeypatch.context() as bare:
            bare.setattr(source, "Thread", no_thread)
            with connected(url) as refused:
                assert is_cut(refused)
        assert get(url).content == b"film"


def no_thread(**_: Any) -> None:
    raise RuntimeError("can't start new thread")


def test_no_fault_over_one_connection_ends_the_rest(
    reader: SourceReader, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> None:
        raise ValueError("unforeseen")

    object_store.put(KEY, b"film")
    with reader.lend(ID) as url:
        with monkeypatch.context() as bare:
            bare.setattr(source, "Thread", broken)
            with connected(url) as refused:
                assert is_cut(refused)
        assert get(url).content == b"film"


def test_connections_are_counted(
    store: ObjectStore, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store.put(KEY, b"film")
    monkeypatch.setattr(source, "_ROOM", 3)
    with closing(SourceReader(store)) as reader, reader.lend(ID) as url:
        silent = [connected(url) for _ in range(3)]
        with connected(url) as late:
            assert is_cut(late)
        for each in silent:
            each.shutdown(socket.SHUT_WR)
            each.recv(100)
            assert is_cut(each)
            each.close()
        assert served(url) == b"film"


def served(url: str) -> bytes:
    """What comes once there is room again."""
    give_up = time.monotonic() + 5.0
    while True:
        try:
            return get(url).content
        except httpx.TransportError:
            if time.monotonic() > give_up:
                raise


def test_one_run_takes_no_room_from_others(
    reader: SourceReader, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store.put(KEY, content(40 * BLOCK))
    monkeypatch.setattr(source, "_ROOM_FOR_ONE", 3)
    request = "GET {at} HTTP/1.1\r\n\r\n"
    with reader.lend(ID) as greedy, reader.lend(ID) as url:
        slow = [connected(greedy, request) for _ in range(3)]
        assert [each.recv(100)[:12] for each in slow] == 3 * [b"HTTP/1.1 200"]
        with connected(greedy, request) as late:
            assert is_cut(late)
        assert get(url, 0, 99).status_code == 206
    for each in slow:
        each.close()


def test_a_request_that_trickles_in_is_cut(
    reader: SourceReader, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    object_store.put(KEY, b"film")
    monkeypatch.setattr(source, "_HURRY", 0.3)
    with reader.lend(ID) as url, connected(url) as slow:
        slow.settimeout(0.05)
        give_up = time.monotonic() + 5.0
        while time.monotonic() < give_up:
            try:
                slow.sendall(b"G")
                assert is_cut(slow)
                break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("it was listened to for longer than it may take")


def test_the_end_of_a_run_cuts_what_still_reads(
    reader: SourceReader, object_store: ObjectStore
) -> None:
    object_store.put(KEY, content(40 * BLOCK))
    with reader.lend(ID) as url:
        at = urlsplit(url)
        slow = socket.create_connection((at.hostname, at.port))
        slow.sendall(f"GET {at.path}?{at.query} HTTP/1.1\r\n\r\n".encode())
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
    slow.settimeout(5.0)
    received = sum(len(data) for data in iter(lambda: slow.recv(1 << 20), b""))
    slow.close()
    assert received < 40 * BLOCK

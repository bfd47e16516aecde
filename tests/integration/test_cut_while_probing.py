"""A source that is cut off while it is looked at is never taken for a file that is no film."""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event
from urllib.parse import urlsplit

import pytest
import redis

from catalog.videos import Catalog
from farm.embedded import SeaweedFS
from jobs.board import Board
from jobs.broker import FarmBroker
from jobs.parts import PartRef
from jobs.send import Sender
from media.binaries import Tools
from media.errors import NotMediaError, SourceUnreadableError
from media.probe import probe
from media.probed import Probe
from pipeline.bench import Bench, PlanShelf
from pipeline.inspect import examine
from pipeline.source import SourceReader
from storage import layout
from storage.objects import ObjectStore, connect
from tests.chaos.s3_proxy import CUT, DROPPED, INTERNAL, SLOW_DOWN, Fault, S3Proxy
from transcoder.planner import PlanLimits
from transcoder.profile import load_profile

MakeClip = Callable[..., Path]
KINDS = ("mp4", "mkv", "ts")

#: What is sent of an answer before its connection ends; a number is of bytes of its body.
PLACES = {
    "at once": b"",
    "in the status": b"HTTP/1.1 206 Par",
    "in the head": b"HTTP/1.1 206 Partial Content\r\nContent-Type: video/mp4\r\nContent-Le",
    "between two headers": b"HTTP/1.1 206 Partial Content\r\nContent-Type: video/mp4\r\n",
    "before the first byte": 0,
    "after a byte": 1,
    "after twenty": 20,
    "after a thousand": 1000,
}

#: Of the connections to a server, those that are cut, by their number. Each of those brings ffmpeg
#: a little further where it brings a byte, so that there have to be some that are not cut.
WHICH: dict[str, Callable[[int], bool]] = {
    "the first of them": lambda number: number < 9,
    "the first": lambda number: number == 0,
    "all but the first": lambda number: 0 < number < 9,
}


@contextmanager
def cutting(
    data: bytes, what: bytes | int, which: Callable[[int], bool], *, reset: bool
) -> Iterator[str]:
    """The address of a server that cuts its answers short."""
    seen: list[int] = []

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            asked = b""
            while b"\r\n\r\n" not in asked:
                if not (more := connection.recv(4096)):
                    return
                asked += more
            cut = which(len(seen))
            seen.append(1)
            connection.sendall(cut_answer(data, asked, what if cut else len(data)))
            if cut and reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            with suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=server.accept()[:1], daemon=True).start()

        threading.Thread(target=listen, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/film"
        finally:
            server.shutdown(socket.SHUT_RDWR)


def cut_answer(data: bytes, asked: bytes, what: bytes | int) -> bytes:
    """As much of the answer as is sent."""
    if isinstance(what, bytes):
        return what
    found = re.search(rb"Range: bytes=(\d+)-", asked)
    first = int(found[1]) if found else 0
    head = (
        f"HTTP/1.1 206 Partial Content\r\nContent-Length: {len(data) - first}\r\n"
        f"Content-Range: bytes {first}-{len(data) - 1}/{len(data)}\r\n"
        "Accept-Ranges: bytes\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + data[first : first + what]


@pytest.fixture(scope="module")
def films(make_clip: MakeClip) -> dict[str, Path]:
    """Films whose end is looked at as well as their beginning."""
    return {kind: make_clip(f"cut.{kind}", seconds=8, sound=True) for kind in KINDS}


@pytest.fixture(scope="module")
def whole(tools: Tools, films: dict[str, Path]) -> dict[str, Probe]:
    """What each is."""
    return {kind: probe(tools, str(path)) for kind, path in films.items()}


#: The index of the MP4 lies at its end, and is asked for in a connection of its own.
SOME = (
    *((place, "the first of them") for place in PLACES),
    ("in the head", "all but the first"),
    ("after twenty", "all but the first"),
)


@pytest.mark.parametrize(("place", "which"), SOME)
def test_a_cut_is_a_cut_wherever_it_is(
    tools: Tools, films: dict[str, Path], whole: dict[str, Probe], place: str, which: str
) -> None:
    try_cut(tools, films["mp4"], whole["mp4"], place, which, reset=False)


@pytest.mark.long
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("which", WHICH)
@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_is_a_cut_in_every_container(
    tools: Tools,
    films: dict[str, Path],
    whole: dict[str, Probe],
    kind: str,
    which: str,
    reset: bool,
) -> None:
    for place in PLACES:
        try_cut(tools, films[kind], whole[kind], place, which, reset=reset)


def try_cut(
    tools: Tools, film: Path, whole: Probe, place: str, which: str, *, reset: bool
) -> None:  # fmt: skip
    """It is the same film in spite of it, or an unreadable one."""
    with cutting(film.read_bytes(), PLACES[place], WHICH[which], reset=reset) as url:
        try:
            found = probe(tools, url)
        except SourceUnreadableError:
            return
    assert found == whole, place


@pytest.fixture
def proxy(seaweedfs: SeaweedFS) -> Iterator[S3Proxy]:
    """In front of the storage."""
    at = urlsplit(seaweedfs.endpoint)
    with S3Proxy((at.hostname or "", at.port or 0)) as found:
        yield found


@pytest.fixture
def bench(
    seaweedfs: SeaweedFS, object_store: ObjectStore, proxy: S3Proxy, tools: Tools,
    redis_client: redis.Redis, namespace: str,
) -> Iterator[Bench]:  # fmt: skip
    """A worker's, whose storage is behind the proxy."""
    config = replace(seaweedfs.config(prefix=object_store.prefix), endpoint=proxy.endpoint)
    store, board = connect(config), Board(redis_client, namespace)
    yield Bench(
        store=store, catalog=Catalog(store), board=board,
        sender=Sender(FarmBroker(redis_client, namespace), board), tools=tools,
        profile=load_profile(None), limits=PlanLimits(), host="h",
        plans=PlanShelf(store), sources=SourceReader(store),
    )  # fmt: skip
    store.close()


REF = PartRef("01h455vb4pex5vsknk084sn02q", 1, "inspect")


def looked_at(bench: Bench) -> Probe:
    return examine(bench, REF, Event())


@pytest.mark.parametrize("after", [0, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize("fault", [CUT, DROPPED, INTERNAL, SLOW_DOWN], ids=lambda f: f.name)
def test_a_fault_of_the_storage_is_no_verdict(
    bench: Bench, proxy: S3Proxy, films: dict[str, Path], fault: Fault, after: int
) -> None:
    bench.store.put_file(layout.source(REF.video_id), films["mp4"])
    whole = looked_at(bench)
    with proxy.failing(fault, operation="GetObject", after=after) as rule:
        with suppress(SourceUnreadableError):
            assert looked_at(bench) == whole
        assert rule.done


def test_what_is_called_no_film_is_looked_at_again(
    bench: Bench, object_store: ObjectStore, proxy: S3Proxy, films: dict[str, Path]
) -> None:
    """An answer that says that it is whole, and is not, cannot be told from rubbish at once."""
    key = layout.source(REF.video_id)
    object_store.put_file(key, films["mp4"])
    whole = looked_at(bench)
    object_store.put(key, films["mp4"].read_bytes()[:1000])

    def mend(_: object) -> bool:
        object_store.put_file(key, films["mp4"])
        return False

    with proxy.failing(DROPPED, operation="HeadObject", match=mend):
        assert looked_at(bench) == whole


def test_rubbish_is_rubbish(bench: Bench) -> None:
    for body in (b"", b"no film", bytes(200_000)):
        bench.store.put(layout.source(REF.video_id), body)
        with pytest.raises(NotMediaError):
            looked_at(bench)

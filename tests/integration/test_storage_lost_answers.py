"""Lost and broken answers, made for real by a proxy between the client and the server."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from farm.embedded import SeaweedFS
from pipeline.playlists import etag_of, swap_text
from storage.documents import create_document, load_document, replace_document
from storage.errors import UnavailableError
from storage.objects import ObjectStore, connect


class LosingProxy:
    """Forwards TCP to a server, and cuts connections where it is told to."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = [self._listener]
        #: Answers to lose whole, and answers lost.
        self.to_lose = 0
        self.lost = 0
        #: Bytes after which an answer breaks off; None for never.
        self.cut_after: int | None = None
        self._spawn(self._accept)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        for open_socket in self._sockets:
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in list(self._threads):
            thread.join(10)

    def _spawn(self, target: Callable[..., None], *args: socket.socket) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._upstream)
                self._sockets += [client, server]
                self._spawn(self._requests, client, server)
                self._spawn(self._answers, client, server)

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answers(self, client: socket.socket, server: socket.socket) -> None:
        passed = 0
        with client, server, suppress(OSError):
            while data := server.recv(65536):
                if self.to_lose and b"HTTP/1.1 200" in data:
                    self.to_lose -= 1
                    self.lost += 1
                    break
                room = len(data) if self.cut_after is None else self.cut_after - passed
                client.sendall(data[:room])
                passed += len(data)
                if room < len(data):
                    break
            client.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(seaweedfs: SeaweedFS) -> Iterator[LosingProxy]:
    upstream = urlsplit(seaweedfs.endpoint)
    assert upstream.hostname is not None
    assert upstream.port is not None
    with closing(LosingProxy(upstream.hostname, upstream.port)) as made:
        yield made


@pytest.fixture
def lossy_store(
    object_store: ObjectStore, seaweedfs: SeaweedFS, proxy: LosingProxy
) -> Iterator[ObjectStore]:
    """The same objects as ``object_store``, through the proxy."""
    config = seaweedfs.config(prefix=object_store.prefix)
    with closing(connect(replace(config, endpoint=proxy.endpoint))) as store:
        yield store


def test_a_lost_answer_to_a_create_is_still_a_win(
    lossy_store: ObjectStore, proxy: LosingProxy
) -> None:
    proxy.to_lose = 1
    assert lossy_store.create("plain", b"x") is None, "what the nonce has to see through"
    assert proxy.lost == 1

    proxy.to_lose = 1
    created = create_document(lossy_store, "doc.json", {"run": "mine"})
    assert proxy.lost == 2
    assert (created.won, created.document) == (True, {"run": "mine"})
    assert load_document(lossy_store, "doc.json") == ({"run": "mine"}, created.etag)


def test_a_lost_answer_to_a_replace_is_still_a_win(
    lossy_store: ObjectStore, proxy: LosingProxy
) -> None:
    etag = create_document(lossy_store, "doc.json", {"n": 1}).etag
    proxy.to_lose = 1
    new = replace_document(lossy_store, "doc.json", {"n": 2}, etag)
    assert proxy.lost == 1
    assert load_document(lossy_store, "doc.json") == ({"n": 2}, new)


def test_a_lost_answer_to_a_playlist_is_still_a_success(
    lossy_store: ObjectStore, proxy: LosingProxy
) -> None:
    proxy.to_lose = 1
    assert swap_text(lossy_store, "film", "master.m3u8", "first", None)
    etag = etag_of(lossy_store, "film", "master.m3u8")
    proxy.to_lose = 1
    assert swap_text(lossy_store, "film", "master.m3u8", "second", etag)
    assert proxy.lost == 2
    assert not swap_text(lossy_store, "film", "master.m3u8", "third", etag), "another one's"


def test_a_lost_answer_to_a_completed_upload_is_still_complete(
    lossy_store: ObjectStore, proxy: LosingProxy
) -> None:
    upload = lossy_store.multipart("source")
    upload.upload_part(1, b"bytes")
    proxy.to_lose = 1
    etag = upload.complete()
    assert proxy.lost == 1
    assert (lossy_store.get("source").body, lossy_store.head("source").etag) == (b"bytes", etag)


def test_an_object_that_breaks_off_is_no_short_object(
    object_store: ObjectStore, lossy_store: ObjectStore, proxy: LosingProxy
) -> None:
    object_store.put("film", b"x" * 1_000_000)
    proxy.cut_after = 300_000
    read = 0
    with lossy_store.open("film") as stream, pytest.raises(UnavailableError, match="film"):
        for chunk in stream.iter_chunks(10_000):
            read += len(chunk)
    assert 200_000 < read < 300_000
    with pytest.raises(UnavailableError):
        lossy_store.get("film")
    proxy.cut_after = None
    assert len(lossy_store.get("film").body) == 1_000_000


def test_a_server_that_never_answers_is_unavailable(seaweedfs: SeaweedFS) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config = replace(seaweedfs.config(), endpoint=endpoint)
        with closing(connect(config, read_timeout=0.3, tries=2)) as store:
            began = time.monotonic()
            with pytest.raises(UnavailableError, match="ReadTimeout"):
                store.get("key")
            assert time.monotonic() - began < 5

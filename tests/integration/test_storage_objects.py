"""ObjectStore against a real S3 server."""

from __future__ import annotations

import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from farm.embedded import SeaweedFS
from farm.embedded.ports import free_ports
from storage.errors import (
    BucketMissingError,
    DeniedError,
    InvalidRangeError,
    NotFoundError,
    StorageError,
    UnavailableError,
)
from storage.multipart import MIN_PART
from storage.objects import ObjectStore, connect

ODD_KEYS = (
    "plain",
    "with space",
    "plus+and&amp;=?#%41",
    "ünïcödé/日本語/🎬",
    "dots/..hidden/.x",
    "tilde~'quote\"(paren)*!",
    "deep/" * 20 + "end",
)


@pytest.fixture
def film(object_store: ObjectStore) -> bytes:
    """An object ``film`` of 100 000 bytes, no two runs of them alike."""
    body = b"".join(n.to_bytes(4, "big") for n in range(25_000))
    object_store.put("film", body, content_type="video/mp4", cache_control="no-cache")
    return body


def test_what_is_put_is_got_back(object_store: ObjectStore) -> None:
    etag = object_store.put("a/b", b"bytes", content_type="text/plain")
    stored = object_store.get("a/b")
    assert (stored.body, stored.etag) == (b"bytes", etag)
    info = object_store.head("a/b")
    assert (info.key, info.size, info.etag, info.content_type) == ("a/b", 5, etag, "text/plain")
    assert abs(datetime.now(UTC) - info.modified) < timedelta(minutes=1)
    assert etag.startswith('"')
    assert etag.endswith('"')


def test_an_empty_object_is_an_object(object_store: ObjectStore) -> None:
    object_store.put("index/empty", b"")
    assert object_store.get("index/empty").body == b""
    with object_store.open("index/empty") as stream:
        assert b"".join(stream.iter_chunks()) == b""
    assert [item.size for item in object_store.list("index/")] == [0]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_odd_keys_survive_every_call(object_store: ObjectStore, key: str) -> None:
    object_store.put(key, key.encode())
    assert object_store.get(key).body == key.encode()
    assert [item.key for item in object_store.list("")] == [key]
    assert httpx.get(object_store.presign(key, 60)).content == key.encode()
    object_store.delete([key])
    assert list(object_store.list("")) == []


def test_a_file_is_stored_as_it_is(object_store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(bytes(range(256)) * 20_000)
    object_store.put_file("poster.jpg", path, content_type="image/jpeg", cache_control="no-cache")
    assert object_store.get("poster.jpg").body == path.read_bytes()
    with object_store.open("poster.jpg") as stream:
        assert (stream.content_type, stream.cache_control) == ("image/jpeg", "no-cache")


def test_a_missing_object_is_not_found(object_store: ObjectStore) -> None:
    for call in (object_store.get, object_store.head, object_store.open):
        with pytest.raises(NotFoundError, match=r"nothing/here.*never written") as caught:
            call("nothing/here")
        assert caught.value.key.endswith("nothing/here")
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_missing_bucket_is_not_a_missing_object(seaweedfs: SeaweedFS) -> None:
    with closing(connect(seaweedfs.config(bucket="no-such-bucket"))) as store:
        with pytest.raises(BucketMissingError, match="s3_bucket"):
            store.get("key")
        with pytest.raises(BucketMissingError):
            list(store.list(""))


def test_ensure_bucket_creates_it_once(seaweedfs: SeaweedFS) -> None:
    with closing(connect(seaweedfs.config(bucket="made-on-demand"))) as store:
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(store.ensure_bucket) for _ in range(4)]:
                done.result()
        store.ensure_bucket()
        assert list(store.list("")) == []


def test_wrong_keys_are_denied(seaweedfs: SeaweedFS) -> None:
    right = seaweedfs.config()
    for wrong in (replace(right, secret_key="wrong"), replace(right, access_key="nobody")):
        with closing(connect(wrong)) as store:
            with pytest.raises(DeniedError, match="secret key"):
                store.get("key")
            with pytest.raises(DeniedError):
                store.put("key", b"")


def test_an_unreachable_endpoint_says_so_within_seconds(seaweedfs: SeaweedFS) -> None:
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    with closing(connect(replace(seaweedfs.config(), endpoint=nobody))) as store:
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="try again later"):
            store.put("key", b"body")
        assert time.monotonic() - began < 12


@pytest.mark.parametrize(
    ("first", "last", "part"),
    [
        (None, None, slice(None)),
        (0, 0, slice(0, 1)),
        (10, 19, slice(10, 20)),
        (99_990, None, slice(99_990, None)),
        (50, 10**9, slice(50, None)),
        (-16, None, slice(-16, None)),
    ],
)
def test_ranges(
    object_store: ObjectStore, film: bytes, first: int | None, last: int | None, part: slice
) -> None:
    with object_store.open("film", first, last) as stream:
        body = b"".join(stream.iter_chunks(999))
    assert body == film[part]
    assert (stream.size, stream.total) == (len(body), len(film))
    assert (stream.content_range is None) == (first is None)
    assert stream.etag == object_store.head("film").etag
    assert (stream.content_type, stream.cache_control) == ("video/mp4", "no-cache")


def test_a_range_behind_the_end_is_invalid(object_store: ObjectStore, film: bytes) -> None:
    with pytest.raises(InvalidRangeError):
        object_store.open("film", len(film))


def test_a_stream_may_be_left_half_read(object_store: ObjectStore, film: bytes) -> None:
    for _ in range(100):  # more than the pool has connections
        with object_store.open("film") as stream:
            assert next(stream.iter_chunks(7)) == film[:7]


def test_create_writes_once(object_store: ObjectStore) -> None:
    etag = object_store.create("receipt", b"first")
    assert etag is not None
    assert object_store.create("receipt", b"second") is None
    assert object_store.get("receipt").body == b"first"
    assert object_store.get("receipt").etag == etag


def test_replace_needs_the_present_etag(object_store: ObjectStore) -> None:
    first = object_store.put("record", b"1")
    second = object_store.replace("record", b"2", first)
    assert second is not None
    assert object_store.replace("record", b"3", first) is None
    assert object_store.get("record").body == b"2"
    assert object_store.replace("record", b"3", second) is not None
    object_store.delete(["record"])
    assert object_store.replace("record", b"4", second) is None
    assert list(object_store.list("record")) == []


def test_twenty_racing_writers_have_one_winner(object_store: ObjectStore) -> None:
    with ThreadPoolExecutor(20) as pool:
        for turn in range(5):
            key = f"race/{turn}"
            bodies = [str(n).encode() for n in range(20)]
            created = list(pool.map(lambda body, key=key: object_store.create(key, body), bodies))
            [winner] = [body for body, etag in zip(bodies, created, strict=True) if etag]
            stored = object_store.get(key)
            assert stored.body == winner

            swapped = list(
                pool.map(
                    lambda body, key=key, etag=stored.etag: object_store.replace(key, body, etag),
                    [body + b"!" for body in bodies],
                )
            )
            [winner] = [body for body, etag in zip(bodies, swapped, strict=True) if etag]
            assert object_store.get(key).body == winner + b"!"


def test_listing_is_ordered_and_begins_behind_a_key(object_store: ObjectStore) -> None:
    names = ["a/1", "a/2", "a/3", "a/4", "b/1"]
    for name in reversed(names):
        object_store.put(name, b"x")
    assert [item.key for item in object_store.list("")] == names
    assert [item.key for item in object_store.list("a/")] == names[:4]
    assert [item.key for item in object_store.list("a/", after="a/2")] == ["a/3", "a/4"]
    assert [item.key for item in object_store.list("a/", after="a/2x")] == ["a/3", "a/4"]
    assert [item.key for item in object_store.list("a/", after="a/1", limit=2)] == ["a/2", "a/3"]
    assert list(object_store.list("a/", after="a/4")) == []
    assert list(object_store.list("c/")) == []


def test_listing_and_deleting_go_beyond_a_page(object_store: ObjectStore) -> None:
    names = [f"many/{n:05}" for n in range(1003)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: object_store.put(name, b""), names))
    assert [item.key for item in object_store.list("many/")] == names
    assert [item.key for item in object_store.list("many/", limit=1001)] == names[:1001]
    object_store.delete(iter([*names, "many/never-written"]))
    assert list(object_store.list("many/")) == []


def test_a_presigned_url_reads_by_range_and_expires(object_store: ObjectStore, film: bytes) -> None:
    url = object_store.presign("film", 60)
    assert httpx.get(url).content == film
    part = httpx.get(url, headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, film[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(film)}"
    assert httpx.get(url.split("?")[0]).status_code == 403
    assert httpx.get(url.replace("Expires=60", "Expires=600")).status_code == 403
    short = object_store.presign("film", 1)
    deadline = time.monotonic() + 10
    while httpx.get(short).status_code == 200 and time.monotonic() < deadline:
        time.sleep(0.2)
    assert httpx.get(short).status_code == 403


def _parts() -> Iterator[tuple[int, bytes]]:
    yield 1, b"a" * MIN_PART
    yield 2, b"b" * (MIN_PART + 1)
    yield 3, b"c" * 10


def test_parts_sent_in_any_order_make_one_object(object_store: ObjectStore) -> None:
    upload = object_store.multipart("source", content_type="video/quicktime")
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda part: upload.upload_part(*part), reversed(list(_parts()))))
    assert list(object_store.list("source")) == []
    etag = upload.complete()
    info = object_store.head("source")
    assert (info.size, info.etag, info.content_type) == (upload.size, etag, "video/quicktime")
    with object_store.open("source", MIN_PART - 1, MIN_PART) as stream:
        assert b"".join(stream.iter_chunks()) == b"ab"
    assert object_store.get("source").body == b"".join(data for _, data in _parts())
    assert list(object_store.uploads("source")) == []
    assert upload.complete() == etag, "a repeated completion finds its own success"


def test_an_aborted_upload_leaves_nothing(object_store: ObjectStore) -> None:
    kept = object_store.multipart("open/kept")
    dropped = object_store.multipart("open/dropped")
    dropped.upload_part(1, b"x" * MIN_PART)
    assert {upload.key for upload in object_store.uploads("open/")} == {"open/kept", "open/dropped"}
    dropped.abort()
    dropped.abort()
    assert list(object_store.uploads("open/")) == [("open/kept", kept.upload_id)]
    object_store.abort_upload("open/kept", kept.upload_id)
    assert list(object_store.uploads("open/")) == []
    assert list(object_store.list("open/")) == []
    with pytest.raises(NotFoundError):
        kept.upload_part(1, b"x")
    with pytest.raises(NotFoundError):
        kept.complete()


def test_two_prefixes_do_not_see_each_other(
    object_store: ObjectStore, seaweedfs: SeaweedFS
) -> None:
    other_config = seaweedfs.config(prefix=object_store.prefix + "inner/")
    with closing(connect(other_config)) as inner:
        inner.put("key", b"inner")
        with pytest.raises(NotFoundError):
            object_store.get("key")
        assert [item.key for item in inner.list("")] == ["key"]
        assert [item.key for item in object_store.list("")] == ["inner/key"]


def test_an_error_says_what_and_where(object_store: ObjectStore) -> None:
    with pytest.raises(StorageError) as caught:
        object_store.get("gone")
    error = caught.value
    assert (error.operation, error.bucket) == ("GetObject", object_store.bucket)
    assert f"s3://{error.bucket}/{error.key}" in str(error)

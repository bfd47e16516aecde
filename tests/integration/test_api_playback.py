"""What players fetch, as they fetch it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from farm.embedded import SeaweedFS
from jobs.ids import new_video_id
from jobs.records import VideoRecord
from jobs.states import State
from storage import layout
from storage.objects import connect
from tests.integration.api_server import ApiServer, eventually

SEGMENT = os.urandom(300_000)
PLAYLIST = b"#EXTM3U\n#EXT-X-VERSION:7\n" + b"#EXTINF:6.00000,\nabc/720p-00001.m4s\n" * 40
IMMUTABLE = "public, max-age=31536000, immutable"
ORIGIN = {"origin": "https://player.example"}


@pytest.fixture(scope="module")
def api(seaweedfs: SeaweedFS) -> Iterator[ApiServer]:
    store = connect(seaweedfs.config(prefix=f"test-{secrets.token_hex(6)}/"))
    with ApiServer(store) as server:
        server.client.headers["accept-encoding"] = "identity"
        yield server
    store.delete([item.key for item in store.list("")])
    store.close()


@pytest.fixture
def video(api: ApiServer) -> str:
    """A playable video with a few objects."""
    video_id = new_video_id()
    record = VideoRecord(
        id=video_id, state=State.PROCESSING, playable=True, size=3, created_at=datetime.now(UTC)
    )
    api.catalog.receive(video_id, 60)
    api.catalog.accept(record)
    api.store.put(layout.source(video_id), b"secret source")
    for path, body, cache in (
        ("master.m3u8", PLAYLIST, "no-cache"),
        ("manifest.mpd", b"<MPD/>", None),
        ("storyboard.vtt", b"WEBVTT\n", None),
        ("poster.jpg", b"\xff\xd8jpeg", None),
        ("1/0a1b/720p-00001.m4s", SEGMENT, IMMUTABLE),
        ("1/720p-init-0a1b.mp4", b"moov", None),
        ("1/empty.m3u8", b"", None),
    ):
        api.store.put(layout.play(video_id, path), body, cache_control=cache)
    return video_id


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["access-control-allow-origin"] == "*"
    return answer.status_code, answer.json()["code"]


def segment(video_id: str) -> str:
    return f"/play/{video_id}/1/0a1b/720p-00001.m4s"


def test_a_segment_comes_whole(api: ApiServer, video: str) -> None:
    answer = api.client.get(segment(video), headers=ORIGIN)

    assert answer.status_code == 200
    assert answer.content == SEGMENT
    assert answer.headers["content-type"] == "video/iso.segment"
    assert answer.headers["content-length"] == "300000"
    assert answer.headers["cache-control"] == IMMUTABLE
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["etag"].startswith('"')
    assert answer.headers["last-modified"].endswith("GMT")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Content-Range" in answer.headers["access-control-expose-headers"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("path", "wanted", "cache"),
    [
        ("master.m3u8", "application/vnd.apple.mpegurl", "no-cache"),
        ("manifest.mpd", "application/dash+xml", "no-cache"),
        ("storyboard.vtt", "text/vtt", "no-cache"),
        ("poster.jpg", "image/jpeg", "no-cache"),
        ("1/720p-init-0a1b.mp4", "video/mp4", IMMUTABLE),
        ("1/empty.m3u8", "application/vnd.apple.mpegurl", "no-cache"),
    ],
)
def test_types_and_caching(api: ApiServer, video: str, path: str, wanted: str, cache: str) -> None:
    answer = api.client.get(f"/play/{video}/{path}")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == wanted
    assert answer.headers["cache-control"] == cache


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=100-199", 100, 199),
        ("bytes=299999-", 299_999, 299_999),
        ("bytes=299000-400000", 299_000, 299_999),
        ("bytes=-500", 299_500, 299_999),
        ("bytes=-400000", 0, 299_999),
        ("bytes=0-", 0, 299_999),
    ],
)
def test_ranges(api: ApiServer, video: str, wanted: str, first: int, last: int) -> None:
    answer = api.client.get(segment(video), headers={"range": wanted})

    assert answer.status_code == 206
    assert answer.headers["content-range"] == f"bytes {first}-{last}/300000"
    assert answer.headers["content-length"] == str(last - first + 1)
    assert answer.content == SEGMENT[first : last + 1]


@pytest.mark.parametrize("wanted", ["bytes=300000-", "bytes=999999-1000000", "bytes=-0"])
def test_a_range_behind_the_end(api: ApiServer, video: str, wanted: str) -> None:
    answer = api.client.get(segment(video), headers={"range": wanted})

    assert code(answer) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == "bytes */300000"


@pytest.mark.parametrize("ignored", ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=x"])
def test_a_range_that_is_none_is_ignored(api: ApiServer, video: str, ignored: str) -> None:
    answer = api.client.get(segment(video), headers={"range": ignored})

    assert (answer.status_code, answer.content) == (200, SEGMENT)


def test_conditions(api: ApiServer, video: str) -> None:
    first = api.client.get(segment(video))
    etag, modified = first.headers["etag"], first.headers["last-modified"]

    for headers in ({"if-none-match": f'"x", {etag}'}, {"if-modified-since": modified}):
        same = api.client.get(segment(video), headers=headers)
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["etag"] == etag
        assert same.headers["cache-control"] == IMMUTABLE
    other = api.client.get(segment(video), headers={"if-none-match": '"x"'})
    assert other.status_code == 200

    ranged = {"range": "bytes=0-9"}
    for holds, status in ((etag, 206), (modified, 206), ('"x"', 200), (f"W/{etag}", 200)):
        answer = api.client.get(segment(video), headers={**ranged, "if-range": holds})
        assert answer.status_code == status, holds


def test_head_says_what_get_would(api: ApiServer, video: str) -> None:
    for path in (segment(video), f"/play/{video}/master.m3u8"):
        got, asked = api.client.get(path), api.client.head(path)

        assert (asked.status_code, asked.content) == (200, b"")
        for name in ("content-length", "content-type", "etag", "cache-control", "last-modified"):
            assert asked.headers[name] == got.headers[name]
    assert api.client.head(f"/play/{video}/none.m3u8").status_code == 404


def test_playlists_are_compressed_for_those_who_take_it(api: ApiServer, video: str) -> None:
    path = f"/play/{video}/master.m3u8"
    plain = api.client.get(path)
    packed = api.client.get(path, headers={"accept-encoding": "gzip"})

    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content == PLAYLIST
    assert int(packed.headers["content-length"]) < len(PLAYLIST) / 4
    assert packed.headers["etag"] != plain.headers["etag"]
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    again = {"accept-encoding": "gzip", "if-none-match": packed.headers["etag"]}
    assert api.client.get(path, headers=again).status_code == 304
    bare = api.client.get(segment(video), headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in bare.headers


def test_a_growing_playlist_is_always_the_newest(api: ApiServer, video: str) -> None:
    path = f"/play/{video}/master.m3u8"
    etag = api.client.get(path).headers["etag"]
    api.store.put(layout.play(video, "master.m3u8"), PLAYLIST + b"#EXT-X-ENDLIST\n")

    newer = api.client.get(path, headers={"if-none-match": etag})

    assert newer.status_code == 200
    assert newer.content.endswith(b"#EXT-X-ENDLIST\n")


def test_pages_of_any_origin_may_play(api: ApiServer, video: str) -> None:
    asked = api.client.options(
        segment(video),
        headers={**ORIGIN, "access-control-request-headers": "range"},
    )

    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == "*"
    assert "GET" in asked.headers["access-control-allow-methods"]
    assert "range" in asked.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize(
    "path",
    [
        "none.m3u8",
        "..%2fsource",
        "%2e%2e/source",
        "1/..%2f..%2fsource",
        "..%2fvideo.json",
        "1%2f..%2f..%2fvideo.json",
        "source",
        "%00.m3u8",
        "a%0d%0ab.m3u8",
    ],
)
def test_nothing_else_is_served(api: ApiServer, video: str, path: str) -> None:
    assert code(api.client.get(f"/play/{video}/{path}")) == (404, "not_found")


def test_unknown_videos_play_nothing(api: ApiServer, video: str) -> None:
    for other in (new_video_id(), "x", video.upper()):
        answer = api.client.get(f"/play/{other}/master.m3u8")
        assert code(answer) == (404, "unknown_video")


def test_a_deleted_video_plays_nothing_although_its_bytes_are_there(
    api: ApiServer, video: str
) -> None:
    assert api.client.delete(f"/v1/videos/{video}").status_code == 204

    for path in (segment(video), f"/play/{video}/master.m3u8"):
        assert code(api.client.get(path)) == (404, "unknown_video")
    assert api.store.head(layout.play(video, "master.m3u8")).size == len(PLAYLIST)


def test_a_player_that_leaves_early_frees_the_connection(api: ApiServer, video: str) -> None:
    long = layout.play(video, "1/0a1b/720p-00002.m4s")
    api.store.put(long, bytes(64 * 1024**2))
    path = segment(video).replace("00001", "00002")
    before = api.ended
    for _ in range(3):
        with api.client.stream("GET", path) as answer:
            assert answer.status_code == 200
            next(answer.iter_raw())

    assert eventually(lambda: api.ended == before + 3)
    assert api.client.get(segment(video)).content == SEGMENT


def test_an_object_cut_short_by_the_storage_is_not_taken_for_whole(
    api: ApiServer, video: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from storage.errors import UnavailableError
    from storage.streams import ObjectStream

    def broken(_: ObjectStream, size: int = 0) -> Iterator[bytes]:
        yield SEGMENT[:1000]
        raise UnavailableError("GetObject", "b", "k", "Cut", "half-way.")

    monkeypatch.setattr(ObjectStream, "iter_chunks", broken)

    with pytest.raises(httpx.RemoteProtocolError):
        api.client.get(segment(video))


def test_the_path_is_described(api: ApiServer) -> None:
    described = json.loads(api.client.get("/openapi.json").content)
    assert "/play/{video_id}/{path}" in described["paths"]

"""A film can be watched while it is still being made, and what players saw of it stays true."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

import pytest

from farm.client import Video
from farm.errors import NotFoundError
from jobs.states import State
from jobs.timings import Timings
from storage import layout
from storage.errors import NotFoundError as NoObjectError
from tests.e2e import playlists
from tests.e2e.conftest import MakeClip
from tests.e2e.farm_process import READY, Farm, eventually
from tests.numbered import ClipSpec

LONG = ClipSpec(frames=1500, gop=50)
RENDITIONS = {"180p", "120p", "90p", "audio-0"}


@dataclass(slots=True)
class Watched:
    """What a viewer met who asked for everything again and again."""

    farm: Farm
    video_id: str
    #: Every answer of the API in which something was new.
    videos: list[Video] = field(default_factory=list)
    #: Versions of each playlist, by URL.
    versions: dict[str, list[str]] = field(default_factory=dict)
    fetched: set[str] = field(default_factory=set)

    def watch(self) -> None:
        """Until the video is ready."""
        deadline = time.monotonic() + READY
        while not self.videos or self.videos[-1]["status"] not in ("ready", "errored"):
            assert time.monotonic() < deadline, self.farm.last_words(self.video_id)
            self.look()
        self.look()

    def look(self) -> None:
        """Ask once for everything, and at once for whatever is newly named."""
        video = self.farm.client.video(self.video_id)
        self.videos.append(video)
        if not video["playable"]:
            return
        hls = video["playback"]["hls"]
        for url in sorted(playlists.multivariant(hls, self.text(hls)).media):
            for named in playlists.media_playlist(url, self.text(url)).named - self.fetched:
                assert self.farm.client.fetch(named).content
                self.fetched.add(named)

    def text(self, url: str) -> str:
        """The playlist as it is now."""
        text = self.farm.client.fetch(url).text
        versions = self.versions.setdefault(url, [])
        if versions[-1:] != [text]:
            versions.append(text)
        return text


@pytest.fixture(scope="module")
def watched(farm: Farm, clip: MakeClip) -> Watched:
    """A film of a minute, watched from its upload to its end."""
    watched = Watched(farm, farm.client.upload(clip("long", LONG).path)["id"])
    with pytest.raises(NotFoundError):
        farm.client.fetch(f"/play/{watched.video_id}/master.m3u8")
    watched.watch()
    return watched


def test_a_film_is_playable_before_it_is_ready(watched: Watched) -> None:
    first = next(video for video in watched.videos if video["playable"])
    assert first["status"] == "processing"
    assert first["playback"]["hls"]
    assert first["playback"]["dash"] is None
    assert first["playable_at"] is not None
    last = watched.videos[-1]
    assert last["status"] == "ready"
    assert last["playback"]["dash"]
    assert last["created_at"] < last["playable_at"] < last["ready_at"]
    times = [datetime.fromisoformat(last[key]) for key in ("created_at", "playable_at", "ready_at")]
    assert times[1] - times[0] < times[2] - times[1], "the viewer waited for most of the work"


def test_what_the_api_says_never_goes_back(watched: Watched) -> None:
    order = ["queued", "processing", "ready"]
    states = [order.index(video["status"]) for video in watched.videos]
    assert states == sorted(states)
    assert [v["playable"] for v in watched.videos] == sorted(v["playable"] for v in watched.videos)
    done = [video["progress"] for video in watched.videos]
    assert done[0] < 0.1
    assert done[-1] == 1.0
    assert len(set(done)) > 2
    assert all(0.0 <= fraction < 1.0 for fraction in done[: states.index(2)])


def test_media_playlists_only_grow_and_end(watched: Watched) -> None:
    media = {url: v for url, v in watched.versions.items() if not url.endswith("master.m3u8")}
    assert {url.rsplit("/", 1)[1].removesuffix(".m3u8") for url in media} == RENDITIONS
    for url, versions in media.items():
        *growing, last = versions
        assert growing, f"{url} was never seen to grow"
        for text, following in zip(growing, versions[1:], strict=True):
            assert "#EXT-X-PLAYLIST-TYPE:EVENT\n" in text
            assert "#EXT-X-ENDLIST" not in text
            goes_on = following.replace("TYPE:VOD", "TYPE:EVENT")
            assert goes_on.startswith(text), f"{url} is no continuation"
        assert "#EXT-X-PLAYLIST-TYPE:VOD\n" in last
        assert last.endswith("#EXT-X-ENDLIST\n")
    assert max(len(versions) for versions in media.values()) > 2


def test_the_multivariant_playlist_never_takes_a_rendition_back(watched: Watched) -> None:
    (url,) = (url for url in watched.versions if url.endswith("master.m3u8"))
    named = [playlists.multivariant(url, text).named for text in watched.versions[url]]
    assert all(before <= after for before, after in pairwise(named))
    assert len(named[-1]) == len(RENDITIONS) + 3
    low = {f"{name}.m3u8" for name in ("120p", "90p", "audio-0")}
    assert low <= {name.rsplit("/", 1)[1] for name in named[0]}


def test_each_event_happened_once_and_the_ledgers_are_closed(farm: Farm, watched: Watched) -> None:
    record = farm.record(watched.video_id)
    assert record.state is State.READY
    assert [event.name for event in record.events] == ["accepted", "playable", "ready"]
    ids = [f"{record.id}:1:{name}" for name in ("accepted", "playable", "ready")]
    assert [event.id for event in record.events] == ids
    with pytest.raises(NoObjectError):
        farm.store.head(layout.inbox(record.id))
    assert farm.store.head(layout.index(record.id)).size == 0


def test_redis_forgets_a_film_that_is_ready(farm: Farm, watched: Watched) -> None:
    """Whoever found another one advancing may have asked for a look once its right is over."""
    eventually(
        lambda: not farm.keys_about(watched.video_id),
        Timings().advance_ttl + 10.0,
        lambda: farm.keys_about(watched.video_id),
    )

"""Everything that is published of a video, fetched over HTTP from its playback URLs alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from farm.client import Client, Video
from tests.e2e import playlists
from tests.e2e.playlists import Manifest, MediaPlaylist, Multivariant


@dataclass(frozen=True, slots=True)
class Published:
    """The playlists, by URL, and the manifest."""

    root: str
    master: Multivariant
    media: dict[str, MediaPlaylist]
    iframes: dict[str, MediaPlaylist]
    manifest: Manifest

    def track(self, name: str) -> MediaPlaylist:
        """The media playlist of a rendition."""
        (found,) = (p for url, p in self.media.items() if Path(url).stem == name)
        return found

    def order(self, name: str) -> int:
        """Which of ffmpeg's picture tracks of the multivariant playlist the rendition is."""
        return [Path(variant.url).stem for variant in self.master.variants].index(name)

    @property
    def named(self) -> set[str]:
        """Paths below ``play/`` that a playlist or the manifest names, and their own."""
        lists = [*self.media.values(), *self.iframes.values()]
        urls = {url for each in lists for url in each.named} | self.manifest.named
        urls |= self.master.named | {f"{self.root}master.m3u8", f"{self.root}manifest.mpd"}
        return {url.removeprefix(self.root) for url in urls}


def published(client: Client, video: Video) -> Published:
    """What there is of a video that is ready."""
    hls, dash = video["playback"]["hls"], video["playback"]["dash"]
    master = playlists.multivariant(hls, client.fetch(hls).text)
    return Published(
        root=hls.removesuffix("master.m3u8"),
        master=master,
        media={url: _media(client, url) for url in sorted(master.media)},
        iframes={named.url: _media(client, named.url) for named in master.iframes},
        manifest=playlists.manifest(dash, client.fetch(dash).text),
    )


def _media(client: Client, url: str) -> MediaPlaylist:
    answer = client.fetch(url)
    assert answer.headers["content-type"] == "application/vnd.apple.mpegurl"
    return playlists.media_playlist(url, answer.text)

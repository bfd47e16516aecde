"""Input options without which no source is opened: every source is hostile.

Only the source's own scheme may be opened, so that no playlist or reference inside a file makes
ffmpeg read a local file or call another server; only demuxers of real containers may look at
the bytes (no hls, dash, concat, sdp, image2, lavfi or subtitle formats, which fetch what they
name); no redirect is followed; there is no TLS, which is for those to do who fetch from afar.
All names are accepted by ffmpeg 9.0 and ffprobe 8.1.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from media.errors import UnsafeSourceError

#: Names as in ``ffmpeg -demuxers``; one of a demuxer's names is enough.
CONTAINERS: Final = (
    "mov,mp4,matroska,webm,mpegts,mpeg,mpegvideo,avi,flv,ogg,asf,mxf,gxf,wtv,dv,rm,ivf,nut,"
    "h261,h263,h264,hevc,vvc,m4v,vc1,obu,av1,"
    "wav,w64,aiff,caf,au,mp3,aac,ac3,eac3,ac4,flac,amr,dts,truehd,mlp,tta,wv,ape,dsf"
)

#: How often a broken connection is taken up again where it broke.
RECONNECTS: Final = 2


def input_mapping(
    source: str,
    *,
    read_timeout: float = 15.0,
    max_pixels: int | None = None,
) -> dict[str, str]:
    """Input options by name, as ffmpeg-python takes them. See :func:`input_options`."""
    options = {"format_whitelist": CONTAINERS}
    if max_pixels is not None:
        # Headers lie: a film of 320x180 may have a picture of 16384x16384 in its middle.
        options["max_pixels"] = str(max_pixels)
    if source.startswith("/"):
        return options | {"protocol_whitelist": "file"}
    if urlsplit(source).scheme == "http":
        return options | {"protocol_whitelist": "http,tcp"} | _connection(read_timeout)
    raise UnsafeSourceError("a source must be an http URL, or an absolute path")


def input_options(
    source: str,
    *,
    read_timeout: float = 15.0,
    max_pixels: int | None = None,
) -> tuple[str, ...]:
    """Arguments to stand before ``-i source``, for ffmpeg and ffprobe alike.

    ``read_timeout`` is in seconds for one read; larger pictures than ``max_pixels`` are not
    decoded. Raises :class:`UnsafeSourceError`.
    """
    options = input_mapping(source, read_timeout=read_timeout, max_pixels=max_pixels)
    return tuple(word for name, value in options.items() for word in (f"-{name}", value))


def _connection(read_timeout: float) -> dict[str, str]:
    # With -reconnect every failed read leaves a line on stderr. Without it a reset connection
    # and an expired rw_timeout look like the end of the file, with exit status 0.
    return {
        "max_redirects": "0",
        "rw_timeout": str(int(read_timeout * 1_000_000)),
        "reconnect": "1",
        "reconnect_max_retries": str(RECONNECTS),
        "reconnect_delay_max": "2",
    }

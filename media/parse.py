"""ffprobe's description of a source as a :class:`Probe`. Pure, and never surprised."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Final

from media.fields import clock, fraction, integer, mapping, mappings, number, text
from media.probed import AudioStream, Probe, SubtitleStream, Timing, VideoStream

#: What :func:`parse` reads; asking ffprobe for no more keeps hostile metadata out.
ENTRIES: Final = (
    "format=format_name,duration,start_time,size,bit_rate"
    ":stream=index,codec_name,codec_type,codec_tag_string,profile,width,height"
    ",sample_aspect_ratio,pix_fmt,bits_per_raw_sample,field_order,color_range,color_space"
    ",color_primaries,color_transfer,r_frame_rate,avg_frame_rate,time_base,start_time,duration"
    ",nb_frames,bit_rate,sample_rate,channels,channel_layout"
    ":stream_tags=language,title,DURATION"
    ":stream_disposition=default,forced,attached_pic,still_image,timed_thumbnails"
    ":stream_side_data=side_data_type,rotation"
)

#: Containers whose files carry an index of their key frames.
_INDEXED: Final = frozenset({"mov", "matroska", "avi"})

_INTERLACED: Final = frozenset({"tt", "bb", "tb", "bt"})
_DEPTH: Final = re.compile(r"(?:p0?|gray|gbrap?)(9|10|12|14|16)(?:le|be)")
_ENCRYPTED_TAGS: Final = frozenset({"encv", "enca", "encs", "enct", "drmi", "drms"})
_STILL: Final = ("attached_pic", "still_image", "timed_thumbnails")


def parse(document: Any, timing: Timing | None = None, *, estimated: bool = False) -> Probe:
    """The probe of a source from ffprobe's JSON of its ``format`` and ``streams``.

    ``estimated`` says that ffprobe derived the duration from the bit rate. Tracks that nothing
    could decode (a picture without a size, sound without channels) are left out.
    """
    top = mapping(document)
    form, streams = mapping(top.get("format")), mappings(top.get("streams"))
    container = (text(form.get("format_name")) or "unknown").split(",")[0]
    duration = _positive(number(form.get("duration")))
    pictures, sounds = _of_kind(streams, "video"), _of_kind(streams, "audio")
    video = tuple(v for v in map(_video, pictures) if v.width and v.height)
    audio = tuple(a for a in map(_audio, sounds) if a.channels and a.sample_rate)
    return Probe(
        container=container,
        duration=duration,
        estimated=estimated,
        start=number(form.get("start_time")),
        size=integer(form.get("size")),
        bit_rate=integer(form.get("bit_rate")),
        # A Matroska stream without a duration was recorded live, and has no cues either.
        indexed=container in _INDEXED and duration is not None,
        video=video,
        audio=audio,
        subtitles=tuple(map(_subtitle, _of_kind(streams, "subtitle"))),
        undecodable=len(pictures) + len(sounds) - len(video) - len(audio),
        timing=timing,
        encrypted=any(map(_encrypted, streams)),
    )


def _of_kind(streams: tuple[dict[str, Any], ...], kind: str) -> tuple[dict[str, Any], ...]:
    return tuple(
        s for s in streams if s.get("codec_type") == kind and (integer(s.get("index")) or 0) >= 0
    )


def _video(stream: dict[str, Any]) -> VideoStream:
    pixel_format = text(stream.get("pix_fmt"))
    return VideoStream(
        index=integer(stream.get("index")) or 0,
        codec=text(stream.get("codec_name")) or "unknown",
        profile=text(stream.get("profile")),
        width=max(integer(stream.get("width")) or 0, 0),
        height=max(integer(stream.get("height")) or 0, 0),
        sample_aspect=fraction(stream.get("sample_aspect_ratio")) or Fraction(1),
        rotation=_rotation(stream),
        pixel_format=pixel_format,
        bit_depth=_bit_depth(stream, pixel_format or ""),
        interlaced=text(stream.get("field_order")) in _INTERLACED,
        color_range=text(stream.get("color_range")),
        color_space=text(stream.get("color_space")),
        color_primaries=text(stream.get("color_primaries")),
        color_transfer=text(stream.get("color_transfer")),
        average_rate=fraction(stream.get("avg_frame_rate")),
        base_rate=fraction(stream.get("r_frame_rate")),
        time_base=fraction(stream.get("time_base")) or Fraction(1, 1000),
        start=number(stream.get("start_time")),
        duration=_duration(stream),
        frames=_frames(stream),
        attached_picture=any(_flag(stream, name) for name in _STILL),
        default=_flag(stream, "default"),
    )


def _audio(stream: dict[str, Any]) -> AudioStream:
    return AudioStream(
        index=integer(stream.get("index")) or 0,
        codec=text(stream.get("codec_name")) or "unknown",
        channels=max(integer(stream.get("channels")) or 0, 0),
        layout=text(stream.get("channel_layout")),
        sample_rate=max(integer(stream.get("sample_rate")) or 0, 0),
        language=_language(stream),
        title=text(_tags(stream).get("title")),
        start=number(stream.get("start_time")),
        duration=_duration(stream),
        default=_flag(stream, "default"),
    )


def _subtitle(stream: dict[str, Any]) -> SubtitleStream:
    return SubtitleStream(
        index=integer(stream.get("index")) or 0,
        codec=text(stream.get("codec_name")) or "unknown",
        language=_language(stream),
        default=_flag(stream, "default"),
        forced=_flag(stream, "forced"),
    )


def _rotation(stream: dict[str, Any]) -> int:
    """Clockwise degrees: ffprobe's ``rotation`` counts them the other way round.

    ffmpeg's own autorotation turns by its negative, too (fftools/cmdutils.c, get_rotation).
    """
    for side in mappings(stream.get("side_data_list")):
        angle = number(side.get("rotation"))
        if angle is not None:
            return round(-angle / 90) * 90 % 360
    return 0


def _bit_depth(stream: dict[str, Any], pixel_format: str) -> int:
    if found := _DEPTH.search(pixel_format):
        return int(found[1])
    raw = integer(stream.get("bits_per_raw_sample")) or 8
    return raw if not pixel_format and 8 <= raw <= 16 else 8


def _encrypted(stream: dict[str, Any]) -> bool:
    side = mappings(stream.get("side_data_list"))
    return text(stream.get("codec_tag_string")) in _ENCRYPTED_TAGS or any(
        str(entry.get("side_data_type", "")).startswith("Encryption") for entry in side
    )


def _duration(stream: dict[str, Any]) -> float | None:
    return _positive(number(stream.get("duration"))) or clock(_tags(stream).get("DURATION"))


def _frames(stream: dict[str, Any]) -> int | None:
    frames = integer(stream.get("nb_frames"))
    return frames if frames and frames > 0 else None


def _language(stream: dict[str, Any]) -> str | None:
    language = text(_tags(stream).get("language"))
    return None if language in (None, "und") else language


def _tags(stream: dict[str, Any]) -> dict[str, Any]:
    return mapping(stream.get("tags"))


def _flag(stream: dict[str, Any], name: str) -> bool:
    return mapping(stream.get("disposition")).get(name) == 1


def _positive(value: float | None) -> float | None:
    return value if value is not None and value > 0 else None

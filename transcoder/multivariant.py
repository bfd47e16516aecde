"""The HLS multivariant playlist: which renditions there are, after Apple's authoring specification.

Nothing that a source says of itself goes in but a checked language code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from transcoder.bandwidth import Bandwidth, audio_ceiling, video_ceiling
from transcoder.languages import language_name, language_tag
from transcoder.plan import AudioPlan, Plan, Rung

#: Players begin with the variant listed first; Apple asks for one of about 2 Mbit/s over Wi-Fi.
_FIRST_BANDWIDTH: Final = 2_500_000

_GROUP: Final = "audio"


@dataclass(frozen=True, slots=True)
class Stream:
    """A track that viewers can be sent to. Paths are below ``play/``."""

    path: str
    #: RFC 6381.
    codec: str
    #: Measured; None before the track is complete, and its ceiling is stated.
    bandwidth: Bandwidth | None = None
    iframes_path: str | None = None
    iframes_bandwidth: Bandwidth | None = None


def multivariant(plan: Plan, streams: Mapping[str, Stream]) -> str:
    """The playlist of those tracks of the plan that are in ``streams``, by track name."""
    audio = [a for a in plan.audio if a.name in streams]
    rungs = [r for r in (plan.video.rungs if plan.video else ()) if r.name in streams]
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    if rungs:
        lines += audio_media(audio, streams)
        lines += _variants(plan, rungs, audio, streams)
    else:
        for track in audio:
            stream = streams[track.name]
            lines += _variant(stream, audio_bandwidth(track, stream), [stream.codec])
    return "\n".join(lines) + "\n"


def audio_media(audio: Sequence[AudioPlan], streams: Mapping[str, Stream]) -> list[str]:
    """EXT-X-MEDIA of every sound track; exactly one is the default.

    Of several in one language one may be selected without being asked for (RFC 8216, 4.3.4.1.1).
    """
    default = next((a for a in audio if a.default), audio[0] if audio else None)
    chosen = {language_tag(a.language): a for a in (*reversed(audio), default) if a}
    lines: list[str] = []
    for track, name in zip(audio, track_names(audio), strict=True):
        tag = language_tag(track.language)
        attributes = [
            "TYPE=AUDIO",
            f'GROUP-ID="{_GROUP}"',
            f'NAME="{name}"',
            *([f'LANGUAGE="{tag}"'] if tag else []),
            f"DEFAULT={'YES' if track is default else 'NO'}",
            f"AUTOSELECT={'YES' if track is chosen[tag] else 'NO'}",
            f'CHANNELS="{track.channels}"',
            f'URI="{streams[track.name].path}"',
        ]
        lines.append("#EXT-X-MEDIA:" + ",".join(attributes))
    return lines


def track_names(audio: Sequence[AudioPlan]) -> list[str]:
    """A name for a menu for each sound track, no two alike."""
    names: list[str] = []
    for number, track in enumerate(audio, 1):
        name = language_name(language_tag(track.language)) or f"Audio {number}"
        names.append(f"{name} {number}" if name in names else name)
    return names


def video_bandwidth(plan: Plan, rung: Rung, stream: Stream) -> Bandwidth:
    """What was measured of a rendition, else its ceiling."""
    assert plan.video is not None
    segment = Fraction(plan.video.segment) / plan.video.rate
    return stream.bandwidth or video_ceiling(rung, segment)


def audio_bandwidth(track: AudioPlan, stream: Stream) -> Bandwidth:
    """What was measured of a sound track, else its ceiling."""
    return stream.bandwidth or audio_ceiling(track)


def _variants(
    plan: Plan, rungs: Sequence[Rung], audio: Sequence[AudioPlan], streams: Mapping[str, Stream]
) -> list[str]:
    assert plan.video is not None
    sound = [audio_bandwidth(a, streams[a.name]) for a in audio]
    extra = max(sound, key=lambda b: b.peak, default=Bandwidth(0, 0))
    codecs = list(dict.fromkeys(streams[a.name].codec for a in audio))
    rate = f"{float(plan.video.rate):.3f}"
    entries: list[tuple[int, list[str]]] = []
    for rung in rungs:
        stream = streams[rung.name]
        bandwidth = video_bandwidth(plan, rung, stream) + extra
        shape = [f"RESOLUTION={rung.width}x{rung.height}", f"FRAME-RATE={rate}"]
        group = [f'AUDIO="{_GROUP}"'] if audio else []
        lines = _variant(stream, bandwidth, [stream.codec, *codecs], *shape, *group)
        entries.append((bandwidth.peak, lines))
    return [*_first_first(entries), *(line for r in rungs for line in _iframes(r, streams[r.name]))]


def _first_first(entries: Sequence[tuple[int, list[str]]]) -> list[str]:
    """The variant to begin with, then the others from the largest to the smallest."""
    first = next((e for e in entries if e[0] <= _FIRST_BANDWIDTH), entries[-1])
    return [*first[1], *(line for e in entries if e is not first for line in e[1])]


def _variant(stream: Stream, bandwidth: Bandwidth, codecs: list[str], *more: str) -> list[str]:
    attributes = [*_rates(bandwidth), f'CODECS="{",".join(codecs)}"', *more]
    return ["#EXT-X-STREAM-INF:" + ",".join(attributes), stream.path]


def _iframes(rung: Rung, stream: Stream) -> list[str]:
    if stream.iframes_path is None or stream.iframes_bandwidth is None:
        return []
    attributes = [
        *_rates(stream.iframes_bandwidth),
        f'CODECS="{stream.codec}"',
        f"RESOLUTION={rung.width}x{rung.height}",
        f'URI="{stream.iframes_path}"',
    ]
    return ["#EXT-X-I-FRAME-STREAM-INF:" + ",".join(attributes)]


def _rates(bandwidth: Bandwidth) -> list[str]:
    average = bandwidth.average
    return [
        f"BANDWIDTH={bandwidth.peak}",
        *([f"AVERAGE-BANDWIDTH={average}"] if average is not None else []),
    ]

"""The DASH manifest over the same segments (ISO/IEC 23009-1): static, written when all is there.

Segments carry the run that made them in their names, so they are listed instead of templated; the
main profile allows it. Times are presentation times: the sound's edit list takes its encoder's
priming off, so its first segment is that much shorter, and no ``presentationTimeOffset`` is due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from transcoder.bandwidth import measure
from transcoder.languages import language_tag
from transcoder.multivariant import track_names
from transcoder.plan import AudioPlan, Plan, Rung
from transcoder.segments import Thumbnails, TrackSegments


def mpd(plan: Plan, tracks: Mapping[str, TrackSegments], thumbnails: Thumbnails | None) -> str:
    """The manifest of the plan's tracks, as far as they are in ``tracks``: complete, by name."""
    duration = max((track.duration for track in tracks.values()), default=Fraction(0))
    root = Element(
        "MPD",
        {
            "xmlns": "urn:mpeg:dash:schema:mpd:2011",
            "profiles": "urn:mpeg:dash:profile:isoff-main:2011",
            "type": "static",
            "mediaPresentationDuration": _seconds(duration),
            "maxSegmentDuration": _seconds(_longest_segment(tracks)),
            "minBufferTime": f"PT{plan.target_duration}S",
        },
    )
    period = SubElement(root, "Period", {"id": "0", "start": "PT0S"})
    rungs = [rung for rung in (plan.video.rungs if plan.video else ()) if rung.name in tracks]
    if rungs:
        _video(period, plan, rungs, tracks)
    for audio, label in zip(plan.audio, track_names(plan.audio), strict=True):
        if audio.name in tracks:
            _audio(period, plan, audio, label, tracks[audio.name])
    if thumbnails is not None:
        _thumbnails(period, thumbnails)
    for number, adaptation in enumerate(period.findall("AdaptationSet"), 1):
        adaptation.set("id", str(number))
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, "unicode") + "\n"


def _video(
    period: Element, plan: Plan, rungs: Sequence[Rung], tracks: Mapping[str, TrackSegments]
) -> None:
    assert plan.video is not None
    adaptation = SubElement(
        period,
        "AdaptationSet",
        {
            "contentType": "video",
            "mimeType": "video/mp4",
            "segmentAlignment": "true",
            "startWithSAP": "1",
            "maxWidth": str(max(rung.width for rung in rungs)),
            "maxHeight": str(max(rung.height for rung in rungs)),
        },
    )
    rate = plan.video.rate
    for rung in rungs:
        attributes = {
            "width": str(rung.width),
            "height": str(rung.height),
            "frameRate": str(rate),
            "sar": "1:1",
        }
        _representation(adaptation, plan, tracks[rung.name], attributes)


def _audio(period: Element, plan: Plan, audio: AudioPlan, label: str, track: TrackSegments) -> None:
    tag = language_tag(audio.language)
    adaptation = SubElement(
        period,
        "AdaptationSet",
        {
            "contentType": "audio",
            "mimeType": "audio/mp4",
            "segmentAlignment": "true",
            "startWithSAP": "1",
            **({"lang": tag} if tag else {}),
        },
    )
    role = "main" if audio.default else "alternate"
    SubElement(adaptation, "Label").text = label  # the schema has it before the roles
    SubElement(adaptation, "Role", {"schemeIdUri": "urn:mpeg:dash:role:2011", "value": role})
    representation = _representation(
        adaptation, plan, track, {"audioSamplingRate": str(audio.sample_rate)}
    )
    channels = {
        "schemeIdUri": "urn:mpeg:dash:23003:3:audio_channel_configuration:2011",
        "value": str(audio.channels),
    }
    representation.insert(0, Element("AudioChannelConfiguration", channels))


def _representation(
    adaptation: Element, plan: Plan, track: TrackSegments, attributes: Mapping[str, str]
) -> Element:
    bandwidth = measure(track, plan.target_duration)
    representation = SubElement(
        adaptation,
        "Representation",
        {"id": track.track, "codecs": track.codec, "bandwidth": str(bandwidth.peak), **attributes},
    )
    segments = SubElement(representation, "SegmentList", {"timescale": str(track.timescale)})
    SubElement(segments, "Initialization", {"sourceURL": track.init_path})
    timeline = SubElement(segments, "SegmentTimeline")
    for start, duration, repeat in _runs(track):
        entry = {"t": str(start), "d": str(duration)}
        SubElement(timeline, "S", entry | ({"r": str(repeat)} if repeat else {}))
    for segment in track.segments:
        SubElement(segments, "SegmentURL", {"media": segment.path})
    return representation


def _runs(track: TrackSegments) -> list[tuple[int, int, int]]:
    """Start and duration of each run of equally long segments, and how often it repeats."""
    runs: list[tuple[int, int, int]] = []
    for segment in track.segments:
        start, end = track.presented(segment)
        if runs and runs[-1][1] == end - start:
            runs[-1] = (runs[-1][0], runs[-1][1], runs[-1][2] + 1)
        else:
            runs.append((start, end - start, 0))
    return runs


def _thumbnails(period: Element, sheets: Thumbnails) -> None:
    """Tiled pictures (DASH-IF IOP 4.3, 6.2.6)."""
    adaptation = SubElement(
        period,
        "AdaptationSet",
        {"contentType": "image", "mimeType": "image/jpeg"},
    )
    seconds = sheets.interval * sheets.columns * sheets.rows
    SubElement(
        adaptation,
        "SegmentTemplate",
        {
            "media": "storyboard_$Number$.jpg",
            "timescale": "1000",
            "duration": str(round(seconds * 1000)),
            "startNumber": "0",
        },
    )
    representation = SubElement(
        adaptation,
        "Representation",
        {
            "id": "storyboard",
            "bandwidth": str(ceil(sheets.largest * 8 / seconds)),
            "width": str(sheets.width),
            "height": str(sheets.height),
        },
    )
    SubElement(
        representation,
        "EssentialProperty",
        {
            "schemeIdUri": "http://dashif.org/guidelines/thumbnail_tile",
            "value": f"{sheets.columns}x{sheets.rows}",
        },
    )


def _longest_segment(tracks: Mapping[str, TrackSegments]) -> Fraction:
    return max(
        (Fraction(s.ticks, track.timescale) for track in tracks.values() for s in track.segments),
        default=Fraction(0),
    )


def _seconds(duration: Fraction) -> str:
    """An XML duration, rounded up so that no sample lies behind the end."""
    micros = ceil(duration * 1_000_000)
    return f"PT{micros // 1_000_000}.{micros % 1_000_000:06}S"

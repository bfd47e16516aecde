"""How far a generation's playlists go: one small document, replaced by compare-and-swap."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from jobs.records import Document
from transcoder.plan import Lane
from transcoder.segments import Receipt


class LaneMark(Document):
    """How much of one lane has been published."""

    #: Parts whose receipts have all been taken, and checkpoints taken of the part after them.
    parts: int = 0
    checkpoints: int = 0
    #: When segments were last appended.
    at: datetime | None = None
    #: RFC 6381 codec of each track that has a segment in its playlist.
    codecs: dict[str, str] = Field(default_factory=dict)

    def after(self, receipt: Receipt, now: datetime) -> LaneMark:
        """The mark once this receipt, the next in the lane, has been published."""
        update = {
            "parts": self.parts + receipt.last,
            "checkpoints": 0 if receipt.last else self.checkpoints + 1,
            "at": now,
            "codecs": self.codecs | {track.track: track.codec for track in receipt.tracks},
        }
        return self.model_copy(update=update)


class Published(Document):
    """The marks of all lanes, and the tracks that the multivariant playlist names so far."""

    schema_version: int = 1
    marks: tuple[LaneMark, ...]
    named: tuple[str, ...] = ()


def nameable(lanes: tuple[Lane, ...], marks: tuple[LaneMark, ...]) -> dict[str, str]:
    """Tracks that the multivariant playlist may name now, with their codecs.

    None before the film is playable: its first lane and every sound track need a first segment,
    since a player gives up on a variant or a group whose playlist is missing.
    """
    playing = [(lane, mark) for lane, mark in zip(lanes, marks, strict=True) if lane.tracks]
    sound = [pair for pair in playing if pair[0].tracks[0].startswith("audio-")]
    needed = [*playing[:1], *sound]
    if not all(mark.codecs or mark.parts == len(lane.parts) for lane, mark in needed):
        return {}
    return {track: codec for _, mark in playing for track, codec in mark.codecs.items()}


def all_named(lanes: tuple[Lane, ...], published: Published) -> bool:
    """Whether every lane has begun and the multivariant playlist names all that it is to.

    Not before it names something: sound that is declared may hold nothing yet, or ever.
    """
    pairs = zip(lanes, published.marks, strict=True)
    begun = all(mark.at or mark.parts == len(lane.parts) for lane, mark in pairs if lane.tracks)
    complete = tuple(sorted(nameable(lanes, published.marks))) == published.named
    return bool(published.named) and begun and complete

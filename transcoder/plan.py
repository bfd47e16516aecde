"""The plan of one generation: what is made, cut into which parts. Pure data.

Times are in the output's clock, which begins at 0 with the first displayed picture (or the
first sound where there is no picture). Video is counted in frames of ``VideoPlan.rate``, audio
in AAC frames of 1024 samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from fractions import Fraction
from functools import cached_property
from itertools import accumulate, takewhile
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict

from media.probed import Probe

#: Samples in one AAC-LC frame (ISO/IEC 14496-3, 4.5.2.1.1).
AAC_FRAME: Final = 1024

#: The encoder family of every host; the others are in :mod:`transcoder.encoders`.
SOFTWARE: Final = "software"


class Frozen(BaseModel):
    """An immutable piece of a plan."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, but nothing that was worked out of the old fields is taken along."""
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


class Rung(Frozen):
    """One video rendition of the ladder. Rates are bits per second."""

    name: str
    width: int
    height: int
    crf: float
    maxrate: int
    bufsize: int
    level: str


class ToneMap(StrEnum):
    """The transfer a high-dynamic-range source has to be brought down from."""

    PQ = "smpte2084"
    HLG = "arib-std-b67"


class VideoPlan(Frozen):
    """How the picture track becomes the ladder."""

    stream: int
    #: ``Z``: presentation time of the first displayed picture, in seconds of the source's clock.
    zero: Fraction
    rate: Fraction
    #: Frames between key frames.
    gop: int
    #: Frames of a full segment, a whole number of GOPs.
    segment: int
    #: Predicted frames of the whole film; None where the source does not tell.
    frames: int | None
    #: ``P``: seconds to start reading early where the container has no key-frame index.
    preroll: float
    constant_rate: bool
    #: Seconds added to source times so that none lies halfway between two output frames.
    nudge: Fraction = Fraction(0)
    #: Whether pictures have no times of their own: they follow each other at ``rate``.
    timeless: bool = False
    #: Displayed size before scaling.
    width: int
    height: int
    deinterlace: bool = False
    tone_map: ToneMap | None = None
    full_range: bool = False
    color_space: str | None = None
    color_primaries: str | None = None
    color_transfer: str | None = None
    preset: str
    #: The family that encodes all of the generation's pictures.
    encoder: str = SOFTWARE
    #: Largest first, so that each is scaled from the one before it.
    rungs: tuple[Rung, ...]

    @property
    def timescale(self) -> int:
        """Ticks per second in which a frame is a whole number of ticks."""
        numerator = self.rate.numerator
        return numerator if numerator >= 10_000 else numerator * 1000

    @property
    def frame_ticks(self) -> int:
        """Ticks of one frame."""
        return int(self.timescale / self.rate)


class AudioPlan(Frozen):
    """How one sound track becomes one audio rendition."""

    name: str
    stream: int
    zero: Fraction
    language: str | None
    channels: int
    sample_rate: int
    bit_rate: int
    default: bool
    #: AAC frames of a full segment, a whole number of fragments.
    segment: int
    #: AAC frames of one fragment; the head is one.
    fragment: int = 93
    #: Predicted seconds; None where the source does not tell.
    duration: float | None


#: The part that makes the poster and the storyboard; a film without them is still a film.
PICTURES: Final = "pictures"


class PartKind(StrEnum):
    """What a part does."""

    VIDEO = "video"
    AUDIO = "audio"
    PICTURES = "pictures"


class Part(Frozen):
    """The unit of work, retry, lease and receipt."""

    id: str
    kind: PartKind
    #: Whether a viewer is waiting for it: it runs in a head slot, and others stand back for it.
    head: bool = False
    #: The rungs or the audio track it makes.
    tracks: tuple[str, ...] = ()
    #: First frame on the output's grid, and how many; None for as many as there are.
    first: int = 0
    count: int | None = None
    #: Whether it commits a receipt every few segments and resumes after the last.
    stream: bool = False
    #: Predicted seconds of encoding at one core, for deadlines and back-pressure.
    cost: float = 1.0


class Lane(Frozen):
    """Parts whose segments follow each other in the playlists of the same tracks."""

    tracks: tuple[str, ...]
    parts: tuple[str, ...]

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Where in the lane each part is."""
        return {part: place for place, part in enumerate(self.parts)}

    @cached_property
    def stem(self) -> str:
        """What the ids of all its parts begin with."""
        columns = zip(*self.parts, strict=False)
        return "".join(column[0] for column in takewhile(lambda c: len(set(c)) == 1, columns))


class Plan(Frozen):
    """Everything the parts of one generation need to know; immutable once written."""

    schema_version: int = 1
    profile: str
    probe: Probe
    #: Seconds; what EXT-X-TARGETDURATION says for every playlist.
    target_duration: int
    #: Segments between two checkpoints of a stream part.
    checkpoint: int
    #: Seconds at which a part without a stated count ends, whatever the source goes on to hold.
    longest: float = 12 * 3600.0
    video: VideoPlan | None = None
    audio: tuple[AudioPlan, ...] = ()
    #: In the order in which they are to be worked on.
    parts: tuple[Part, ...]
    lanes: tuple[Lane, ...]
    #: What was left out or is going to be mended, as (code, message).
    warnings: tuple[tuple[str, str], ...] = ()

    def part(self, part_id: str) -> Part:
        """The part of that id. Raises :class:`KeyError` where there is none."""
        return self.parts[self.places[part_id]]

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Where among the parts each is."""
        return {part.id: place for place, part in enumerate(self.parts)}

    @cached_property
    def costs_from(self) -> tuple[float, ...]:
        """Predicted core-seconds from each place among the parts to the end, and 0 at the end."""
        costs = accumulate((part.cost for part in reversed(self.parts)), initial=0.0)
        return tuple(costs)[::-1]

    @cached_property
    def rows(self) -> tuple[Lane, ...]:
        """The lanes, and one of its own for every part that fills no playlist."""
        placed = {part for lane in self.lanes for part in lane.parts}
        alone = tuple(Lane(tracks=(), parts=(p.id,)) for p in self.parts if p.id not in placed)
        return self.lanes + alone

    @cached_property
    def streams(self) -> frozenset[str]:
        """The parts that commit more than one receipt."""
        return frozenset(part.id for part in self.parts if part.stream)

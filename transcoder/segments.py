"""What a part delivers: segments with the facts that manifests need."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from transcoder.damage import Damage
from transcoder.errors import SegmentsError as SegmentsError
from transcoder.plan import Frozen


class KeyFrame(Frozen):
    """A key frame inside its segment: what an I-frame playlist names (RFC 8216, 4.3.3.6)."""

    #: Byte range from the start of its fragment's ``moof`` to the end of the picture.
    offset: int
    size: int
    #: Seconds from this key frame to the next.
    duration: Fraction


class Segment(Frozen):
    """One media segment as it was written."""

    #: Path below ``play/``.
    path: str
    size: int
    #: Decode time of the first frame and duration, both in the track's timescale.
    start: int
    ticks: int
    keyframes: tuple[KeyFrame, ...] = ()


class TrackSegments(Frozen):
    """What one part made of one track, in order."""

    track: str
    #: RFC 6381, such as ``avc1.640028``; read from the init segment.
    codec: str
    timescale: int
    #: Ticks by which presentation lies before decode time: an audio encoder's priming, which the
    #: init segment's edit list takes off.
    delay: int = 0
    #: Path of the init segment below ``play/``, and the SHA-256 of its bytes.
    init_path: str
    init_hash: str
    segments: tuple[Segment, ...]

    def presented(self, segment: Segment) -> tuple[int, int]:
        """When a segment begins and ends for the viewer, in ticks; never before 0."""
        end = segment.start + segment.ticks
        return max(segment.start - self.delay, 0), max(end - self.delay, 0)

    @property
    def duration(self) -> Fraction:
        """Seconds from 0 to the end of the last segment; 0 without segments."""
        if not self.segments:
            return Fraction(0)
        return Fraction(self.presented(self.segments[-1])[1], self.timescale)


def joined(pieces: Iterable[TrackSegments]) -> TrackSegments:
    """One track from what its parts made of it, given in order.

    Raises :class:`SegmentsError` where the init segments differ or a segment is missing: such a
    track does not play through.
    """
    first, *others = pieces
    whole = first.model_copy(
        update={"segments": tuple(s for piece in (first, *others) for s in piece.segments)}
    )
    for piece in others:
        if (piece.track, piece.init_hash) != (first.track, first.init_hash):
            raise SegmentsError(
                f"{piece.track} has init segment {piece.init_path}, but {first.track} begins with "
                f"{first.init_path}; were the parts made by different builds of ffmpeg?"
            )
    expected = 0
    for segment in whole.segments:
        if segment.start != expected:
            raise SegmentsError(
                f"{segment.path} starts at {segment.start}, but what is before it ends at "
                f"{expected} (in 1/{whole.timescale} s)"
            )
        expected = segment.start + segment.ticks
    return whole


class Thumbnails(Frozen):
    """Storyboard sheets ``storyboard_0.jpg`` and on, of equal size, tiles in reading order."""

    #: Pixels of a whole sheet.
    width: int
    height: int
    columns: int
    rows: int
    #: Seconds from tile to tile.
    interval: Fraction
    #: Bytes of the largest sheet.
    largest: int


class Receipt(Frozen):
    """What one run of one part, or of one checkpoint of it, made. Exactly one run's counts."""

    schema_version: int = 1
    part: str
    checkpoint: int = 0
    #: Whether no checkpoint of this part follows.
    last: bool = True
    run: str
    host: str
    #: Frames (video) or AAC frames (audio) this receipt stands for.
    first: int = 0
    count: int = 0
    tracks: tuple[TrackSegments, ...] = ()
    #: Other objects it wrote, as paths below ``play/``.
    objects: tuple[str, ...] = ()
    thumbnails: Thumbnails | None = None
    #: Bytes written, wall and CPU seconds spent.
    size: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    #: Largest distance in seconds between an output frame and the source frame it shows.
    skew: float | None = None
    warnings: tuple[tuple[str, str], ...] = ()
    #: What a viewer misses in it; spots may reach beyond it, and be told by several receipts.
    damage: tuple[Damage, ...] = ()

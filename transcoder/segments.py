"""What a part delivers: segments with the facts that manifests need."""

from __future__ import annotations

from fractions import Fraction

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
    #: Path of the init segment below ``play/``, and the SHA-256 of its bytes.
    init_path: str
    init_hash: str
    segments: tuple[Segment, ...]


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
    #: Bytes written, wall and CPU seconds spent.
    size: int = 0
    wall: float = 0.0
    cpu: float = 0.0
    #: Largest distance in seconds between an output frame and the source frame it shows.
    skew: float | None = None
    warnings: tuple[tuple[str, str], ...] = ()

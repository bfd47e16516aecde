"""Reading the few ISO base media boxes that a fragmented track of ffmpeg consists of.

Box layouts are those of ISO/IEC 14496-12 (``moov`` … ``trun``), 14496-14 (``esds``) and 14496-15
(``avcC``). Only one track per file is read, because every track has a pipe of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from transcoder.errors import FragmentError

#: Bytes of a box header, and of one with a 64-bit size.
HEADER: Final = 8
_LONG_HEADER: Final = 16

#: Bytes before the child boxes of a picture and of a sound sample entry.
_VISUAL_ENTRY: Final = 78
_AUDIO_ENTRY: Final = 28

_NON_SYNC: Final = 0x0001_0000

#: The flags of ``trun`` that announce a sample's ticks, bytes, flags and composition offset.
_SAMPLE_FIELDS: Final = (0x100, 0x200, 0x400, 0x800)

#: Samples of one fragment beyond which its count is taken for damage.
_MAX_SAMPLES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Box:
    """One box: its type, and where its header, its payload and its end lie in the data."""

    kind: str
    start: int
    body: int
    end: int


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a sample is where its ``trun`` does not say: ticks, bytes and flags."""

    duration: int
    size: int
    flags: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: ticks, bytes, flags, and presentation minus decode time in ticks."""

    duration: int
    size: int
    flags: int
    offset: int

    @property
    def is_sync(self) -> bool:
        """Whether decoding can start here."""
        return not self.flags & _NON_SYNC


def box_at(data: bytes | bytearray, start: int) -> Box | None:
    """The box whose header begins at ``start``, or None where the header is incomplete.

    Raises :class:`FragmentError` for a size that cannot be, or that is left open.
    """
    if len(data) < start + HEADER:
        return None
    size, kind = struct.unpack_from(">I4s", data, start)
    header = HEADER
    if size == 1:
        if len(data) < start + _LONG_HEADER:
            return None
        (size,) = struct.unpack_from(">Q", data, start + HEADER)
        header = _LONG_HEADER
    name = kind.decode("latin-1")
    if size < header:
        raise FragmentError(f"box {name!r} says it has {size} bytes, less than its own header")
    return Box(name, start, start + header, start + size)


def children(data: bytes, start: int, end: int) -> Iterator[Box]:
    """The boxes that fill ``data[start:end]``. Raises :class:`FragmentError` if they do not."""
    while start < end:
        box = box_at(data, start)
        if box is None or box.end > end:
            raise FragmentError(f"a box at byte {start} reaches over the end of its parent")
        yield box
        start = box.end


def find(data: bytes, parent: Box, *path: str) -> Box:
    """The first box along ``path`` below ``parent``. Raises :class:`FragmentError` without it."""
    for kind in path:
        found = next((b for b in children(data, parent.body, parent.end) if b.kind == kind), None)
        if found is None:
            raise FragmentError(f"box {parent.kind!r} has no {kind!r}")
        parent = found
    return parent


def timescale(data: bytes, mdhd: Box) -> int:
    """Ticks per second of a track."""
    long = data[mdhd.body] == 1
    return int(struct.unpack_from(">I", data, mdhd.body + (20 if long else 12))[0])


def media_time(data: bytes, trak: Box) -> int:
    """Ticks that the track's edit list takes off the beginning; 0 without an edit list."""
    edits = [b for b in children(data, trak.body, trak.end) if b.kind == "edts"]
    if not edits:
        return 0
    elst = find(data, edits[0], "elst")
    long = data[elst.body] == 1
    (count,) = struct.unpack_from(">I", data, elst.body + 4)
    if count != 1:
        raise FragmentError(f"the edit list has {count} entries; one was expected")
    time = struct.unpack_from(">q" if long else ">i", data, elst.body + (16 if long else 12))[0]
    return max(int(time), 0)


def codec(data: bytes, stsd: Box) -> str:
    """RFC 6381 name of the one sample entry. Raises :class:`FragmentError` for an unknown one."""
    entry = next(children(data, stsd.body + 8, stsd.end), None)
    if entry is not None and entry.kind == "avc1":
        avcc = find(
            data, Box(entry.kind, entry.start, entry.body + _VISUAL_ENTRY, entry.end), "avcC"
        )
        return f"avc1.{data[avcc.body + 1 : avcc.body + 4].hex()}"
    if entry is not None and entry.kind == "mp4a":
        esds = find(
            data, Box(entry.kind, entry.start, entry.body + _AUDIO_ENTRY, entry.end), "esds"
        )
        return _mp4a(data[esds.body + 4 : esds.end])
    raise FragmentError(f"no name is known for codec {entry.kind if entry else 'of no entry'!r}")


def _mp4a(descriptors: bytes) -> str:
    """The name in an ES descriptor (ISO/IEC 14496-1, 7.2.6): object type, then audio type."""
    body = _descriptor(descriptors, 0x03)[3:]
    config = _descriptor(body, 0x04)
    specific = _descriptor(config[13:], 0x05)
    if not specific:
        raise FragmentError("the sound track's decoder configuration is empty")
    object_type = specific[0] >> 3
    if object_type == 31 and len(specific) > 1:
        object_type = 32 + ((specific[0] & 7) << 3 | specific[1] >> 5)
    return f"mp4a.{config[0]:x}.{object_type}"


def _descriptor(data: bytes, tag: int) -> bytes:
    if not data or data[0] != tag:
        raise FragmentError(f"the sound track's descriptor {tag:#04x} is missing")
    size, at = 0, 1
    while at < len(data):
        size, more = size << 7 | data[at] & 0x7F, data[at] & 0x80
        at += 1
        if not more:
            break
    return data[at : at + size]


def track_defaults(data: bytes, trex: Box) -> Defaults:
    """The defaults of a whole track."""
    return Defaults(*struct.unpack_from(">III", data, trex.body + 12))


def fragment_defaults(data: bytes, tfhd: Box, track: Defaults) -> Defaults:
    """The defaults of one fragment, on top of the track's."""
    (flags,) = struct.unpack_from(">I", data, tfhd.body)
    at = tfhd.body + 8 + 8 * bool(flags & 0x1) + 4 * bool(flags & 0x2)
    values = [track.duration, track.size, track.flags]
    for index, bit in enumerate((0x8, 0x10, 0x20)):
        if flags & bit:
            (values[index],) = struct.unpack_from(">I", data, at)
            at += 4
    return Defaults(*values)


def decode_time(data: bytes, tfdt: Box) -> int:
    """Decode time of a fragment's first sample. Read as signed: ffmpeg may start before 0."""
    return int(struct.unpack_from(">q" if data[tfdt.body] == 1 else ">i", data, tfdt.body + 4)[0])


def samples(data: bytes, trun: Box, defaults: Defaults) -> tuple[int, tuple[Sample, ...]]:
    """The offset of the first sample's bytes from the ``moof``, and the samples in order."""
    flags, count = struct.unpack_from(">II", data, trun.body)
    if not flags & 0x1:
        raise FragmentError("a fragment does not say where its data begin")
    (data_offset,) = struct.unpack_from(">i", data, trun.body + 8)
    at = trun.body + 12
    first_flags: int | None = None
    if flags & 0x4:
        (first_flags,) = struct.unpack_from(">I", data, at)
        at += 4
    made = [_sample(said, defaults, flags >> 24) for said in _rows(data, at, trun, flags, count)]
    if made and first_flags is not None:
        made[0] = replace(made[0], flags=first_flags)
    return data_offset, tuple(made)


def _rows(data: bytes, at: int, trun: Box, flags: int, count: int) -> Iterator[dict[int, int]]:
    """What a ``trun`` says of each sample, by the flag that announces it."""
    fields = [bit for bit in _SAMPLE_FIELDS if flags & bit]
    row = struct.Struct(f">{len(fields)}I")
    if count > _MAX_SAMPLES or at + row.size * count > trun.end:
        raise FragmentError(f"a fragment promises {count} samples and describes fewer")
    for index in range(count):
        yield dict(zip(fields, row.unpack_from(data, at + index * row.size), strict=True))


def _sample(said: dict[int, int], defaults: Defaults, version: int) -> Sample:
    offset = said.get(0x800, 0)
    return Sample(
        said.get(0x100, defaults.duration),
        said.get(0x200, defaults.size),
        said.get(0x400, defaults.flags),
        offset - (1 << 32) if version and offset >> 31 else offset,
    )

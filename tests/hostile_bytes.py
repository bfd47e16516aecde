"""Writers of containers that say whatever is wanted, true or not."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

#: The sizes an element of Matroska may state, and "unknown" (RFC 8794, 6.2).
_UNKNOWN = b"\x01" + b"\xff" * 7


def atom(kind: bytes, *parts: bytes, size: int | None = None) -> bytes:
    """An MP4 box; ``size`` is what it says, where that is not the truth."""
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8 if size is None else size, kind) + body


def find_atom(data: bytes, kind: bytes, after: int = 0) -> int:
    """Where a box of that kind begins."""
    return data.index(kind, after) - 4


def patched(data: bytes, at: int, piece: bytes) -> bytes:
    """``data`` with ``piece`` in place of what was there."""
    return data[:at] + piece + data[at + len(piece) :]


def in_atom(data: bytes, kind: bytes, offset: int, piece: bytes) -> bytes:
    """``piece`` written ``offset`` bytes into the body of the first box of that kind."""
    return patched(data, find_atom(data, kind) + 8 + offset, piece)


def with_atoms(data: bytes, path: tuple[bytes, ...], extra: bytes) -> bytes:
    """``data`` with ``extra`` at the end of the box at ``path``, and the sizes set right.

    Sample offsets stay true only if the box lies behind the samples, as ffmpeg puts it.
    """
    starts, at = [], 0
    for kind in path:
        at = find_atom(data, kind, at)
        starts.append(at)
    end = starts[-1] + struct.unpack_from(">I", data, starts[-1])[0]
    data = data[:end] + extra + data[end:]
    for start in starts:
        size = struct.unpack_from(">I", data, start)[0] + len(extra)
        data = patched(data, start, struct.pack(">I", size))
    return data


def element(identity: int, body: bytes, *, unknown: bool = False) -> bytes:
    """An element of Matroska."""
    name = identity.to_bytes((identity.bit_length() + 7) // 8, "big")
    return name + (_UNKNOWN if unknown else (len(body) | 1 << 56).to_bytes(8, "big")) + body


def number(identity: int, value: int) -> bytes:
    """An element that holds a number."""
    return element(identity, value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big"))


def matroska(*elements: bytes, unknown: bool = False) -> bytes:
    """A Matroska file of these top-level elements."""
    head = element(0x1A45DFA3, number(0x4286, 1) + element(0x4282, b"matroska") + number(0x4287, 4))
    return head + element(0x18538067, b"".join(elements), unknown=unknown)


def matroska_film(
    codec: bytes,
    frames: list[tuple[int, bytes]],
    *,
    size: tuple[int, int] = (320, 180),
    duration: float | None = None,
    private: bytes = b"",
) -> bytes:
    """Frames as (milliseconds, bytes), all key frames, each in a cluster of its own."""
    info = number(0x2AD7B1, 1_000_000)
    if duration is not None:
        info += element(0x4489, struct.pack(">d", duration * 1000))
    entry = number(0xD7, 1) + number(0x73C5, 1) + number(0x83, 1) + element(0x86, codec)
    entry += element(0xE0, number(0xB0, size[0]) + number(0xBA, size[1]))
    entry += element(0x63A2, private) if private else b""
    clusters = (
        element(0x1F43B675, number(0xE7, time) + element(0xA3, b"\x81\x00\x00\x80" + data))
        for time, data in frames
    )
    return matroska(element(0x1549A966, info), element(0x1654AE6B, element(0xAE, entry)), *clusters)


def fourcc_header(code: bytes, width: int, height: int) -> bytes:
    """BITMAPINFOHEADER, which says in AVI and in Matroska's ``V_MS/VFW/FOURCC`` what a film is."""
    return struct.pack("<IiiHH4sIiiII", 40, width, height, 1, 24, code, 0, 0, 0, 0, 0)


def riff(kind: bytes, body: bytes) -> bytes:
    """A chunk of AVI."""
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def png(width: int, height: int) -> bytes:
    """A black picture, a thousandth of whose size it takes to say so."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    packer = zlib.compressobj(9)
    row = bytes(width + 1)
    rows = b"".join([packer.compress(row) for _ in range(height)] + [packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


def transport_stream(programs: int, streams: int) -> bytes:
    """A transport stream whose tables announce so many programs of so many streams."""
    return b"".join(_ts_packets(programs, streams)) * 3


def _ts_packets(programs: int, streams: int) -> Iterator[bytes]:
    pids = range(0x20, 0x20 + programs)
    table = b"".join(struct.pack(">HH", n + 1, 0xE000 | pid) for n, pid in enumerate(pids))
    yield from _ts_section(0, _section(0x00, 1, table))
    for order, pid in enumerate(pids):
        first = 0x20 + programs + order * streams
        body = struct.pack(">HH", 0xE000 | first & 0x1FFF, 0xF000)
        for stream in range(first, first + streams):
            body += struct.pack(">BHH", 0x1B, 0xE000 | stream & 0x1FFF, 0xF000)
        yield from _ts_section(pid, _section(0x02, order + 1, body))


def _section(table: int, identity: int, body: bytes) -> bytes:
    head = struct.pack(">BHHBBB", table, 0xB000 | len(body) + 9, identity, 0xC1, 0, 0)
    return head + body + struct.pack(">I", _crc(head + body))


def _ts_section(pid: int, section: bytes) -> Iterator[bytes]:
    data = b"\0" + section
    for order, at in enumerate(range(0, len(data), 184)):
        start = 0x4000 if order == 0 else 0
        head = struct.pack(">BHB", 0x47, start | pid, 0x10 | order & 15)
        yield (head + data[at : at + 184]).ljust(188, b"\xff")


def _crc(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc

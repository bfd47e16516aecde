"""Damages files as uploads, discs and radio links do, at known times.

Offsets are those at which ffprobe finds the packets, so that a test can say which pictures have to
be whole.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from random import Random

from media.binaries import Tools


@dataclass(frozen=True, slots=True)
class PacketAt:
    """One packet of a file: when it is shown, and where its bytes lie."""

    time: float
    at: int
    size: int


def packets(tools: Tools, path: Path, track: str) -> list[PacketAt]:
    """The packets of ``v:0`` or ``a:0``, in the order of the file."""
    entries = ("-show_entries", "packet=pts_time,pos,size", "-of", "csv=p=0")
    command = [tools.ffprobe, "-v", "error", "-select_streams", track, *entries, path]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split(",") for line in listed.split()]
    return [PacketAt(float(row[0]), int(row[2]), int(row[1])) for row in rows]


def cut(path: Path, to: Path, share: float) -> Path:
    """The first ``share`` of the file, as an upload leaves it that broke off."""
    data = path.read_bytes()
    to.write_bytes(data[: int(len(data) * share)])
    return to


def zeroed(tools: Tools, path: Path, to: Path, begin: float, end: float) -> Path:
    """Everything between the pictures of ``begin`` and ``end`` is lost, as on a bad disc."""
    lost = [p for p in packets(tools, path, "v:0") if begin <= p.time < end]
    first, last = min(p.at for p in lost), max(p.at + p.size for p in lost)
    data = bytearray(path.read_bytes())
    data[first:last] = bytes(last - first)
    to.write_bytes(data)
    return to


def silenced(tools: Tools, path: Path, to: Path, begin: float, end: float) -> Path:
    """The sound between ``begin`` and ``end`` is lost, the pictures are whole."""
    data = bytearray(path.read_bytes())
    for packet in packets(tools, path, "a:0"):
        if begin <= packet.time < end:
            data[packet.at : packet.at + packet.size] = bytes(packet.size)
    to.write_bytes(data)
    return to


def flipped(tools: Tools, path: Path, to: Path, begin: float, end: float, seed: int = 7) -> Path:
    """Some bits of the pictures between ``begin`` and ``end`` are wrong."""
    data, random = bytearray(path.read_bytes()), Random(seed)
    for packet in packets(tools, path, "v:0"):
        if begin <= packet.time < end and packet.size > 30:
            for _ in range(max(1, packet.size // 100)):
                at = packet.at + random.randrange(20, packet.size)
                data[at] ^= 1 << random.randrange(8)
    to.write_bytes(data)
    return to


def beheaded(path: Path, to: Path, order: int) -> Path:
    """A fragmented MP4 in which the header of the fragment ``order`` is lost."""
    data, headers, at = bytearray(path.read_bytes()), [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        headers += [(at, size)] if data[at + 4 : at + 8] == b"moof" else []
        at += size
    begin, size = headers[order]
    data[begin : begin + size] = bytes(size)
    to.write_bytes(data)
    return to


def lost(path: Path, to: Path, begin: float, end: float) -> Path:
    """The bytes between two shares of the file are zero."""
    data = bytearray(path.read_bytes())
    first, last = int(len(data) * begin), int(len(data) * end)
    data[first:last] = bytes(last - first)
    to.write_bytes(data)
    return to

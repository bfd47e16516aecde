"""An encoder's pipe, byte by byte, into an init segment and fragments.

ffmpeg writes ``ftyp``, ``moov``, then pairs of ``moof`` and ``mdat``. The reader holds no more than
the pair that is arriving, and says so when something else arrives.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from transcoder import boxes
from transcoder.boxes import Box, Sample
from transcoder.errors import FragmentError

#: Bytes of one box beyond which the reader gives up: far above any group of pictures.
MAX_BOX: Final = 256 * 1024 * 1024

_IGNORED: Final = frozenset({"styp", "sidx", "free", "skip", "prft", "emsg", "mfra"})


@dataclass(frozen=True, slots=True)
class Init:
    """The init segment of a track: what EXT-X-MAP and DASH's Initialization name."""

    data: bytes
    sha256: str
    #: RFC 6381, such as ``avc1.640028`` or ``mp4a.40.2``.
    codec: str
    #: Ticks per second.
    timescale: int
    is_video: bool
    #: Ticks the edit list takes off: the encoder's delay.
    media_time: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """One ``moof`` with its ``mdat``. Times are ticks of the track's timescale."""

    data: bytes
    #: Decode time of the first sample.
    start: int
    ticks: int
    samples: int
    sample_ticks: int
    starts_with_sync: bool
    #: Presentation minus decode time of the first sample.
    composition: int
    #: Bytes from the start of the ``moof`` to the end of the first sample.
    first_end: int
    #: Where in ``data`` the sequence number and the decode time stand.
    sequence_at: int
    time_at: int
    long_time: bool

    @property
    def end(self) -> int:
        """Decode time at which the next fragment starts."""
        return self.start + self.ticks


class FragmentReader:
    """Reads one track incrementally. ``label`` names the track in errors."""

    def __init__(self, label: str = "track", *, max_box: int = MAX_BOX) -> None:
        self._label = label
        self._max_box = max_box
        self._buffer = bytearray()
        self._offset = 0
        self._ftyp = b""
        self._moof = b""
        self._defaults: boxes.Defaults | None = None

    def feed(self, data: bytes) -> list[Init | Fragment]:
        """What ``data`` completes. Raises :class:`FragmentError` with the place of the fault."""
        self._buffer += data
        made: list[Init | Fragment] = []
        while (box := self._next()) is not None:
            made += self._take(*box)
        return made

    @property
    def untouched(self) -> bool:
        """Whether not one byte has come."""
        return self._offset == 0 and not self._buffer

    def close(self) -> None:
        """Note the end of the pipe. Raises :class:`FragmentError` if it came inside a fragment."""
        if self._buffer or self._moof:
            raise self._error(f"ended inside a fragment, {len(self._buffer)} bytes after its start")
        if self._defaults is None:
            raise self._error("ended before its init segment")

    def _next(self) -> tuple[str, bytes] | None:
        try:
            box = boxes.box_at(self._buffer, 0)
        except FragmentError as error:
            raise self._error(str(error)) from error
        if box is None:
            return None
        self._check(box)
        if len(self._buffer) < box.end:
            return None
        data = bytes(memoryview(self._buffer)[: box.end])
        del self._buffer[: box.end]
        self._offset += box.end
        return box.kind, data

    def _check(self, box: Box) -> None:
        """Refuse rubbish by its header, before its size makes the buffer grow."""
        expected = self._expected()
        if box.kind != expected and (expected not in {"moov", "moof"} or box.kind not in _IGNORED):
            raise self._error(f"has {box.kind!r} where {expected} belongs")
        if box.end > self._max_box:
            raise self._error(f"has {box.kind!r} of {box.end} bytes; {self._max_box} is the limit")

    def _expected(self) -> str:
        if not self._ftyp:
            return "ftyp"
        if self._defaults is None:
            return "moov"
        return "mdat" if self._moof else "moof"

    def _take(self, kind: str, data: bytes) -> list[Init | Fragment]:
        try:
            if kind == "ftyp":
                self._ftyp = data
            elif kind == "moov":
                return [self._init(data)]
            elif kind == "moof":
                self._moof = data
            elif kind == "mdat":
                moof, self._moof = self._moof, b""
                return [self._fragment(moof, data)]
        except (FragmentError, struct.error, IndexError) as error:
            raise self._error(f"has a damaged {kind!r}: {error}") from error
        return []

    def _init(self, moov_data: bytes) -> Init:
        moov = Box("moov", 0, boxes.HEADER, len(moov_data))
        tracks = [b for b in boxes.children(moov_data, moov.body, moov.end) if b.kind == "trak"]
        if len(tracks) != 1:
            raise FragmentError(f"{len(tracks)} tracks where one belongs")
        mdia = boxes.find(moov_data, tracks[0], "mdia")
        handler = boxes.find(moov_data, mdia, "hdlr")
        trex = boxes.find(moov_data, moov, "mvex", "trex")
        self._defaults = boxes.track_defaults(moov_data, trex)
        data = self._ftyp + moov_data
        return Init(
            data=data,
            sha256=hashlib.sha256(data).hexdigest(),
            codec=boxes.codec(moov_data, boxes.find(moov_data, mdia, "minf", "stbl", "stsd")),
            timescale=boxes.timescale(moov_data, boxes.find(moov_data, mdia, "mdhd")),
            is_video=moov_data[handler.body + 8 : handler.body + 12] == b"vide",
            media_time=boxes.media_time(moov_data, tracks[0]),
        )

    def _fragment(self, data: bytes, mdat: bytes) -> Fragment:
        assert self._defaults is not None
        moof = Box("moof", 0, boxes.HEADER, len(data))
        sequence = boxes.find(data, moof, "mfhd")
        traf = boxes.find(data, moof, "traf")
        tfdt = boxes.find(data, traf, "tfdt")
        defaults = boxes.fragment_defaults(data, boxes.find(data, traf, "tfhd"), self._defaults)
        offset, samples = self._samples(data, traf, defaults)
        if not samples:
            raise FragmentError("no samples in the fragment")
        if offset + sum(sample.size for sample in samples) > len(data) + len(mdat):
            raise FragmentError("the samples reach over the end of their data")
        return Fragment(
            data=data + mdat,
            start=boxes.decode_time(data, tfdt),
            ticks=sum(sample.duration for sample in samples),
            samples=len(samples),
            sample_ticks=samples[0].duration,
            starts_with_sync=samples[0].is_sync,
            composition=samples[0].offset,
            first_end=offset + samples[0].size,
            sequence_at=sequence.body + 4,
            time_at=tfdt.body + 4,
            long_time=data[tfdt.body] == 1,
        )

    @staticmethod
    def _samples(
        data: bytes, traf: Box, defaults: boxes.Defaults
    ) -> tuple[int, tuple[Sample, ...]]:
        runs = [
            boxes.samples(data, box, defaults)
            for box in boxes.children(data, traf.body, traf.end)
            if box.kind == "trun"
        ]
        if not runs:
            raise FragmentError("no samples in the fragment")
        return runs[0][0], tuple(sample for _, run in runs for sample in run)

    def _error(self, what: str) -> FragmentError:
        return FragmentError(f"{self._label}: the encoder's output {what} (byte {self._offset})")

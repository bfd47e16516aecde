"""Files that mean harm: what each tries, and how it is made. Nothing here is taken from anybody.

Each is made from a :class:`Kit`: a canary (a file and an address that nobody has any business to
open) and small honest films to spoil.
"""

from __future__ import annotations

import random
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from media.binaries import Tools
from tests.hostile_bytes import (
    atom,
    element,
    find_atom,
    fourcc_header,
    in_atom,
    matroska,
    matroska_film,
    number,
    patched,
    png,
    riff,
    transport_stream,
    with_atoms,
)

#: What may become of a file from which nothing can be saved.
NO_MEDIA = ("unsupported_media",)
#: What may become of one whose header is right and whose contents are not.
DAMAGED = ("ready", "unsupported_media", "damaged_media", "no_streams")


@dataclass
class Kit:
    """What files are made from."""

    tools: Tools
    folder: Path
    #: A file, and an address of this machine, that must not be read.
    secret: Path
    url: str
    _made: dict[str, bytes] = field(default_factory=dict)

    def film(self, name: str = "film.mp4", *options: str) -> bytes:
        """An honest film of one second, in the container that the name tells."""
        if name not in self._made:
            picture = ("-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=1")
            sound = ("-f", "lavfi", "-i", "sine=duration=1")
            argv = (self.tools.ffmpeg, "-v", "error", "-y", *picture, *sound, "-shortest")
            path = self.folder / f"honest-{name}"
            subprocess.run((*argv, *(options or _CODECS[path.suffix]), path), check=True)
            self._made[name] = path.read_bytes()
        return self._made[name]


_H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "12", "-pix_fmt", "yuv420p")
_CODECS = {
    ".mp4": (*_H264, "-c:a", "aac"),
    ".mov": (*_H264, "-c:a", "pcm_s16le"),
    ".mkv": (*_H264, "-c:a", "aac"),
    ".ts": (*_H264, "-c:a", "aac"),
    ".flv": (*_H264, "-c:a", "aac"),
    ".avi": ("-c:v", "mpeg4", "-g", "12", "-c:a", "mp3"),
    ".webm": ("-c:v", "libvpx", "-deadline", "realtime", "-g", "12", "-c:a", "libopus"),
    ".ogv": ("-c:v", "libvpx", "-deadline", "realtime", "-f", "ogg", "-c:a", "libopus"),
}


@dataclass(frozen=True, slots=True)
class Hostile:
    """One file: its name as uploaded, what it tries, and what may become of it."""

    name: str
    tries: str
    make: Callable[[Kit], bytes]
    #: Codes of errors, and ``ready`` where there is a fair film in it.
    ends: tuple[str, ...] = NO_MEDIA
    #: Code of a warning that it has where it is ready.
    warns: str = ""


def _playlists() -> list[Hostile]:
    """Text that names another file or an address, under the name of a film."""
    found = []
    for kind, (text, names) in _TEXTS.items():
        for place in ("file", "address"):
            for name in names:
                made = _text(text, place)
                tries = f"{kind} that names a local {place}"
                found.append(Hostile(f"{kind}-{place}-{name}", tries, made))
    return found


def _text(text: str, place: str) -> Callable[[Kit], bytes]:
    def make(kit: Kit) -> bytes:
        target = f"file://{kit.secret}" if place == "file" else kit.url
        port = kit.url.split(":")[2].split("/")[0]
        return text.format(target=target, path=kit.secret, port=port).encode()

    return make


_HLS = "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:5\n"
_TEXTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "hls": (_HLS + "#EXTINF:5,\n{target}\n#EXT-X-ENDLIST\n", ("a.mp4", "a.ts", "a.m3u8")),
    "hls-key": (
        _HLS + '#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:5,\n{target}\n#EXT-X-ENDLIST\n',
        ("a.mp4",),
    ),
    "hls-map": (
        _HLS + '#EXT-X-MAP:URI="{target}"\n#EXTINF:5,\nconcat:{target}|{target}\n'
        "#EXTINF:5,\nsubfile,,start,0,end,99,,:{path}\n#EXT-X-ENDLIST\n",
        ("a.mp4",),
    ),
    "m3u": ("#EXTM3U\n#EXTINF:5,film\n{target}\n", ("a.mp4",)),
    "concat": ("ffconcat version 1.0\nfile '{target}'\nduration 5\n", ("a.mp4", "a.mkv")),
    "dash": (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT5S"><Period><AdaptationSet mimeType="video/mp4">'
        '<Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>",
        ("a.mp4", "a.mpd"),
    ),
    "sdp": (
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n"
        "m=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\na=control:{target}\n",
        ("a.mp4", "a.sdp"),
    ),
    "rtsp": ("rtsptextrtsp://127.0.0.1:{port}/secret\n", ("a.mp4", "a.rm")),
    "asx": ('<asx version="3.0"><entry><ref href="{target}"/></entry></asx>', ("a.wmv",)),
    "vobsub": (
        "# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\n"
        "timestamp: 00:00:01:000, filepos: 000000000\n# {target}\n",
        ("a.idx",),
    ),
    "microdvd": ("{{1}}{{1}}25\n{{1}}{{100}}{target}\n", ("a.sub",)),
    "subtitles": ("1\n00:00:00,000 --> 00:00:05,000\n<img src='{target}'>\n", ("a.mp4",)),
    "image-pattern": ("{target}\n%d.png\n", ("%d.png",)),
    "image-glob": ("{target}\n", ("*.jpg",)),
    "imf": (
        '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/'
        '2016"><Id>urn:uuid:0eb3d1b9-b77b-4d3f-bbe5-7c69b15dca85</Id><A>{target}</A>'
        "</CompositionPlaylist>",
        ("a.mxf",),
    ),
    "html": ('<!doctype html><video src="{target}"></video>', ("a.mp4",)),
    "svg": ('<svg xmlns="http://www.w3.org/2000/svg"><image href="{target}"/></svg>', ("a.svg",)),
}


def _external_data(kind: bytes) -> Callable[[Kit], bytes]:
    """A film whose samples lie in another file."""

    def make(kit: Kit) -> bytes:
        data = kit.film("film.mov")
        at = find_atom(data, b"dref")
        body = kit.url.encode() + b"\0" if kind == b"url " else _alias(str(kit.secret))
        entry = atom(kind, b"\0\0\0\0", body)
        return _replaced_entry(data, at, entry)

    return make


def _alias(path: str) -> bytes:
    """A Macintosh alias record that names a path (libavformat/mov.c, mov_read_dref)."""
    raw = path.encode()
    record = bytes(10) + b"\4disk".ljust(28, b"\0") + bytes(12)
    record += bytes([min(len(raw), 63)]) + raw[:63].ljust(63, b"\0") + bytes(16 + 4 + 16)
    padded = raw + b"\0" * (len(raw) % 2)
    return record + struct.pack(">HH", 2, len(raw)) + padded + struct.pack(">HH", 0xFFFF, 0)


def _replaced_entry(data: bytes, dref: int, entry: bytes) -> bytes:
    """The first track's data reference replaced; the boxes around it grow."""
    old = struct.unpack_from(">I", data, dref + 16)[0]
    grown = len(entry) - old
    data = data[: dref + 16] + entry + data[dref + 16 + old :]
    around = (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref")
    for kind in around:
        at = data.rindex(kind, 0, dref + 8) - 4
        size = struct.unpack_from(">I", data, at)[0] + grown
        data = patched(data, at, struct.pack(">I", size))
    return data


def _jpeg(kit: Kit) -> bytes:
    return kit.film("film.mjpeg", "-an", "-frames:v", "1", "-f", "mjpeg")


def _playlist_frames(kit: Kit) -> bytes:
    """A film whose frames are a playlist."""
    text = _text(_TEXTS["hls"][0], "address")(kit)
    return matroska_film(b"V_MJPEG", [(n * 40, text) for n in range(25)], duration=1.0)


def _attachment(kit: Kit) -> bytes:
    """A Matroska with a playlist attached under a name that climbs out of any folder."""
    film = kit.film("film.mkv")
    name = element(0x466E, b"../../../../../../tmp/reelfarm-attached.m3u8")
    kind = element(0x4660, b"application/x-mpegURL")
    text = element(0x465C, _text(_TEXTS["hls"][0], "address")(kit)) + number(0x46AE, 7)
    return film + element(0x1941A469, element(0x61A7, name + kind + text))


def _linked_segments(kit: Kit) -> bytes:
    """A Matroska that says that it goes on in another file."""
    info = number(0x2AD7B1, 1_000_000) + element(0x3CB923, bytes(16))
    info += element(0x3EB923, bytes(16)) + element(0x3E83BB, str(kit.secret).encode())
    info += element(0x3C83AB, kit.url.encode())
    return matroska(element(0x1549A966, info))


def _huge(kit: Kit) -> bytes:
    """Header and sample description claim the largest picture that can be claimed."""
    data = in_atom(kit.film(), b"tkhd", 76, struct.pack(">II", 65535 << 16, 65535 << 16))
    return in_atom(data, b"avc1", 24, struct.pack(">HH", 65535, 65535))


def _huge_raw(kit: Kit) -> bytes:
    """The same in a codec that has no size of its own."""
    frames = [(n * 40, b"\0" * 50) for n in range(25)]
    header = fourcc_header(b"DIB ", 65535, 65535)
    return matroska_film(
        b"V_MS/VFW/FOURCC", frames, size=(65535, 65535), duration=1.0, private=header
    )


def _bomb(code: bytes, picture: Callable[[], bytes], *, small: bytes | None = None):  # type: ignore[no-untyped-def]
    def make(kit: Kit) -> bytes:
        del kit
        big = picture()
        first = big if small is None else small
        frames = [(0, first), *((n * 40, big) for n in range(1, 4))]
        return matroska_film(
            b"V_MS/VFW/FOURCC", frames, duration=1.0, private=fourcc_header(code, 320, 180)
        )

    return make


def _billion_frames(kit: Kit) -> bytes:
    """The table of times claims a thousand million frames."""
    return in_atom(kit.film(), b"stts", 8, struct.pack(">I", 1_000_000_000))


def _long_frame(seconds: int, delta_only: bool = False) -> Callable[[Kit], bytes]:
    """A few kilobytes that say that each picture is shown for minutes."""

    def make(kit: Kit) -> bytes:
        silent = kit.film("silent.mp4", "-an", *_H264, "-video_track_timescale", "1000")
        data = in_atom(silent, b"stts", 8, struct.pack(">I", seconds * 1000 // 25))
        if delta_only:
            return data
        data = in_atom(data, b"mdhd", 16, struct.pack(">I", seconds * 1000))
        data = in_atom(data, b"mvhd", 16, struct.pack(">I", seconds * 1000))
        data = in_atom(data, b"tkhd", 20, struct.pack(">I", seconds * 1000))
        at = data.find(b"elst")
        return patched(data, at + 12, struct.pack(">I", seconds * 1000)) if at > 0 else data

    return make


def _gap(seconds: int, *, told: float | None) -> Callable[[Kit], bytes]:
    """Two pictures with hours between them."""

    def make(kit: Kit) -> bytes:
        picture = _jpeg(kit)
        frames = [(0, picture), (40, picture), (seconds * 1000, picture)]
        return matroska_film(b"V_MJPEG", frames, duration=told)

    return make


def _slow_sound(kit: Kit) -> bytes:
    """Sound of one sample a second, for eleven hours."""
    del kit
    form = struct.pack("<HHIIHH", 1, 1, 1, 1, 1, 8)
    return riff(b"RIFF", b"WAVE" + riff(b"fmt ", form) + riff(b"data", bytes(39_600)))


def _wild_sound(kit: Kit) -> bytes:
    """A thousand channels at two thousand million samples a second."""
    del kit
    form = struct.pack("<HHIIHH", 1, 1000, 2_000_000_000, 2_000_000_000, 1000, 8)
    return riff(b"RIFF", b"WAVE" + riff(b"fmt ", form) + riff(b"data", bytes(100_000)))


def _index_bomb(samples: int) -> Callable[[Kit], bytes]:
    """One box of twenty bytes that claims an index of gigabytes."""

    def make(kit: Kit) -> bytes:
        silent = kit.film("silent.mp4", "-an", *_H264, "-video_track_timescale", "1000")
        data = in_atom(silent, b"stsz", 4, struct.pack(">II", 1, samples))
        data = in_atom(data, b"stsc", 4, struct.pack(">IIII", 1, 1, samples, 1))
        return in_atom(data, b"stts", 4, struct.pack(">III", 1, samples, 1))

    return make


def _many_traks(count: int) -> Callable[[Kit], bytes]:
    def make(kit: Kit) -> bytes:
        data = kit.film("silent.mp4", "-an", *_H264, "-video_track_timescale", "1000")
        at = find_atom(data, b"trak")
        trak = data[at : at + struct.unpack_from(">I", data, at)[0]]
        return with_atoms(data, (b"moov",), trak * count)

    return make


def _many_entries(count: int) -> Callable[[Kit], bytes]:
    def make(kit: Kit) -> bytes:
        del kit
        size = element(0xE0, number(0xB0, 320) + number(0xBA, 180))
        entries = b"".join(
            element(
                0xAE,
                number(0xD7, n)
                + number(0x73C5, n)
                + number(0x83, 1)
                + element(0x86, b"V_VP8")
                + size,
            )
            for n in range(1, count + 1)
        )
        return matroska(element(0x1549A966, number(0x2AD7B1, 1000)), element(0x1654AE6B, entries))

    return make


def _nested(kind: bytes, depth: int) -> Callable[[Kit], bytes]:
    """Boxes in boxes."""

    def make(kit: Kit) -> bytes:
        sizes = range(depth * 8, 0, -8)
        return kit.film()[:32] + b"".join(struct.pack(">I4s", size, kind) for size in sizes)

    return make


def _sized(size: int, wide: int | None = None) -> Callable[[Kit], bytes]:
    """The index says a size that leads back, or nowhere."""

    def make(kit: Kit) -> bytes:
        data = kit.film()
        at = find_atom(data, b"moov")
        if wide is None:
            return patched(data, at, struct.pack(">I", size))
        return data[:at] + struct.pack(">I4sQ", size, b"moov", wide) + data[at + 8 :]

    return make


def _packed_index(claimed: int, body: bytes) -> Callable[[Kit], bytes]:
    """A compressed index that unpacks to a thousand times its size."""

    def make(kit: Kit) -> bytes:
        packed = struct.pack(">I", claimed) + zlib.compress(body, 9)
        inside = atom(b"dcom", b"zlib") + atom(b"cmvd", packed)
        return kit.film()[:32] + atom(b"moov", atom(b"cmov", inside))

    return make


def _circular_seek_heads(kit: Kit) -> bytes:
    """Two tables of contents that each say that it is in the other."""
    del kit

    def seek_head(position: int) -> bytes:
        name, at = (
            element(0x53AB, b"\x11\x4d\x9b\x74"),
            element(0x53AC, position.to_bytes(8, "big")),
        )
        return element(0x114D9B74, element(0x4DBB, name + at))

    length = len(seek_head(0))
    return matroska(
        seek_head(length), seek_head(0), *(seek_head(n) for n in range(0, 20 * length, 7))
    )


def _endless_elements(kit: Kit) -> bytes:
    """Elements of unknown size in each other."""
    del kit
    clusters = b"".join(bytes.fromhex("1f43b675") + b"\x01" + b"\xff" * 7 for _ in range(20_000))
    return matroska(clusters, unknown=True)


def _cut(name: str, part: float) -> Callable[[Kit], bytes]:
    def make(kit: Kit) -> bytes:
        data = kit.film(name)
        return data[: int(len(data) * part)]

    return make


def _flipped(name: str, seed: int, share: float) -> Callable[[Kit], bytes]:
    def make(kit: Kit) -> bytes:
        chance = random.Random(seed)
        data = bytearray(kit.film(name))
        for _ in range(int(len(data) * share) + 1):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        return bytes(data)

    return make


def _polyglot(kit: Kit) -> bytes:
    """A film that is a document, too."""
    page = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
    return kit.film() + page


def _picture(form: str) -> Callable[[Kit], bytes]:
    def make(kit: Kit) -> bytes:
        return kit.film(f"picture.{form}", "-an", "-frames:v", "2" if form == "gif" else "1")

    return make


def _recursive_metadata(kit: Kit) -> bytes:
    """Objects in objects in the header of a Flash video."""
    del kit
    deep = b"\x03\0\x01a" * 50_000
    script = b"\x02\0\x0aonMetaData\x08\0\0\0\x01\0\x01a" + deep
    tag = b"\x12" + len(script).to_bytes(3, "big") + bytes(7) + script
    return b"FLV\x01\x05\0\0\0\x09\0\0\0\0" + tag + len(tag).to_bytes(4, "big")


_TOO_MUCH = ("too_large", *NO_MEDIA)
_TOO_LONG = ("too_long", "implausible_header", *NO_MEDIA)
_CROWD = ("too_many_streams", *NO_MEDIA)

_HIDERS = [
    Hostile("dref-url.mov", "samples at an address", _external_data(b"url "), DAMAGED),
    Hostile("dref-alias.mov", "samples in a local file", _external_data(b"alis"), DAMAGED),
    Hostile("frames.mkv", "playlist as the frames of an MKV", _playlist_frames, DAMAGED),
    Hostile("attached.mkv", "playlist attached to an MKV", _attachment, DAMAGED),
    Hostile("linked.mkv", "segment linked to a local file", _linked_segments),
]
_CLAIMS = [
    Hostile("huge.mp4", "claims 65535x65535 (H.264)", _huge, ("ready", *_TOO_MUCH)),
    Hostile("huge.mkv", "claims 65535x65535 (raw)", _huge_raw, _TOO_MUCH),
    Hostile(
        "billion.mp4",
        "claims a thousand million frames",
        _billion_frames,
        ("ready", *_TOO_LONG),
    ),
    Hostile(
        "index-4g.mp4",
        "an index of 4 GB from 20 bytes",
        _index_bomb(170_000_000),
        (*DAMAGED, *_TOO_LONG),
    ),
    Hostile(
        "index-2g.mp4",
        "an index of 2 GB from 20 bytes",
        _index_bomb(80_000_000),
        (*DAMAGED, *_TOO_LONG),
    ),
    Hostile("hours.mp4", "11 hours in some kilobytes", _long_frame(39_600), _TOO_LONG),
    Hostile(
        "hours-2.mp4",
        "the same, told only by the table of times",
        _long_frame(39_600),
        ("ready", *_TOO_LONG),
    ),
    Hostile(
        "gap.mkv",
        "says 1 s, delivers 11 hours",
        _gap(39_600, told=1.0),
        (*DAMAGED, *_TOO_LONG),
        "cut_off",
    ),
    Hostile(
        "gap-untold.mkv",
        "says nothing, delivers 11 hours",
        _gap(39_600, told=None),
        (*DAMAGED, *_TOO_LONG),
    ),
    Hostile("gap-told.mkv", "says and delivers 11 hours", _gap(39_600, told=39_601.0), _TOO_LONG),
    Hostile("slow.wav", "one sample a second for 11 hours", _slow_sound, (*DAMAGED, *_TOO_LONG)),
    Hostile("wild.wav", "1000 channels at 2 GHz", _wild_sound, DAMAGED),
]
_BOMBS = [
    Hostile(
        "bomb.mkv",
        "pictures of 16384x16384, 280 KB each",
        _bomb(b"MPNG", lambda: png(16384, 16384)),
        (*DAMAGED, *_TOO_MUCH),
    ),
    Hostile(
        "bomb-later.mkv",
        "the same, after a small first picture",
        _bomb(b"MPNG", lambda: png(16384, 16384), small=png(320, 180)),
        DAMAGED,
    ),
    Hostile(
        "bomb-65535.mkv",
        "65535 columns and 4096 rows",
        _bomb(b"MPNG", lambda: png(65535, 4096)),
        (*DAMAGED, *_TOO_MUCH),
    ),
    Hostile(
        "cmov.mp4",
        "an index that unpacks to 900 MB",
        _packed_index(900_000_000, atom(b"free", bytes(300_000_000))),
    ),
    Hostile(
        "cmov-lie.mp4", "a packed index that claims 4 GB", _packed_index(0xFFFFFFF0, bytes(1000))
    ),
]
_CROWDS = [
    Hostile("traks.mp4", "5000 tracks", _many_traks(5000), _CROWD),
    Hostile("tracks.mkv", "5000 tracks", _many_entries(5000), _CROWD),
    Hostile(
        "programs.ts",
        "thousands of streams",
        lambda kit: transport_stream(40, 100),
        (*DAMAGED, *_CROWD),
    ),
    Hostile(
        "programs-2.ts",
        "hundreds of programs",
        lambda kit: transport_stream(250, 10),
        (*DAMAGED, *_CROWD),
    ),
]
_LOOPS = [
    Hostile("nested.mp4", "10,000 boxes in each other", _nested(b"moov", 10_000)),
    Hostile("nested-udta.mp4", "10,000 other boxes in each other", _nested(b"udta", 10_000)),
    Hostile("size-zero.mp4", "an index without end", _sized(0), DAMAGED),
    Hostile("size-one.mp4", "an index of less than its header", _sized(4), DAMAGED),
    Hostile("size-wide.mp4", "an index of 2^63 bytes", _sized(1, 2**63 - 1), DAMAGED),
    Hostile("size-back.mp4", "an index of -8 bytes", _sized(1, 2**64 - 8), DAMAGED),
    Hostile("circle.mkv", "tables of contents in a circle", _circular_seek_heads),
    Hostile("endless.mkv", "20,000 elements of unknown size", _endless_elements),
    Hostile("deep.flv", "50,000 objects in each other", _recursive_metadata),
]
_DAMAGES = [
    Hostile(
        f"cut-{part:g}-{name}",
        f"cut off at {part:.0%}",
        _cut(name, part),
        (*DAMAGED, "too_long"),
    )
    for name in ("film.mp4", "film.mov", "film.mkv", "film.ts", "film.avi", "film.webm", "film.flv")
    for part in (0.01, 0.1, 0.5, 0.9, 0.99)
] + [
    Hostile(
        f"flipped-{share:g}-{name}",
        f"{share:.1%} of the bytes flipped",
        _flipped(name, 7, share),
        (*DAMAGED, "too_long", "too_large"),
    )
    for name in ("film.mp4", "film.mkv", "film.ts", "film.avi")
    for share in (0.001, 0.01, 0.1)
]
_STRANGERS = [
    Hostile("polyglot.mp4", "a film that is a PDF, too", _polyglot, ("ready",)),
    Hostile("random.mp4", "random bytes", lambda kit: random.Random(1).randbytes(100_000)),
    Hostile("zeros.mp4", "zeros", lambda kit: bytes(1_000_000), DAMAGED),
    Hostile("one.mp4", "one byte", lambda kit: b"\0"),
    *(
        Hostile(f"picture-{form}.mp4", f"a picture ({form})", _picture(form))
        for form in ("png", "gif", "jpg", "webp", "apng", "bmp")
    ),
]

FILES: tuple[Hostile, ...] = (
    *_playlists(), *_HIDERS, *_CLAIMS, *_BOMBS, *_CROWDS, *_LOOPS, *_DAMAGES, *_STRANGERS
)  # fmt: skip

#: One of each kind, for when there is no time for all.
FEW: tuple[Hostile, ...] = tuple(
    file
    for file in FILES
    if file.name
    in {
        *("hls-file-a.mp4", "hls-address-a.mp4", "concat-file-a.mp4", "concat-address-a.mp4"),
        *("sdp-address-a.mp4", "dash-file-a.mp4", "dref-alias.mov", "frames.mkv"),
        *("huge.mp4", "huge.mkv", "index-2g.mp4", "hours.mp4", "gap.mkv", "bomb-later.mkv"),
        *("cmov.mp4", "traks.mp4", "programs.ts", "nested.mp4", "size-back.mp4", "circle.mkv"),
        "deep.flv",
    }
)

"""What a process may reach, told from its arguments."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from media import libraries
from media.box import Box, box_for
from media.libraries import needed_by

PROGRAM = Path("/opt/ffmpeg")


def box(source: str, *more: str) -> Box:
    return box_for(PROGRAM, (*more, "-i", source, "-f", "null", "pipe:3"))


@pytest.mark.parametrize(
    ("source", "ports", "resolves"),
    [
        ("http://127.0.0.1:8333/bucket/film?X-Amz-Signature=abc", (8333,), False),
        ("http://10.0.0.7/film", (80,), False),
        ("http://[::1]/film", (80,), False),
        ("http://s3.example/film", (80, 53), True),
        ("http://localhost:8333/film", (8333, 53), True),
        ("/films/film.mp4", (), False),
        ("testsrc2=size=160x120:rate=25", (), False),
    ],
)
def test_network(source: str, ports: tuple[int, ...], resolves: bool) -> None:
    found = box(source)
    assert (found.ports, found.resolves) == (ports, resolves)
    assert ("/etc/resolv.conf" in found.reads) == resolves


def test_files() -> None:
    assert "/films/film.mp4" in box("/films/film.mp4").reads
    assert not [path for path in box("testsrc2=size=160x120").reads if "testsrc" in path]
    assert box("/films/film.mp4").executes == (str(PROGRAM),)
    assert box("/films/film.mp4").writes == ()
    assert box_for(PROGRAM, (), scratch=Path("/scratch")).writes == ("/scratch",)


def test_libraries_of_what_is_no_program(tmp_path: Path) -> None:
    for content in (b"", b"#!/bin/sh\n", b"\x7fELF\x02\x01" + b"\xff" * 10):
        (tmp_path / f"{len(content)}").write_bytes(content)
        found = needed_by(tmp_path / f"{len(content)}")
        assert (found.loader, found.folders) == ((), ())
    assert needed_by(tmp_path / "none").folders == ()


def elf(*, wide: bool, order: str) -> bytes:
    """A header, a program header of another kind, and one that names a loader; see elf(5)."""
    word, size, entry = ("Q", 64, 56) if wide else ("I", 52, 32)
    ident = (b"\x7fELF" + bytes((2 if wide else 1, 1 + "<>".index(order), 1))).ljust(16, b"\0")
    head = struct.pack(f"{order}HHI3{word}I6H", 2, 62, 1, 0, size, 0, 0, size, entry, 2, 0, 0, 0)
    name, kind = b"/lib/ld-other.so.1\0", (3, 4) if wide else (3,)
    place = (size + 2 * entry, 0, 0, len(name))
    names = struct.pack(f"{order}{len(kind)}I4{word}", *kind, *place)
    other = struct.pack(f"{order}I", 6)
    return ident + head + other.ljust(entry, b"\0") + names.ljust(entry, b"\0") + name


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("wide", [True, False])
def test_a_loader_is_found_in_every_kind_of_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide: bool, order: str
) -> None:
    monkeypatch.setattr(libraries, "_folders", lambda loader, program: ("/lib",))
    (tmp_path / "ffmpeg").write_bytes(elf(wide=wide, order=order))
    found = needed_by(tmp_path / "ffmpeg")
    assert (found.loader, found.folders) == (("/lib/ld-other.so.1",), ("/lib",))


def test_a_look_that_failed_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a moment without memory would last as long as the worker."""
    looks = 0

    def folders(loader: str, program: Path) -> tuple[str, ...]:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise OSError(12, "Cannot allocate memory")
        return ("/lib",)

    monkeypatch.setattr(libraries, "_folders", folders)
    (tmp_path / "ffmpeg").write_bytes(elf(wide=True, order="<"))
    with pytest.raises(OSError, match="memory"):
        needed_by(tmp_path / "ffmpeg")
    assert [needed_by(tmp_path / "ffmpeg").folders for _ in range(2)] == [("/lib",)] * 2
    assert looks == 2

"""Where a program's loader and shared libraries are, so that its box can hold them.

A build from conda, Homebrew or Nix keeps them in places of its own. They are asked of the loader
once for each program; a static program needs none.
"""

from __future__ import annotations

import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FOUND: Final = re.compile(r"^\s*(?:\S+ => )?(/.+) \(0x[0-9a-f]+\)$", re.MULTILINE)
#: Seconds; it takes a few milliseconds.
_TIMEOUT: Final = 10.0

_ELF: Final = b"\x7fELF"
_PT_INTERP: Final = 3

#: What was found; not what was not, since a machine short of something has more of it later.
_KNOWN: Final[dict[Path, Libraries]] = {}


@dataclass(frozen=True, slots=True)
class Libraries:
    """The loader, if there is one, and the folders of the libraries that it finds."""

    loader: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def needed_by(program: Path) -> Libraries:
    """What ``program`` is loaded from; nothing for what is no ELF file or is linked statically.

    Raises :class:`OSError` or :class:`subprocess.SubprocessError` where it cannot be found out.
    """
    if program not in _KNOWN:
        try:
            loader = _loader(program)
        except (FileNotFoundError, struct.error, ValueError, OverflowError):
            return Libraries()
        found = () if loader is None else ((loader,), _folders(loader, program))
        _KNOWN[program] = Libraries(*found)
    return _KNOWN[program]


def _loader(program: Path) -> str | None:
    """The program's ``PT_INTERP``; see elf(5)."""
    with program.open("rb") as file:
        head = file.read(64)
        if not head.startswith(_ELF):
            return None
        wide, order = head[4:5] == b"\x02", ">" if head[5:6] == b"\x02" else "<"
        (table,) = struct.unpack_from(order + ("Q" if wide else "I"), head, 32 if wide else 28)
        size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
        entry = struct.Struct(order + ("IIQQQQ" if wide else "IIIII"))
        for number in range(count):
            file.seek(table + number * size)
            kind, *rest = entry.unpack(file.read(entry.size))
            if kind == _PT_INTERP:
                file.seek(rest[1] if wide else rest[0])
                return file.read(rest[4] if wide else rest[3]).rstrip(b"\0").decode()
    return None


def _folders(loader: str, program: Path) -> tuple[str, ...]:
    """The loader of glibc and that of musl both list what they would load, without running it."""
    asked = (loader, "--list", str(program))
    told = subprocess.run(asked, capture_output=True, timeout=_TIMEOUT, env={}, check=True)
    found = _FOUND.findall(told.stdout.decode("utf-8", "replace"))
    return tuple(dict.fromkeys(str(Path(path).resolve().parent) for path in found))

"""Which of its boxes a media process is really in on this machine.

Found out by a child that is started as ffmpeg is, and tries what it should not be able to do: a
kernel may lack a box, or a container's own rules may forbid to put it on.
"""

from __future__ import annotations

import json
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from media import landlock
from media.execute import Job, execute

_TRIAL: Final = Path(__file__).with_name("trial.py")
#: Seconds; it takes a tenth.
_DEADLINE: Final = 20.0
#: TCP port 1 (tcpmux), at which nobody listens, and 9, which the child's box leaves open.
_SHUT, _OPEN = 1, 9

#: What to do about a program that :func:`check_program` refuses.
NO_SCRIPT: Final = (
    "Name the program itself, not a script that starts it, by a path that every user may read."
)

_LINUX: Final = "Run workers on Linux."
_KERNEL: Final = (
    "Take Linux 6.12 or later with landlock in its list of security modules (the kernel option "
    "lsm=), and a container runtime whose seccomp profile lets it through (Docker 23 or later)."
)

_SECCOMP: Final = (
    "Take Linux on x86-64 or arm64, and a container runtime that lets a process filter its own "
    "system calls."
)


@dataclass(frozen=True, slots=True)
class BoxState:
    """One box, tried. ``fix`` says what to do where it is off."""

    name: str
    on: bool
    found: str
    fix: str = ""


def boxes() -> tuple[BoxState, ...]:
    """Each box, whether it is on, and what to do if not. Raises :class:`MediaError`."""
    held, version = _tried(), landlock.abi()
    told = (
        ("limits", "limits", "processor, memory, files, no core dumps", _LINUX),
        ("parent", "parent", "ends with its worker, however that ends", _LINUX),
        ("no new rights", "no_new_privs", "set-user-id programs give it none", _LINUX),
        ("capabilities", "capabilities", "none, even as root", "Do not run workers as root."),
        ("landlock", "files", f"ABI {version}: reads its source, writes nothing", _KERNEL),
        ("network", "ports", "connects to its source's port alone", _KERNEL),
        ("signals", "scopes", "reaches no other process by signal or abstract socket", _KERNEL),
        ("seccomp", "calls", "no UDP but for names, no listening, no new processes", _SECCOMP),
    )
    held["scopes"] = held["files"] and version >= landlock.SCOPES_SINCE
    off = {_KERNEL: f"off: this kernel has Landlock ABI {version}" if version else "off"}
    return tuple(
        BoxState(name, True, found)
        if held.get(key)
        else BoxState(name, False, off.get(fix, "off"), fix)
        for name, key, found, fix in told
    )


def check_program(program: Path) -> None:
    """Run ``program`` in its boxes. Raises :class:`MediaError` if they do not let it start."""
    execute(Job(program=program, arguments=("-version",), sinks={}, deadline=_DEADLINE))


def _tried() -> dict[str, bool]:
    answer = bytearray()
    source = f"http://127.0.0.1:{_OPEN}/"
    arguments = ("-I", "-S", str(_TRIAL), "sink:answer", str(_SHUT), "-i", source)
    execute(
        Job(
            program=Path(sys.executable).resolve(),
            arguments=arguments,
            sinks={"answer": answer.extend},
            deadline=_DEADLINE,
            reads=(_TRIAL, *_of_the_interpreter()),
        )
    )
    found: dict[str, bool] = json.loads(answer)
    return found


def _of_the_interpreter() -> tuple[Path, ...]:
    """What this Python is started from, which is not to be had without a look at much of it."""
    names = ("stdlib", "platstdlib")
    return Path(sys.base_prefix) / "lib", *(Path(sysconfig.get_path(name)) for name in names)

"""Stands in for ffmpeg, and tries what its boxes should forbid. Run by :mod:`media.boxes`.

``python -I -S trial.py pipe:N PORT`` writes its findings to descriptor N as JSON. ``PORT`` has
nobody listening at it.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import socket
import struct
import sys
from collections.abc import Callable

# linux/prctl.h
_PR_GET_PDEATHSIG, _PR_GET_NO_NEW_PRIVS = 2, 39
_CAPABILITY_VERSION = 0x20080522  # linux/capability.h


def findings(port: int) -> dict[str, bool]:
    """What held, by name."""
    return {
        "files": _fails(lambda: os.scandir("/"), errno.EACCES),
        "ports": _fails(lambda: socket.create_connection(("127.0.0.1", port), 5), errno.EACCES),
        "calls": _fails(lambda: socket.socket(socket.AF_UNIX), errno.EPERM),
        "limits": resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
        and resource.getrlimit(resource.RLIMIT_FSIZE) == (0, 0),
        "capabilities": os.geteuid() != 0,
        **(_linux() if sys.platform == "linux" else {}),
    }


def _linux() -> dict[str, bool]:
    libc, number = ctypes.CDLL(None), ctypes.c_int(0)
    libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(number))
    return {
        "parent": number.value == 9,
        "no_new_privs": libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1,
        "capabilities": not any(_capabilities(libc)),
    }


def _capabilities(libc: ctypes.CDLL) -> bytes:
    """The effective, the permitted and the inheritable ones, as they are now."""
    sets = ctypes.create_string_buffer(b"\xff" * 24, 24)
    libc.capget(struct.pack("Ii", _CAPABILITY_VERSION, 0), sets)
    return sets.raw


def _fails(attempt: Callable[[], object], number: int) -> bool:
    try:
        attempt()
    except OSError as error:
        return error.errno == number
    return False


def main(sink: str, port: str, *_: str) -> None:
    """Write the findings."""
    os.write(int(sink.removeprefix("pipe:")), json.dumps(findings(int(port))).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])

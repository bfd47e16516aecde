"""Landlock (Linux 5.13 and later): files, TCP ports and signals that a process may use.

It needs no privilege, cannot be taken off again, and outlives ``execve``. Each newer version of
its interface (ABI) rules over more; what this kernel does not know is left out. Numbers from
linux/landlock.h. The system calls have no wrapper in libc, and have the same numbers everywhere.

This runs in the child before ffmpeg: standard library only, and as little of it as will do.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

TYPE_CHECKING = False  # importing anything else is paid for at every start of ffmpeg
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = (1 << n for n in range(4))
_REMOVE_DIR, _REMOVE_FILE = 1 << 4, 1 << 5
_MAKE_DIR, _MAKE_FILE = 1 << 7, 1 << 8
_TRUNCATE = 1 << 14

#: Rights over files that are withheld, by the ABI that first knows them: the first thirteen, then
#: moving between folders, truncating, and ioctl on devices.
_FILE_RIGHTS = ((1, (1 << 13) - 1), (2, 1 << 13), (3, _TRUNCATE), (5, 1 << 15))
_BIND, _CONNECT = 1, 2
_NET_SINCE = 4
#: Abstract unix sockets of others, and signals to others.
_SCOPES, SCOPES_SINCE = 3, 6

_IOCTL_DEVICE = 1 << 15

_READS = _READ_FILE | _READ_DIR
#: A driver is spoken to by opening its node to read and write, and by ioctl.
_DRIVES = _READ_FILE | _WRITE_FILE | _IOCTL_DEVICE
_WRITES = (
    _READS | _WRITE_FILE | _TRUNCATE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_FILE
)  # fmt: skip
#: All else is for folders only, and refused for a file.
_OF_A_FILE = _EXECUTE | _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEVICE

_LIBC = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """The interface's version; 0 where the kernel has no Landlock or it is switched off."""
    if sys.platform != "linux":
        return 0
    try:
        return _call(_CREATE_RULESET, None, 0, _ASK_VERSION)
    except OSError:
        return 0


def restrict(
    *,
    reads: Sequence[str],
    executes: Sequence[str],
    writes: Sequence[str],
    ports: Sequence[int],
    devices: Sequence[str] = (),
) -> None:
    """Leave this process, and what it becomes, these files and folders, and connects to ports.

    A path that cannot be had stays forbidden. ``ports`` are TCP ports of any host, ``devices``
    the nodes of drivers that may be spoken to. Raises
    :class:`OSError` where the kernel refuses; does nothing where it has no Landlock.
    """
    version = abi()
    if version == 0:
        return
    handled = sum(rights for since, rights in _FILE_RIGHTS if since <= version)
    ruleset = _ruleset(version, handled)
    try:
        _allow_paths(ruleset, reads, _READS & handled)
        _allow_paths(ruleset, executes, (_EXECUTE | _READ_FILE) & handled)
        _allow_paths(ruleset, writes, _WRITES & handled)
        _allow_paths(ruleset, devices, _DRIVES & handled)
        if version >= _NET_SINCE:
            _allow_ports(ruleset, ports)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _ruleset(version: int, handled: int) -> int:
    fields = [handled]
    if version >= _NET_SINCE:
        fields.append(_BIND | _CONNECT)
    if version >= SCOPES_SINCE:
        fields.append(_SCOPES)
    attributes = struct.pack(f"{len(fields)}Q", *fields)
    return _call(_CREATE_RULESET, attributes, len(attributes), 0)


def _allow_paths(ruleset: int, paths: Iterable[str], rights: int) -> None:
    for path in paths:
        try:
            _allow(ruleset, path, rights)
        except OSError:
            continue


def _allow_ports(ruleset: int, ports: Iterable[int]) -> None:
    for port in ports:
        try:
            _call(_ADD_RULE, ruleset, _NET_PORT, struct.pack("QQ", _CONNECT, port), 0)
        except OSError:
            continue


def _allow(ruleset: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        is_folder = os.fstat(place).st_mode & 0o170000 == 0o040000
        allowed = rights if is_folder else rights & _OF_A_FILE
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", allowed, place), 0)
    finally:
        os.close(place)


def _call(number: int, *arguments: int | bytes | None) -> int:
    wide = (ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)
    result = int(_LIBC.syscall(ctypes.c_long(number), *wide))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result

# ruff: noqa: PTH101, PTH102, PTH104, PTH118, PTH123, PTH208
"""Stands in for an ffmpeg that a hostile file has taken over: tries everything, and tells.

``python -I -S attacker.py pipe:N TARGETS …`` writes to descriptor N, as JSON, what became of each
attempt: null where it succeeded, else the error. ``TARGETS`` is JSON; see ``Targets`` in
``tests/integration/test_media_boxes.py``. Nothing is harmed by a success.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import platform
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE, PTRACE_DETACH = 0x4206, 17
MSG_FASTOPEN = 0x20000000
IPPROTO_MPTCP = 262
CLONE_NEWUSER = 0x10000000
MQ_UNLINK = {"x86_64": 241, "aarch64": 181}.get(platform.machine(), -1)
F_SETSIG, F_SETOWN_EX, FIOSETOWN = 10, 15, 0x8901
KEYCTL = {"x86_64": 250, "aarch64": 219}.get(platform.machine(), -1)
IO_URING_SETUP = 425
NULL_POINTER = (14, 22)  # EFAULT, EINVAL: the call is there, and did not like its arguments


def main(sink: str, targets: str, *_: str) -> None:
    told = json.dumps({"attempts": attempts(json.loads(targets)), "seen": seen()})
    os.write(int(sink.removeprefix("pipe:")), told.encode())


def seen() -> dict[str, Any]:
    """What was inherited."""
    return {"environment": dict(os.environ), "descriptors": descriptors()}


def descriptors() -> list[int]:
    def is_open(fd: int) -> bool:
        with suppress(OSError):
            os.fstat(fd)
            return True
        return False

    return [fd for fd in range(256) if is_open(fd)]


def attempts(to: dict[str, Any]) -> dict[str, str | None]:
    canary, folder = to["canary"], to["folder"]
    made = os.path.join(folder, f"made-{os.getpid()}")
    return {name: outcome(attempt) for name, attempt in {
        "connect to the source": lambda: connect(to["source"]),
        "read a file": lambda: open(canary).read(),
        "list a folder": lambda: os.listdir(folder),
        "read the worker's environment": lambda: open(f"/proc/{os.getppid()}/environ").read(),
        "write a file": lambda: write(made),
        "make an empty file": lambda: os.close(os.open(made, os.O_CREAT | os.O_WRONLY)),
        "empty a file": lambda: os.truncate(canary, 0),
        "make a folder": lambda: os.mkdir(made + ".d"),
        "rename a file": lambda: os.rename(to["spare"], to["spare"] + ".new"),
        "change rights": lambda: os.chmod(canary, 0o600),
        "change times": lambda: os.utime(canary),
        "connect to another port": lambda: connect(to["other"]),
        "connect by fast open": lambda: fast_open(to["other"]),
        "connect by multipath": lambda: connect(to["other"], IPPROTO_MPTCP),
        "bind a port": lambda: bind(socket.SOCK_STREAM),
        "listen without bind": listen,
        "send a datagram": lambda: datagram(to["other"]),
        "open a unix socket": lambda: unix(to["unix"]),
        "open an abstract socket": lambda: unix("\0" + to["abstract"]),
        "open netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
        "open a raw socket": lambda: socket.socket(type=socket.SOCK_RAW, proto=1).close(),
        "signal the worker": lambda: os.kill(os.getppid(), 0),
        "signal its threads": lambda: call("tgkill", os.getppid(), os.getppid(), 0),
        "signal through a pipe": lambda: own(fcntl.F_SETOWN, to["victim"]),
        "signal a thread through a pipe": lambda: own(
            F_SETOWN_EX, struct.pack("ii", 1, to["victim"])
        ),
        "choose a pipe's signal": lambda: own(F_SETSIG, signal.SIGKILL),
        "signal through a socket": lambda: own_socket(to["victim"]),
        "trace a process": lambda: trace(to["victim"]),
        "limit the worker": lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE),
        "slow the worker down": lambda: slow_down(os.getppid()),
        "tie the worker to a processor": lambda: tie(os.getppid()),
        "outlive the worker": lambda: call("prctl", 1, signal.SIGKILL, 0, 0, 0),
        "start a process": fork,
        "share memory": lambda: call("shmctl", call("shmget", 0, 4096, 0o600), 0, None),
        "reach others' shared memory": lambda: is_there(lambda: call("shmat", -1, None, 0)),
        "reach others' messages": lambda: is_there(lambda: call("msgctl", -1, 2, None)),
        "reach others' semaphores": lambda: is_there(lambda: call("semop", -1, None, 1)),
        "remove a message queue": lambda: system_call_exists(MQ_UNLINK),
        "use a keyring": lambda: call("syscall", KEYCTL, 0, -3, 0),
        "use io_uring": lambda: system_call_exists(IO_URING_SETUP),
        "make a namespace": lambda: call("unshare", CLONE_NEWUSER),
    }.items()}  # fmt: skip


def outcome(attempt: Callable[[], object]) -> str | None:
    try:
        attempt()
    except OSError as error:
        return str(error)
    return None


def write(path: str) -> None:
    file = os.open(path, os.O_CREAT | os.O_WRONLY)
    try:
        os.write(file, b"bytes")
    finally:
        os.close(file)


def connect(port: int, protocol: int = 0) -> None:
    with closing(socket.socket(proto=protocol)) as made:
        made.settimeout(5)
        made.connect(("127.0.0.1", port))


def fast_open(port: int) -> None:
    with closing(socket.socket()) as made:
        made.sendto(b"bytes", MSG_FASTOPEN, ("127.0.0.1", port))


def datagram(port: int) -> None:
    with closing(socket.socket(type=socket.SOCK_DGRAM)) as made:
        made.sendto(b"bytes", ("127.0.0.1", port))


def bind(kind: int) -> None:
    with closing(socket.socket(type=kind)) as made:
        made.bind(("127.0.0.1", 0))


def listen() -> None:
    with closing(socket.socket()) as made:
        made.listen()


def unix(address: str) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as made:
        made.connect(address)


def slow_down(process: int) -> None:
    os.setpriority(os.PRIO_PROCESS, process, os.getpriority(os.PRIO_PROCESS, process))


def own(command: int, argument: Any) -> None:
    """Say whom the kernel signals, and how, when a pipe can be read."""
    reading, writing = os.pipe()
    try:
        fcntl.fcntl(reading, command, argument)
    finally:
        os.close(reading)
        os.close(writing)


def own_socket(victim: int) -> None:
    with closing(socket.socket()) as made:
        fcntl.ioctl(made, FIOSETOWN, struct.pack("i", victim))


def tie(process: int) -> None:
    os.sched_setaffinity(process, os.sched_getaffinity(process))


def trace(victim: int) -> None:
    LIBC.ptrace.argtypes = [ctypes.c_long] * 2 + [ctypes.c_void_p] * 2
    call("ptrace", PTRACE_SEIZE, victim, None, None)


def fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def call(name: str, *arguments: Any) -> int:
    result = int(getattr(LIBC, name)(*arguments))
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def system_call_exists(number: int) -> None:
    is_there(lambda: call("syscall", number, 0, None))


def is_there(attempt: Callable[[], object]) -> None:
    try:
        attempt()
    except OSError as error:
        if error.errno not in NULL_POINTER:
            raise


if __name__ == "__main__":
    main(*sys.argv[1:])

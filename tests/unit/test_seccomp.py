"""The filter's program, run as the kernel runs it: for the machine that is not here as well."""

from __future__ import annotations

import struct

import pytest

from media.seccomp import program

PID = 4711
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
KILL, REFUSE, UNKNOWN, ALLOW = 0x8000_0000, 0x0005_0001, 0x0005_0026, 0x7FFF_0000

#: By name, on both machines; from asm/unistd_64.h and asm-generic/unistd.h.
NUMBERS = {
    "read": (0, 63),
    "openat": (257, 56),
    "mmap": (9, 222),
    "futex": (202, 98),
    "execve": (59, 221),
    "exit_group": (231, 94),
    "connect": (42, 203),
    "socket": (41, 198),
    "bind": (49, 200),
    "listen": (50, 201),
    "sendto": (44, 206),
    "clone": (56, 220),
    "clone3": (435, 435),
    "ptrace": (101, 117),
    "kill": (62, 129),
    "tgkill": (234, 131),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "unlinkat": (263, 35),
    "fchmodat": (268, 53),
    "shmctl": (31, 195),
    "msgctl": (71, 187),
    "semop": (65, 193),
    "mq_unlink": (241, 181),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
    "sched_setaffinity": (203, 122),
    "sched_getaffinity": (204, 123),
    "bpf": (321, 280),
    "mount": (165, 40),
    "io_uring_setup": (425, 425),
}


def verdict(
    machine: str, name: str, *arguments: int, audit: int | None = None, **rules: bool
) -> int:
    """What the kernel does about a system call; see its net/core/filter.c."""
    given = {"connects": False, "resolves": False, "writes": False} | rules
    code = [struct.unpack("HBBI", step) for step in program(machine, pid=PID, **given)]
    number = NUMBERS[name][list(AUDIT).index(machine)]
    wide = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<IIQ6Q", number, audit or AUDIT[machine], 0, *wide)
    accumulator, at = 0, 0
    while True:
        operation, if_so, if_not, value = code[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x15:
                at += if_so if accumulator == value else if_not
            case 0x35:
                at += if_so if accumulator >= value else if_not
            case 0x45:
                at += if_so if accumulator & value else if_not
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(operation)


@pytest.fixture(params=AUDIT)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("name", ["read", "mmap", "futex", "execve", "exit_group", "connect"])
def test_what_every_program_does(machine: str, name: str) -> None:
    assert verdict(machine, name) == ALLOW


@pytest.mark.parametrize(
    "name",
    [
        *("ptrace", "kill", "listen", "bpf", "mount", "fchmodat"),
        *("shmctl", "msgctl", "semop", "mq_unlink"),
    ],
)
def test_what_no_film_needs(machine: str, name: str) -> None:
    assert verdict(machine, name, connects=True, resolves=True, writes=True) == REFUSE


def test_calls_newer_than_the_list_are_unknown(machine: str) -> None:
    assert verdict(machine, "io_uring_setup") == verdict(machine, "clone3") == UNKNOWN


def test_calls_of_another_machine_end_the_process(machine: str) -> None:
    i386 = 0x40000003
    assert verdict(machine, "read", audit=i386) == KILL


def test_threads_but_no_processes(machine: str) -> None:
    assert verdict(machine, "clone", 0x3D0F00) == ALLOW  # as pthread_create has it
    assert verdict(machine, "clone", 17) == REFUSE  # as fork has it


STREAM, DATAGRAM, RAW = 1 | 0o2000000, 2, 3  # the first with SOCK_CLOEXEC
UNIX, IPV4, IPV6, NETLINK = 1, 2, 10, 16


@pytest.mark.parametrize("family", [IPV4, IPV6])
def test_sockets(machine: str, family: int) -> None:
    assert verdict(machine, "socket", family, STREAM) == REFUSE
    assert verdict(machine, "socket", family, STREAM, 6, connects=True) == ALLOW
    assert verdict(machine, "socket", family, STREAM, 262, connects=True) == REFUSE
    assert verdict(machine, "socket", family, DATAGRAM, connects=True) == REFUSE
    names = {"connects": True, "resolves": True}
    assert verdict(machine, "socket", family, DATAGRAM, 17, **names) == ALLOW
    assert verdict(machine, "socket", family, DATAGRAM, 1, **names) == REFUSE
    assert verdict(machine, "socket", family, RAW, **names) == REFUSE
    for other in (UNIX, NETLINK):
        assert verdict(machine, "socket", other, STREAM, **names) == REFUSE


def test_only_a_resolver_binds(machine: str) -> None:
    assert verdict(machine, "bind", connects=True) == REFUSE
    assert verdict(machine, "bind", connects=True, resolves=True) == ALLOW


def test_fast_open_would_connect_unseen(machine: str) -> None:
    assert verdict(machine, "sendto", 3, 0, 9, 0x4000) == ALLOW
    assert verdict(machine, "sendto", 3, 0, 9, 0x2000_4000) == REFUSE


def test_files_are_written_with_scratch_only(machine: str) -> None:
    read, write, create = 0o2000000, 0o2000001, 0o2000100
    assert verdict(machine, "openat", 0, 0, read) == ALLOW
    for flags in (write, create):
        assert verdict(machine, "openat", 0, 0, flags) == REFUSE
        assert verdict(machine, "openat", 0, 0, flags, writes=True) == ALLOW
    assert verdict(machine, "unlinkat") == REFUSE
    assert verdict(machine, "unlinkat", writes=True) == ALLOW


def test_only_itself(machine: str) -> None:
    assert verdict(machine, "tgkill", PID, PID, 6) == ALLOW
    assert verdict(machine, "tgkill", PID + 1, PID + 1, 6) == REFUSE
    assert verdict(machine, "prlimit64", 0) == verdict(machine, "prlimit64", PID) == ALLOW
    assert verdict(machine, "prlimit64", PID + 1) == REFUSE


def test_threads_are_tied_to_processors_of_its_own_alone(machine: str) -> None:
    assert verdict(machine, "sched_setaffinity", 0) == ALLOW
    assert verdict(machine, "sched_setaffinity", PID) == ALLOW
    assert verdict(machine, "sched_setaffinity", PID + 1) == REFUSE
    assert verdict(machine, "sched_getaffinity", PID + 1) == ALLOW


def test_no_descriptor_signals_anybody(machine: str) -> None:
    dupfd, setfd, getfl, setfl, setlk, cloexec, pipe_size = 0, 2, 3, 4, 6, 1030, 1031
    for command in (dupfd, setfd, getfl, setfl, setlk, cloexec, pipe_size):
        assert verdict(machine, "fcntl", 3, command) == ALLOW
    for command in (8, 10, 15):  # F_SETOWN, F_SETSIG, F_SETOWN_EX
        assert verdict(machine, "fcntl", 3, command) == REFUSE
    for command in (0x5413, 0x5421, 0x541B, 0x8905):  # window size, FIONBIO, FIONREAD, SIOCATMARK
        assert verdict(machine, "ioctl", 3, command) == ALLOW
    for command in (0x8901, 0x8902):  # FIOSETOWN, SIOCSPGRP
        assert verdict(machine, "ioctl", 3, command) == REFUSE


def test_it_stays_tied_to_its_parent(machine: str) -> None:
    pdeathsig, name = 1, 15
    assert verdict(machine, "prctl", pdeathsig, 0) == REFUSE
    assert verdict(machine, "prctl", name) == ALLOW

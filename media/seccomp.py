"""A seccomp filter: system calls that no film needs fail as if the kernel had none of them.

It closes what Landlock leaves open (raw and unix sockets, UDP, listening, other processes, the
attributes of files), keeps much of the kernel out of reach of a decoder that was taken over, and
is a second wall where a kernel has no Landlock. A list of what is refused, not of what is
allowed: it has to hold for any build of ffmpeg and any libc. What is refused fails with EPERM, so
that a libc which only tries goes on.

This runs in the child before ffmpeg: standard library only, and as little of it as will do.
"""

from __future__ import annotations

import ctypes
import os
import struct

TYPE_CHECKING = False  # importing anything else is paid for at every start of ffmpeg
if TYPE_CHECKING:
    from collections.abc import Sequence

#: From linux/audit.h; the column of the tables below; the number of seccomp(2).
_MACHINES = {"x86_64": (0xC000003E, 0, 317), "aarch64": (0xC00000B7, 1, 277)}

#: Name, number on x86-64 (asm/unistd_64.h) and on arm64 (asm-generic/unistd.h), - for none.
#: A system call that came with Linux 5.1 or later has a number from here on: all of those are
#: refused as unknown, and every libc knows how to do without (io_uring, pidfd, new mounts, clone3).
_NEWER = 424

_REFUSED = """
ptrace 101 117  process_vm_readv 310 270  process_vm_writev 311 271  kcmp 312 272
move_pages 279 239  migrate_pages 256 238  kill 62 129  tkill 200 130  rt_sigqueueinfo 129 138
rt_tgsigqueueinfo 297 240  setpriority 141 140  ioprio_set 251 30  sched_setparam 142 118
sched_setscheduler 144 119  sched_setattr 314 274

fork 57 -  vfork 58 -  execveat 322 281  unshare 272 97  setns 308 268  personality 135 92
bpf 321 280  perf_event_open 298 241  userfaultfd 323 282  keyctl 250 219  add_key 248 217
request_key 249 218  modify_ldt 154 -  iopl 172 -  ioperm 173 -  lookup_dcookie 212 18

mount 165 40  umount2 166 39  pivot_root 155 41  chroot 161 51  name_to_handle_at 303 264
open_by_handle_at 304 265  fanotify_init 300 262  inotify_add_watch 254 27  quotactl 179 60
acct 163 89  swapon 167 224  swapoff 168 225  kexec_load 246 104  kexec_file_load 320 294
init_module 175 105  finit_module 313 273  delete_module 176 106  reboot 169 142  syslog 103 116
sethostname 170 161  setdomainname 171 162  settimeofday 164 170  clock_settime 227 112
clock_adjtime 305 266  adjtimex 159 171  vhangup 153 58

listen 50 201  accept 43 202  accept4 288 242  socketpair 53 199
shmget 29 194  shmat 30 196  shmctl 31 195  semget 64 190  semop 65 193  semctl 66 191
semtimedop 220 192  msgget 68 186  msgsnd 69 189  msgrcv 70 188  msgctl 71 187  mq_open 240 180
mq_unlink 241 181

chmod 90 -  fchmod 91 52  fchmodat 268 53  chown 92 -  lchown 94 -  fchown 93 55
fchownat 260 54  utime 132 -  utimes 235 -  futimesat 261 -  utimensat 280 88  setxattr 188 5
lsetxattr 189 6  fsetxattr 190 7  removexattr 197 14  lremovexattr 198 15  fremovexattr 199 16
mknod 133 -  mknodat 259 33  link 86 -  linkat 265 37  symlink 88 -  symlinkat 266 36
"""

#: Where nothing may be written.
_WRITES = """
creat 85 -  mkdir 83 -  mkdirat 258 34  rename 82 -  renameat 264 38  renameat2 316 276
unlink 87 -  unlinkat 263 35  rmdir 84 -  truncate 76 45
"""

#: Looked at more closely.
_CLOSER = """
clone 56 220  socket 41 198  bind 49 200  sendto 44 206  sendmsg 46 211  sendmmsg 307 269
tgkill 234 131  prctl 157 167  prlimit64 302 261  open 2 -  openat 257 56  fcntl 72 25
ioctl 16 29  sched_setaffinity 203 122
"""

_KILL, _REFUSE, _UNKNOWN, _ALLOW = 0x8000_0000, 0x0005_0001, 0x0005_0026, 0x7FFF_0000
_LOAD, _AND, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06

_CLONE_THREAD = 0x1_0000
_STREAM, _DATAGRAM = 1, 2
_INTERNET = (2, 10)
_TCP, _UDP = (0, 6), (0, 17)
#: Connects without ``connect``, which Landlock would have seen.
_FASTOPEN = 0x2000_0000
_PR_SET_PDEATHSIG = 1
#: Whom the kernel signals when a descriptor is ready, and with what: F_SETOWN, F_SETSIG and
#: F_SETOWN_EX; FIOSETOWN and SIOCSPGRP.
_OWNER_BY_FCNTL, _OWNER_BY_IOCTL = (8, 10, 15), (0x8901, 0x8902)
#: O_WRONLY, O_RDWR, O_CREAT, O_TRUNC.
_OPEN_TO_WRITE = 0o1103
#: O_CREAT, O_TRUNC: what is refused where a device's node has to be opened to write.
_OPEN_TO_MAKE = 0o1100

#: Without this, kernels before 5.16 slow down every filtered process against Spectre.
_SPEC_ALLOW = 4


def restrict(*, connects: bool, resolves: bool, writes: bool, drives: bool = False) -> None:
    """Filter the system calls of this process, and of what it becomes, for good.

    ``connects``: TCP connections may be opened. ``resolves``: names are looked up, which takes
    UDP. ``writes``: files may be written. ``drives``: a driver's node is opened to write, so that
    it is left to Landlock and to the limit on files what may be. Needs no_new_privs. Raises
    :class:`OSError` where the kernel refuses; does nothing on machines whose numbers are not known.
    """
    machine = _MACHINES.get(os.uname().machine)
    if machine is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        return
    code = b"".join(
        program(
            os.uname().machine,
            pid=os.getpid(),
            connects=connects,
            resolves=resolves,
            writes=writes,
            drives=drives,
        )
    )
    buffer = ctypes.create_string_buffer(code, len(code))
    fprog = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(buffer))
    call = ctypes.CDLL(None, use_errno=True).syscall
    for flags in (_SPEC_ALLOW, 0):
        if call(ctypes.c_long(machine[2]), ctypes.c_long(1), ctypes.c_long(flags), fprog) == 0:
            return
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def program(
    machine: str, *, pid: int, connects: bool, resolves: bool, writes: bool, drives: bool = False
) -> list[bytes]:
    """The filter's instructions, each 8 bytes; see linux/filter.h and seccomp(2)."""
    audit, column, _ = _MACHINES[machine]
    numbers = _numbers(_CLOSER, column)
    refused = [*_numbers(_REFUSED, column).values()]
    closer = {
        "clone": [_argument(0), _jump(_ANY_BIT, _CLONE_THREAD, 1, 0), _end(_REFUSE), _end(_ALLOW)],
        "socket": _sockets(connects, resolves),
        "bind": [_end(_ALLOW if resolves else _REFUSE)],
        "sendto": _without(3, _FASTOPEN),
        "sendmsg": _without(2, _FASTOPEN),
        "sendmmsg": _without(3, _FASTOPEN),
        "tgkill": [_argument(0), *_one_of(pid), _end(_ALLOW)],
        "prctl": [_argument(0), *_none_of(_PR_SET_PDEATHSIG)],
        "prlimit64": [_argument(0), *_one_of(0, pid), _end(_ALLOW)],
        "sched_setaffinity": [_argument(0), *_one_of(0, pid), _end(_ALLOW)],
        "fcntl": [_argument(1), *_none_of(*_OWNER_BY_FCNTL)],
        "ioctl": [_argument(1), *_none_of(*_OWNER_BY_IOCTL)],
    }
    if not writes:
        refused += _numbers(_WRITES, column).values()
        bits = _OPEN_TO_MAKE if drives else _OPEN_TO_WRITE
        closer |= {"open": _without(1, bits), "openat": _without(2, bits)}
    steps = [_load(4), _jump(_EQUAL, audit, 1, 0), _end(_KILL)]
    steps += [_load(0), _jump(_AT_LEAST, _NEWER, 0, 1), _end(_UNKNOWN)]
    for number in refused:
        steps += _when(number, [_end(_REFUSE)])
    for name, block in closer.items():
        if name in numbers:
            steps += _when(numbers[name], block)
    return [*steps, _end(_ALLOW)]


def _numbers(table: str, column: int) -> dict[str, int]:
    words = table.split()
    pairs = zip(words[::3], words[1 + column :: 3], strict=True)
    return {name: int(number) for name, number in pairs if number != "-"}


def _sockets(connects: bool, resolves: bool) -> list[bytes]:
    if not connects:
        return [_end(_REFUSE)]
    family, kind = [_argument(0), *_one_of(*_INTERNET)], [_argument(1), _step(_AND, 0xF)]
    stream = [*_one_of(_STREAM), _argument(2), *_one_of(*_TCP), _end(_ALLOW)]
    if not resolves:
        return [*family, *kind, *stream]
    datagram = [_argument(2), *_one_of(*_UDP), _end(_ALLOW)]
    return [*family, *kind, _jump(_EQUAL, _DATAGRAM, 0, len(datagram)), *datagram, *stream]


def _without(argument: int, bits: int) -> list[bytes]:
    return [_argument(argument), _jump(_ANY_BIT, bits, 0, 1), _end(_REFUSE), _end(_ALLOW)]


def _one_of(*values: int) -> list[bytes]:
    """Go on with one of these in the accumulator, or refuse."""
    jumps = [_jump(_EQUAL, value, len(values) - n, 0) for n, value in enumerate(values)]
    return [*jumps, _end(_REFUSE)]


def _none_of(*values: int) -> list[bytes]:
    """Refuse one of these in the accumulator, and allow the rest."""
    jumps = [_jump(_EQUAL, value, len(values) - n, 0) for n, value in enumerate(values)]
    return [*jumps, _end(_ALLOW), _end(_REFUSE)]


def _when(number: int, block: Sequence[bytes]) -> list[bytes]:
    return [_jump(_EQUAL, number, 0, len(block)), *block]


def _argument(index: int) -> bytes:
    """Load the low half of an argument: all that are looked at are ``int``, or flags below 2³²."""
    return _load(16 + 8 * index)


def _load(offset: int) -> bytes:
    return _step(_LOAD, offset)


def _end(action: int) -> bytes:
    return _step(_RETURN, action)


def _step(code: int, value: int) -> bytes:
    return _jump(code, value, 0, 0)


def _jump(code: int, value: int, if_so: int, if_not: int) -> bytes:
    return struct.pack("HBBI", code, if_so, if_not, value)

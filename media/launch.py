"""Runs in the child: put it into its boxes, and become the media program.

Started as ``python -I -S`` instead of a ``preexec_fn``, which may deadlock in a process with
threads. Everything imported here is paid for at every start, so that nothing is that would bring
``re``, ``enum`` or ``functools`` along: ``json``, ``signal`` and ``contextlib`` do, and cost twice
what all the rest does.

A box that this kernel does not have is left out; ``media.boxes`` tells which are on.
"""

from __future__ import annotations

import ctypes
import marshal
import os
import resource
import struct
import sys
import time

from media import landlock, seccomp

TYPE_CHECKING = False  # importing it from typing costs more than all the boxes
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping
    from typing import Any

    Rules = Mapping[str, Any]
else:
    import _signal as signal  # the same numbers without their enumerations

# linux/prctl.h
_PR_SET_PDEATHSIG, _PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 23, 24, 38
_PR_CAP_AMBIENT, _CLEAR_ALL = 47, 4
_CAPABILITIES = 64
#: linux/capability.h: the version of the interface whose sets have two words.
_CAPABILITY_VERSION = 0x20080522

#: What the last byte written to the descriptor ``started`` says; see :mod:`media.spawn`.
STARTED, NOT_STARTED = b"+", b"-"

#: The kernel should take a decoder before it takes the worker (proc(5), oom_score_adj).
_OOM_SCORE = b"500"

#: What the kernel refuses one who asks too often, it grants a tenth of a second later.
_AUTOGROUP_TRIES, _AUTOGROUP_PAUSE = 3, 0.11

_LIBC = ctypes.CDLL(None, use_errno=True)


def _die_with_parent(rules: Rules) -> None:
    """Be killed when the thread that spawned us ends. The signal survives ``execve``."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != rules["parent"]:  # it died before the call above
        os._exit(125)


def _offer_to_oom_killer(_: Rules) -> None:
    score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
    os.write(score, _OOM_SCORE)
    os.close(score)


def _limit(rules: Rules) -> None:
    for name, value in rules["limits"].items():
        kind = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(kind)
        ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(kind, (ceiling, ceiling))
        except (ValueError, OSError):  # macOS knows no RLIMIT_AS
            continue


def _drop_capabilities(_: Rules) -> None:
    """A worker that is root should not start a decoder with what root may do beyond its files.

    An empty bounding set and no inheritable capability leave none to what is executed next; up to
    there this process keeps its own, by which a root of another's folder finds the program. Where
    the bounding set is not to be emptied, all go now: no new rights come with no_new_privs.
    """
    if sys.platform != "linux":
        return
    for capability in range(_CAPABILITIES):
        _prctl(_PR_CAPBSET_DROP, capability)
    _prctl(_PR_CAP_AMBIENT, _CLEAR_ALL)
    rest = any(_prctl(_PR_CAPBSET_READ, capability) == 1 for capability in range(_CAPABILITIES))
    header, sets = struct.pack("Ii", _CAPABILITY_VERSION, 0), ctypes.create_string_buffer(24)
    _LIBC.capget(header, sets)
    effective, permitted, _, effective_high, permitted_high, _ = struct.unpack("6I", sets.raw)
    kept = (effective, permitted, 0, effective_high, permitted_high, 0)
    if _LIBC.capset(header, struct.pack("6I", *((0,) * 6 if rest else kept))) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _gain_no_privileges(_: Rules) -> None:
    """No set-user-id program gives any; landlock and seccomp ask for this."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _landlock(rules: Rules) -> None:
    if sys.platform == "linux":
        landlock.restrict(
            reads=rules["reads"],
            executes=rules["executes"],
            writes=rules["writes"],
            ports=rules["ports"],
            devices=rules["devices"],
        )


def _seccomp(rules: Rules) -> None:
    if sys.platform == "linux":
        seccomp.restrict(
            connects=bool(rules["ports"]),
            resolves=rules["resolves"],
            writes=bool(rules["writes"]),
            drives=bool(rules["devices"]),
        )


#: In this order: each takes away what the ones before may need.
BOXES: dict[str, Callable[[Rules], None]] = {
    "parent": _die_with_parent,
    "oom": _offer_to_oom_killer,
    "limits": _limit,
    "capabilities": _drop_capabilities,
    "no_new_privs": _gain_no_privileges,
    "landlock": _landlock,
    "seccomp": _seccomp,
}


def _stand_back(rules: Rules) -> None:
    """Leave the processor to those who are in more of a hurry.

    Linux may weigh whole sessions against each other, and niceness only within them (sched(7),
    "The autogroup feature"). A session then has a niceness of its own, which anybody may raise,
    but on all of the machine only ten times a second.
    """
    if not (niceness := rules["niceness"]):
        return
    os.nice(niceness)
    group = os.open("/proc/self/autogroup", os.O_WRONLY)
    for _ in range(_AUTOGROUP_TRIES):
        try:
            os.write(group, b"%d" % niceness)
            break
        except BlockingIOError:
            time.sleep(_AUTOGROUP_PAUSE)
    os.close(group)


def _prctl(option: int, value: int) -> int:
    """What it returns, -1 for an error; 0 where there is no such call."""
    if sys.platform != "linux":
        return 0
    wide = (ctypes.c_ulong(number) for number in (value, 0, 0, 0))
    return int(_LIBC.prctl(ctypes.c_int(option), *wide))


def _restore_signals() -> None:
    """Undo what the interpreter ignores, for ignored signals stay so across ``execve``."""
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def main(rules: str, program: str, *arguments: str) -> None:
    """Never returns. ``rules`` is marshalled, in hex; see :func:`media.spawn.spawn`."""
    _restore_signals()
    document = marshal.loads(bytes.fromhex(rules))  # noqa: S302 - our parent's, by its interpreter
    for step in (_stand_back, *BOXES.values()):
        try:
            step(document)
        except OSError:
            continue
    started = document["started"]
    os.set_inheritable(started, False)
    os.write(started, STARTED)
    try:
        os.execve(program, (program, *arguments), os.environ)  # noqa: S606
    except OSError as error:
        os.write(started, NOT_STARTED)
        sys.stderr.write(f"{program} cannot be started: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(126)

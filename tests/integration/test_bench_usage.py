"""Processor time of a farm, against what its processes say of themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from benchmarks.usage import Usage, usage_below

#: Kernels count in ticks of a hundredth of a second, of user and of system time each.
_ROUNDING = 0.1

#: A media process or a server, which is no Python of ours: keeps a core busy, then waits.
_BUSY = "i=0; while [ $i -lt {turns} ]; do i=$((i+1)); done; {then}"

#: A process that burns some time, runs a media process to its end, tells, and has another running.
_WORKER = f"""
import json, os, subprocess, sys
sum(range(4_000_000))
subprocess.run(["/bin/sh", "-c", {_BUSY.format(turns=200_000, then="true")!r}], check=True)
times = os.times()
with subprocess.Popen(
    ["/bin/sh", "-c", {_BUSY.format(turns=80_000, then="times; read line")!r}],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
) as media:
    running = [media.stdout.readline() for _ in range(2)]
    told = {{
        "own": times.user + times.system,
        "ended": times.children_user + times.children_system,
        "running": running[0].strip(),
    }}
    print(json.dumps(told), flush=True)
    sys.stdin.readline()
    media.communicate("")
"""

#: A process with a worker, a server, and a child that has ended.
_SUPERVISOR = f"""
import os, subprocess, sys
subprocess.run(["/bin/sh", "-c", {_BUSY.format(turns=120_000, then="true")!r}], check=True)
worker = subprocess.Popen(
    [sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
)
server = subprocess.Popen(
    ["/bin/sh", "-c", {_BUSY.format(turns=240_000, then="times; read line")!r}],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
)
print(worker.stdout.readline().strip(), flush=True)
print(server.stdout.readline().strip(), flush=True)
times = os.times()
print(times.user + times.system, times.children_user + times.children_system, flush=True)
sys.stdin.readline()
for child in (worker, server):
    child.communicate("\\n")
"""


def seconds(times: str) -> float:
    """Of a line of the shell's ``times``, such as ``0m0.120s 0m0.010s``."""
    pairs = (word.removesuffix("s").split("m") for word in times.split())
    return sum(60 * int(minutes) + float(rest) for minutes, rest in pairs)


@contextmanager
def supervised() -> Iterator[tuple[int, Callable[[], str]]]:
    argv = (sys.executable, "-c", _SUPERVISOR, _WORKER)
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.pid, process.stdout.readline
    finally:
        process.communicate("\n", timeout=20)


def test_every_process_is_counted_once_and_for_what_it_is() -> None:
    with supervised() as (pid, line):
        worker, server, own = json.loads(line()), line(), line().split()
        found = usage_below(pid)
    media = worker["ended"] + seconds(worker["running"])
    assert worker["ended"] > _ROUNDING, "too quick to tell anything"
    assert found.media == pytest.approx(media, abs=_ROUNDING)
    assert found.servers == pytest.approx(seconds(server), abs=_ROUNDING)
    # The worker goes on a little after it has told.
    assert found.farm == pytest.approx(worker["own"] + sum(map(float, own)), abs=2 * _ROUNDING)


def test_a_difference_is_of_each_and_the_servers_are_apart() -> None:
    spent = Usage(3.0, 20.0, 2.0) - Usage(1.0, 5.0, 0.5)
    assert spent == Usage(2.0, 15.0, 1.5)
    assert spent.total == 17.0


def test_a_farm_that_is_gone_is_said_to_be() -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    with pytest.raises(psutil.NoSuchProcess):
        usage_below(gone.pid)

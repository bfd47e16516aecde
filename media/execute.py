"""Runs one media process to its end, its deadline or its first trouble.

Everything that can end a run is looked at in one loop in the calling thread; when
:func:`execute` returns or raises, the process is reaped, no sink is called any more and every
descriptor is closed.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from media.box import box_for
from media.command import SINK, Device
from media.devices import FAULTS
from media.diagnosis import Diagnosis
from media.errors import (
    CanceledError,
    DeadlineExceededError,
    Evidence,
    FfmpegFailedError,
    NotStartedError,
    RunError,
    SinkFailedError,
    SourceUnreadableError,
    StalledError,
)
from media.limits import Limits
from media.pipes import Reader, Sink, close_all
from media.redact import redact_all
from media.reports import ProcessReport, listener
from media.scratch import used
from media.spawn import Child, Exit, spawn

_LOG = logging.getLogger(__name__)

#: Seconds between two looks at a run in which nothing happens; the end of a pipe is looked at at
#: once. Looking twenty times a second cost a hundredth of a core for each slot.
_LOOK: Final = 0.25
_MOMENT: Final = 0.001

#: Share of a core below which a process that stands back for others has been kept from working,
#: and how many times its deadline it may take then.
_STARVED: Final = 0.25
_FORBEARANCE: Final = 10.0


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that did what it was started for."""

    #: As started, without what must not be shown.
    argv_shown: tuple[str, ...]
    stderr_tail: tuple[str, ...]
    exit_code: int
    #: Seconds of wall time and of processor time.
    wall: float
    cpu: float
    #: Bytes of resident memory at the most.
    max_rss: int
    #: Whether it complained of damage in the source.
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """What to run and how long to bear it."""

    program: Path
    #: ``sink:NAME`` stands for the pipe to that sink. One named ``stderr`` hears that, too.
    arguments: tuple[str, ...]
    sinks: Mapping[str, Sink]
    #: Seconds, for the process and for the sinks to take the last of its output.
    deadline: float
    #: How far the process stands back for others, 0 to 19.
    niceness: int = 0
    #: Seconds without progress; None to wait for the deadline only.
    stall: float | None = None
    #: Anything that changes as long as the process gets on, beside the bytes in the sinks.
    position: Callable[[], object] = lambda: None
    #: Sinks whose bytes are no progress.
    chatter: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    #: The working directory, and the only place to write in; None for nowhere.
    scratch: Path | None = None
    #: Files and folders to read besides what the arguments name.
    reads: tuple[Path, ...] = ()
    #: The graphics processor it may use.
    device: Device | None = None
    cancel: threading.Event | None = None
    clock: Callable[[], float] = time.monotonic


def execute(job: Job) -> Finished:
    """Run the job. Raises a :class:`RunError`, or :class:`ValueError` for an unknown sink."""
    return _Run(job).run()


class _Run:
    def __init__(self, job: Job) -> None:
        names = tuple(a.removeprefix(SINK) for a in job.arguments if a.startswith(SINK))
        if len(set(names)) < len(names) or not set(names) <= set(job.sinks):
            raise ValueError(f"the sinks {names} must each be used once and be among those given")
        self._job = job
        self._wake = threading.Event()
        self._diagnosis = Diagnosis(FAULTS if job.device else None)
        self._names = names
        self._started = self._moved = job.clock()
        self._position: object = None
        self._readers: tuple[Reader, ...] = ()

    def run(self) -> Finished:
        """Spawn, watch, give a verdict; clean up on every way out."""
        child: Child | None = None
        try:
            for name in self._names:
                self._add_reader(name, self._job.sinks[name])
            self._add_reader("stderr", self._hear)
            child = self._start()
            for reader in self._readers:
                reader.start()
            ended = self._watch(child)
        except BaseException as error:
            self._abandon(child)
            self._report(child.exit if child else None, type(error).__name__)
            raise
        finally:
            close_all(self._readers)
        self._tell(ended)
        self._report(ended)
        return self._verdict(ended)

    def _report(self, ended: Exit | None, error: str | None = None) -> None:
        listens = listener()
        if listens is None:
            return
        evidence = self._evidence()
        known = ended or Exit(code=0, cpu=0.0, max_rss=0, started=False)
        report = ProcessReport(
            program=self._job.program.name,
            argv_shown=evidence.argv,
            wall=evidence.wall,
            cpu=known.cpu,
            max_rss=known.max_rss,
            status=known.code if known.started else None,
            error=error,
        )
        listens(report)

    def _tell(self, ended: Exit) -> None:
        told = {
            "program": self._job.program.name,
            "status": ended.code,
            "seconds": round(self._job.clock() - self._started, 4),
            "cpu": round(ended.cpu, 4),
            "max_rss": ended.max_rss,
        }
        _LOG.debug("process_ended", extra=told)

    def _add_reader(self, name: str, sink: Sink) -> None:
        self._readers = (*self._readers, Reader(name, sink, self._wake))

    def _hear(self, data: bytes) -> None:
        self._diagnosis.feed(data)
        if "stderr" in self._job.sinks:
            self._job.sinks["stderr"](data)

    def _start(self) -> Child:
        try:
            return self._spawn()
        except (OSError, subprocess.SubprocessError) as error:
            message = f"{self._job.program.name}: it cannot be started ({error})"
            raise NotStartedError(message, self._evidence()) from error

    def _spawn(self) -> Child:
        job, pipes = self._job, {SINK + r.name: f"pipe:{r.write_fd}" for r in self._readers[:-1]}
        limits = job.limits if job.device is None else job.limits.on_a_device()
        return spawn(
            (str(job.program), *(pipes.get(a, a) for a in job.arguments)),
            stderr=self._readers[-1].write_fd,
            pass_fds=tuple(reader.write_fd for reader in self._readers[:-1]),
            resources=limits.resources(job.deadline, writes=job.scratch is not None),
            niceness=job.niceness,
            box=box_for(
                job.program,
                job.arguments,
                scratch=job.scratch,
                reads=job.reads,
                device=job.device,
            ),
            cwd=job.scratch,
        )

    def _watch(self, child: Child) -> Exit:
        """Until the process has ended and its output is taken. Raises whatever ends it sooner."""
        pause = _MOMENT
        while True:
            if child.poll():
                self._hang_up()
            delivering = any(reader.running for reader in self._readers)
            if child.exit and not delivering:
                break
            self._check(child)
            # Once its pipes have ended, the process itself takes but a moment, as a rule.
            self._wake.wait(_LOOK if delivering else pause)
            self._wake.clear()
            pause = _MOMENT if delivering else min(2 * pause, _LOOK)
        self._check_sinks(child)
        assert child.exit is not None
        return child.exit

    def _check(self, child: Child) -> None:
        job, now = self._job, self._job.clock()
        self._check_sinks(child)
        if job.cancel is not None and job.cancel.is_set():
            raise self._stop(child, CanceledError, "the run was canceled")
        if self._is_late(child, now - self._started):
            raise self._stop(child, DeadlineExceededError, f"not done in {job.deadline:.0f} s")
        if job.scratch is not None and used(job.scratch) > job.limits.scratch:
            written = f"more than {job.limits.scratch} bytes written to its scratch directory"
            raise self._stop(child, FfmpegFailedError, written)
        if job.stall is not None and child.exit is None and self._still_for(child, now) > job.stall:
            raise self._stop(child, StalledError, f"no progress for {job.stall:.0f} s")

    def _is_late(self, child: Child, seconds: float) -> bool:
        """Whether its time is over; that others took the processor is not held against it."""
        job = self._job
        if seconds <= job.deadline:
            return False
        starved = job.niceness > 0 and child.cpu() < _STARVED * seconds
        return not starved or seconds > _FORBEARANCE * job.deadline

    def _check_sinks(self, child: Child) -> None:
        for reader in self._readers:
            if reader.failure is not None:
                message = f"the output {reader.name} could not be taken ({reader.failure!r})"
                raise self._stop(child, SinkFailedError, message) from reader.failure

    def _still_for(self, child: Child, now: float) -> float:
        """Seconds since the process last got on. Waiting for one of our sinks is not standing.

        Nor is decoding what is to be skipped, of which nothing is seen but the processor time.
        """
        taken = tuple(r.received for r in self._readers if r.name not in self._job.chatter)
        position = (taken, self._job.position(), int(child.cpu()))
        if position != self._position or any(reader.busy for reader in self._readers):
            self._position, self._moved = position, now
        return now - self._moved

    def _stop(self, child: Child, kind: type[RunError], message: str) -> RunError:
        self._abandon(child)
        return kind(f"{self._job.program.name}: {message}", self._evidence())

    def _abandon(self, child: Child | None) -> None:
        for reader in self._readers:
            if reader.name != "stderr":
                reader.discard()
        if child is not None:
            child.end()
        self._hang_up()

    def _hang_up(self) -> None:
        for reader in self._readers:
            reader.hang_up()

    def _evidence(self, exit_code: int | None = None) -> Evidence:
        argv = redact_all((str(self._job.program), *self._job.arguments))
        wall = self._job.clock() - self._started
        return Evidence(argv, self._diagnosis.tail, exit_code, wall, self._diagnosis.fault)

    def _verdict(self, ended: Exit) -> Finished:
        self._diagnosis.finish()
        evidence = self._evidence(ended.code)
        name = self._job.program.name
        if not ended.started:
            message = f"{name}: it could not be started, {evidence.describe_exit()}"
            raise NotStartedError(message, evidence)
        if (why := self._diagnosis.unreadable) is not None:
            raise SourceUnreadableError(f"{name}: {why}", evidence, self._diagnosis.status)
        if ended.code != 0:
            raise FfmpegFailedError(f"{name}: {evidence.describe_exit()}", evidence)
        return Finished(
            argv_shown=evidence.argv,
            stderr_tail=evidence.stderr,
            exit_code=ended.code,
            wall=evidence.wall,
            cpu=ended.cpu,
            max_rss=ended.max_rss,
            damaged=self._diagnosis.damaged,
        )

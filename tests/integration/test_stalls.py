"""Programs in place of ffmpeg that do whatever would make a worker wait for ever."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from jobs.parts import PartRef
from media import spawn
from media.command import SINK
from media.errors import CanceledError, DeadlineExceededError, RunError, StalledError
from media.execute import Finished, Job, execute
from media.progress import ProgressReader
from pipeline.errors import TransientError
from pipeline.problems import explained

PYTHON = Path(sys.executable).resolve()

#: Seconds for a process that has to be killed, and for a busy machine.
GRACE, ROOM = 2.0, 8.0
#: A stall or a deadline that leaves a process the time to begin.
SHORT = 0.6

BEGIN = """import os, signal, subprocess, sys, time
film, progress = (int(pipe.split(":")[1]) for pipe in sys.argv[1:3])
if True:
    """
SILENT = "time.sleep(600)"
#: What it does, and the stall and the deadline that end it.
STANDING = {
    "prints nothing": SILENT,
    "ignores SIGTERM": f"signal.signal(signal.SIGTERM, signal.SIG_IGN); {SILENT}",
    "closes its pipes": f"os.closerange(0, 256); {SILENT}",
    "stops itself": "signal.raise_signal(signal.SIGSTOP)",
    "repeats its progress": """while True:
        os.write(progress, b"frame=5\\nout_time_us=1000000\\nprogress=continue\\n")
        time.sleep(0.02)""",
    "goes on about nothing": """while True:
        os.write(2, b"still here\\n")
        time.sleep(0.02)""",
}
BUSY = {
    "spins": """while True:
        os.write(progress, b"frame=5\\nprogress=continue\\n")""",
    "fills stderr": """while True:
        os.write(2, b"x" * 65536)""",
    "fills stderr with lines": """while True:
        os.write(2, b"Error of some kind\\n" * 1000)""",
    "fills stderr with long lines": """while True:
        os.write(2, b"x" * 50_000 + b"\\n")""",
    "has no end of output": """while True:
        os.write(film, b"y" * 65536)""",
    "ignores that nobody listens": """signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        os.write(film, b"y" * 65536)""",
}


#: Servers and farms of other tests, which are children of this process as well.
OTHERS: set[psutil.Process] = set()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No descriptor, child or thread outlives a run, however it ended."""
    before = descriptors()
    OTHERS.update(psutil.Process().children())
    yield
    assert offspring() == []
    assert [t.name for t in threading.enumerate() if t.name.startswith("sink-")] == []
    assert descriptors() <= before, "what other tests left open may be closed meanwhile"


def offspring() -> list[psutil.Process]:
    """The processes that this test has started and that are still there."""
    return [child for child in psutil.Process().children() if child not in OTHERS]


def descriptors() -> int:
    """Open ones of this process; 0 where the system does not tell."""
    listing = Path("/proc/self/fd")
    return len(list(listing.iterdir())) if listing.exists() else 0


def job(code: str, *, stall: float | None = None, deadline: float = 30.0) -> Job:
    """Python runs ``code``, which may write to ``film`` and ``progress``."""
    reader = ProgressReader()
    return Job(
        program=PYTHON,
        arguments=("-I", "-S", "-c", BEGIN + code, SINK + "film", SINK + "progress"),
        sinks={"film": len, "progress": reader.feed},
        deadline=deadline,
        stall=stall,
        position=lambda: reader.position,
        chatter=frozenset({"progress", "stderr"}),
        reads=(Path(sys.base_prefix), Path(sys.prefix)),
    )


def ended(job: Job) -> tuple[RunError, float]:
    """How it ended, and after how many seconds."""
    started = time.monotonic()
    with pytest.raises(RunError) as caught:
        execute(job)
    return caught.value, time.monotonic() - started


@pytest.mark.parametrize("code", STANDING.values(), ids=STANDING.keys())
def test_what_stands_still_is_ended_as_stalled(code: str) -> None:
    error, seconds = ended(job(code, stall=SHORT))
    assert isinstance(error, StalledError), error
    assert SHORT <= seconds < SHORT + GRACE + ROOM


@pytest.mark.parametrize("code", BUSY.values(), ids=BUSY.keys())
def test_what_is_busy_for_ever_is_ended_at_its_deadline(code: str) -> None:
    error, seconds = ended(job(code, stall=20.0, deadline=SHORT))
    assert isinstance(error, DeadlineExceededError), error
    assert SHORT <= seconds < SHORT + GRACE + ROOM
    assert sum(map(len, error.evidence.stderr)) < 20_000


@pytest.mark.parametrize("niceness", [0, 15])
def test_who_stands_back_for_others_is_not_held_to_the_time_they_took(niceness: int) -> None:
    """The clock runs forty times as fast as the process gets to work."""
    began = time.monotonic()
    slow = replace(
        job("time.sleep(1.0)", deadline=10.0),
        niceness=niceness,
        clock=lambda: 40.0 * (time.monotonic() - began),
    )
    if niceness:
        assert execute(slow).exit_code == 0
    else:
        assert isinstance(ended(slow)[0], DeadlineExceededError)


def test_who_stands_back_has_a_deadline_all_the_same() -> None:
    error, seconds = ended(replace(job(SILENT, deadline=0.2), niceness=15))
    assert isinstance(error, DeadlineExceededError), error
    assert 2.0 <= seconds < 2.0 + GRACE + ROOM


def test_processor_time_is_progress_where_nothing_else_is_seen() -> None:
    """Decoding what is skipped shows in nothing else. The clock is the process's own."""

    def used() -> float:
        with suppress(psutil.Error):
            latest[0] = max(latest[0], *(sum(c.cpu_times()[:2]) for c in offspring()), 0.0)
        return latest[0]

    latest = [0.0]
    spin = replace(job("while time.process_time() < 1.8: pass", stall=1.3), clock=used)
    assert execute(spin).cpu > 1.7


def test_a_process_without_pipes_is_not_looked_at_all_the_time() -> None:
    looks: list[None] = []
    ended(
        replace(job(STANDING["closes its pipes"], stall=1.0), position=lambda: looks.append(None))
    )
    assert len(looks) < 100


def test_a_cancel_ends_the_process_while_a_sink_hangs() -> None:
    """A storage that does not answer keeps the sink, and so the run, but ffmpeg is gone."""
    cancel, answered = threading.Event(), threading.Event()
    taken: list[int] = []

    def hang(data: bytes) -> None:
        taken.append(len(data))
        answered.wait(60.0)

    with ThreadPoolExecutor(1) as pool:
        endless = replace(job(BUSY["has no end of output"]), cancel=cancel)
        run = pool.submit(run_into, endless, hang)
        try:
            eventually(lambda: taken)
            (process,) = offspring()
            cancel.set()
            eventually(lambda: not is_alive(process.pid), 2.0)
            assert not run.done()
        finally:
            cancel.set()
            answered.set()
        assert isinstance(run.exception(10.0), CanceledError)
    assert len(taken) == 1, "what came after the cancel is nobody's"


@pytest.mark.parametrize("kind", [StalledError, DeadlineExceededError])
def test_either_is_worth_another_try_and_says_what_to_do(kind: type[RunError]) -> None:
    stall, deadline = (0.5, 30.0) if kind is StalledError else (None, 0.5)
    with pytest.raises(TransientError) as caught, explained(PartRef("video", 1, "v00001")):
        execute(job(SILENT, stall=stall, deadline=deadline))
    assert caught.value.problem.code == "encode_failed"
    assert caught.value.problem.hint


@pytest.fixture
def boxless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a system whose kernel lets a media process start others."""
    launch = (
        "import marshal, os, sys;"
        "os.write(marshal.loads(bytes.fromhex(sys.argv[1]))['started'], b'+');"
        "os.execv(sys.argv[2], sys.argv[2:])"
    )
    monkeypatch.setattr(spawn, "_LAUNCH", launch)


#: Leaves a process behind that has every pipe open, says its number, and ends well.
LEAVE = """child = subprocess.Popen(
        [sys.executable, "-c", {code!r}], pass_fds=(film, progress), start_new_session={session})
    os.write(film, b"%d" % child.pid)"""


@pytest.mark.parametrize("session", [False, True], ids=["same group", "own session"])
def test_a_grandchild_that_holds_the_pipes_holds_up_nobody(boxless: None, session: bool) -> None:
    said = bytearray()
    left = job(LEAVE.format(code="import time; time.sleep(600)", session=session))
    started = time.monotonic()
    finished = run_into(left, said.extend)
    assert finished.exit_code == 0
    assert time.monotonic() - started < ROOM
    if session:  # it has left the group, where nobody is to look for it
        with suppress(ProcessLookupError):
            os.kill(int(said), signal.SIGKILL)
    eventually(lambda: not is_alive(int(said)))


def test_a_grandchild_that_writes_for_ever_is_cut_off(boxless: None) -> None:
    endless = "import os, sys\nwhile True: os.write(1, b'z' * 65536)"
    said: list[bytes] = []
    code = LEAVE.format(code=endless, session=True).replace("pass_fds", "stdout=film, pass_fds")
    left = job(f"os.write(film, b'begin'); {code}", deadline=2.0)
    started = time.monotonic()
    with suppress(DeadlineExceededError):  # or it paused, and was left at that
        run_into(left, lambda data: said.append(data[:64]) if len(said) < 9 else None)
    assert b"".join(said).startswith(b"begin")
    assert time.monotonic() - started < 2.0 + GRACE + ROOM


def run_into(job: Job, film: Callable[[bytes], object]) -> Finished:
    def take(data: bytes) -> None:
        film(data)

    job.sinks["film"] = take  # type: ignore[index]
    return execute(job)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def eventually(holds: Callable[[], object], seconds: float = 10.0) -> None:
    give_up = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.02)

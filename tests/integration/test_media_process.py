"""The runner against the real ffmpeg: every way a run can end, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from media.binaries import Tools
from media.command import Command
from media.errors import (
    CanceledError,
    DeadlineExceededError,
    FfmpegFailedError,
    NotMediaError,
    NotStartedError,
    SinkFailedError,
    StalledError,
)
from media.execute import Job, execute
from media.limits import Limits
from media.probe import probe
from media.process import Finished, Progress, run

ROOT = Path(__file__).resolve().parents[2]

#: A film that ffmpeg makes faster than it is played, for ever.
ENDLESS = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25")
RAW = ("-f", "rawvideo", "-pix_fmt", "gray", "sink:raw")


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No descriptor, child or thread outlives a run, however it ended."""
    before = descriptors()
    yield
    assert [c.name() for c in psutil.Process().children() if "ffmpeg" in c.name()] == []
    assert [t.name for t in threading.enumerate() if t.name.startswith("sink-")] == []
    assert descriptors() == before


def descriptors() -> int:
    """Open ones of this process; 0 where the system does not tell."""
    listing = Path("/proc/self/fd")
    return len(list(listing.iterdir())) if listing.exists() else 0


def endless(deadline: float = 30.0) -> Command:
    return Command((*ENDLESS, *RAW), deadline)


def test_sinks_get_everything_in_order(tools: Tools) -> None:
    raw, mp4, seen = bytearray(), bytearray(), list[Progress]()
    command = Command(
        (
            *(*ENDLESS, "-frames:v", "50"),
            *("-map", "0:v", "-f", "rawvideo", "-pix_fmt", "gray", "sink:raw"),
            *("-map", "0:v", "-c:v", "libx264", "-f", "mp4", "-movflags", "+empty_moov"),
            *("-frames:v", "50", "sink:mp4"),
        ),
        30.0,
    )
    done = run(
        tools, command, sinks={"raw": raw.extend, "mp4": mp4.extend}, on_progress=seen.append
    )
    reference = subprocess.run(
        [tools.ffmpeg, "-v", "error", *ENDLESS, "-frames:v", "50", *RAW[:-1], "-"],
        capture_output=True,
        check=True,
    )
    assert bytes(raw) == reference.stdout
    assert mp4[4:8] == b"ftyp"
    assert mp4.count(b"moof") >= 1
    assert seen[-1].done
    assert seen[-1].frame == 50
    assert (done.exit_code, done.cpu > 0, done.max_rss > 10_000_000) == (0, True, True)
    assert 0 < done.wall < 30


def test_slow_sink_holds_ffmpeg_back(tools: Tools) -> None:
    """Only a read, the pipe and ffmpeg's own buffers are ahead of a sink that does not return."""
    reports: list[Progress] = []
    release, cancel, taken = threading.Event(), threading.Event(), list[int]()

    def sink(data: bytes) -> None:
        taken.append(len(data))
        release.wait(10)

    def watch() -> None:
        poll(lambda: bool(taken) and len(reports) > 4 and reports[-1].frame == reports[-2].frame)
        ahead.append(sum(taken))
        cancel.set()
        release.set()

    ahead: list[int] = []
    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(CanceledError):
        run(tools, endless(), sinks={"raw": sink}, on_progress=reports.append, cancel=cancel)
    watcher.join()
    assert ahead[0] < 500_000
    assert reports[0].frame * 160 * 120 < 2_000_000


def test_sink_that_raises_ends_the_run(tools: Tools) -> None:
    calls = 0

    def sink(data: bytes) -> None:
        nonlocal calls
        calls += 1
        raise ConnectionError("storage is gone")

    with pytest.raises(SinkFailedError, match="storage is gone") as caught:
        run(tools, endless(), sinks={"raw": sink})
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert calls == 1
    assert caught.value.evidence.wall < 5


def test_progress_that_raises_ends_the_run(tools: Tools) -> None:
    def on_progress(progress: Progress) -> None:
        raise RuntimeError("no screen")

    with pytest.raises(SinkFailedError, match="no screen"):
        run(tools, endless(), sinks={"raw": len}, on_progress=on_progress)


def test_deadline(tools: Tools) -> None:
    with pytest.raises(DeadlineExceededError) as caught:
        run(tools, endless(0.5), sinks={"raw": len})
    assert caught.value.transient
    assert caught.value.evidence.wall < 3


def test_cancel(tools: Tools) -> None:
    cancel = threading.Event()
    with pytest.raises(CanceledError):
        run(tools, endless(), sinks={"raw": lambda _: cancel.set()}, cancel=cancel)


def test_stall(tools: Tools, tmp_path: Path) -> None:
    """A source that never says anything: a FIFO that nobody writes to."""
    fifo = tmp_path / "silent.ts"
    os.mkfifo(fifo)
    holder = os.open(fifo, os.O_RDWR)
    try:
        with pytest.raises(StalledError, match="no progress"):
            run(tools, Command(("-i", str(fifo), *RAW), 30.0), sinks={"raw": len}, stall=0.4)
    finally:
        os.close(holder)


def test_busy_sink_is_no_stall(tools: Tools) -> None:
    naps = iter([0.8])

    def sink(data: bytes) -> None:
        time.sleep(next(naps, 0))

    command = Command((*ENDLESS, "-frames:v", "50", *RAW), 30.0)
    assert run(tools, command, sinks={"raw": sink}, stall=0.5).exit_code == 0


def stand_in(code: str, **more: Any) -> Job:
    """A Python program in place of ffmpeg."""
    reads = tuple(Path(sys.base_prefix) / name for name in ("lib", "bin"))
    return Job(Path(sys.executable).resolve(), ("-I", "-S", "-c", code), {}, reads=reads, **more)


def test_process_that_ignores_terminate_is_killed() -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "while True: time.sleep(60)"
    )
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        execute(stand_in(code, deadline=1.0))
    assert 3.0 < time.monotonic() - started < 10


def test_failure_carries_evidence(tools: Tools) -> None:
    url = "/nowhere.mp4"
    command = Command(("-headers", "http://h/k?X-Amz-Signature=s3cr3t", "-i", url, *RAW), 30.0)
    with pytest.raises(FfmpegFailedError, match="No such file") as caught:
        run(tools, command, sinks={"raw": len})
    evidence = caught.value.evidence
    assert evidence.exit_code not in (None, 0)
    assert evidence.argv[-1] == "sink:raw"
    assert "http://h/k?…" in evidence.argv
    assert not any("s3cr3t" in text for text in (*evidence.argv, *evidence.stderr))
    assert not caught.value.transient


def test_killed_by_somebody_else(tools: Tools) -> None:
    def kill(data: bytes) -> None:
        for child in psutil.Process().children():
            if "ffmpeg" in child.name():
                child.send_signal(signal.SIGSEGV)

    with pytest.raises(FfmpegFailedError, match="killed by SIGSEGV"):
        run(tools, endless(), sinks={"raw": kill})


def test_limits_hold(tools: Tools, tmp_path: Path) -> None:
    with pytest.raises(FfmpegFailedError):
        run(tools, endless(), sinks={"raw": len}, limits=Limits(cpu_seconds=1))
    with pytest.raises(FfmpegFailedError):
        run(
            tools,
            Command((*ENDLESS, "-f", "rawvideo", str(tmp_path / "big")), 30.0),
            sinks={},
            limits=Limits(scratch=100_000),
            scratch=tmp_path,
        )
    assert (tmp_path / "big").stat().st_size <= 100_000
    with pytest.raises(FfmpegFailedError):
        run(tools, endless(), sinks={"raw": len}, limits=Limits(address_space=64 * 1024 * 1024))


SPY = """
import json, os, resource
def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
found = dict(os.environ), list(filter(is_open, range(256))), os.getcwd()
with open("found", "w") as file:
    json.dump((*found, resource.getrlimit(resource.RLIMIT_CORE)), file)
"""


def test_nothing_of_ours_reaches_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    execute(stand_in(SPY, deadline=10.0, scratch=tmp_path))
    environment, descriptors, folder, core = json.loads((tmp_path / "found").read_text())
    assert set(environment) <= {"LC_ALL", "LC_CTYPE", "AV_LOG_FORCE_NOCOLOR"}
    assert (descriptors, folder, core) == ([0, 1, 2], str(tmp_path), [0, 0])


def test_unknown_sink_is_refused_before_anything_starts(tools: Tools) -> None:
    with pytest.raises(ValueError, match="raw"):
        run(tools, endless(), sinks={})


def test_program_that_cannot_start(tools: Tools, tmp_path: Path) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("not a program")
    broken.chmod(0o755)
    with pytest.raises(NotStartedError, match="cannot be started") as caught:
        run(Tools(broken, broken), Command((), 10.0), sinks={})
    assert caught.value.transient


@pytest.mark.parametrize("trouble", ["raise MemoryError", "import os; os.abort()", "1 / 0"])
def test_a_machine_that_cannot_start_ffprobe_says_nothing_of_the_film(
    tools: Tools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Whatever the exit status: a traceback's is that of ffprobe at a film it cannot read."""
    (tmp_path / "film").write_text("no film")
    with pytest.raises(NotMediaError):
        probe(tools, str(tmp_path / "film"))
    monkeypatch.setattr("media.spawn._LAUNCH", trouble)
    with pytest.raises(NotStartedError):
        probe(tools, str(tmp_path / "film"))


def test_no_room_for_a_process_says_nothing_of_the_film(
    tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("media.spawn.subprocess.Popen", full)
    with pytest.raises(NotStartedError, match="Cannot allocate memory"):
        probe(tools, "/film")


def test_a_missing_library_is_told_from_a_failure() -> None:
    """The loader's status is its own; any other is the program's, which was started."""
    with pytest.raises(NotStartedError):
        execute(stand_in("raise SystemExit(127)", deadline=10.0))
    with pytest.raises(FfmpegFailedError):
        execute(stand_in("raise SystemExit(126)", deadline=10.0))


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_child_dies_with_a_killed_parent(tools: Tools, tmp_path: Path) -> None:
    """One that waits for a silent source, for a writer would already die of its broken pipe."""
    fifo = tmp_path / "silent.ts"
    os.mkfifo(fifo)
    holder = os.open(fifo, os.O_RDWR)
    script = (
        "from pathlib import Path; from media.process import run;"
        "from media.command import Command; from media.binaries import Tools;"
        f"run(Tools(Path({str(tools.ffmpeg)!r}), Path('/')),"
        f" Command(('-i', {str(fifo)!r}, '-f', 'null', '-'), 60.0), sinks={{}})"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    try:
        poll(lambda: any(map(is_ffmpeg, psutil.Process(parent.pid).children())))
        (child,) = psutil.Process(parent.pid).children()
    finally:
        parent.kill()
        parent.wait()
    poll(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    os.close(holder)


def is_ffmpeg(process: psutil.Process) -> bool:
    return process.name().startswith("ffmpeg")


def test_child_has_a_session_of_its_own(tools: Tools) -> None:
    sessions: list[bool] = []

    def look(data: bytes) -> None:
        children = filter(is_ffmpeg, psutil.Process().children())
        sessions.extend(os.getsid(child.pid) == child.pid for child in children)

    run(tools, Command((*ENDLESS, "-frames:v", "500", *RAW), 30.0), sinks={"raw": look})
    assert set(sessions) == {True}


def test_many_runs_side_by_side(tools: Tools) -> None:
    """Descriptors of one run must not leak into another: a pipe would never end."""
    command = Command((*ENDLESS, "-frames:v", "5", *RAW), 30.0)
    done: list[Finished] = []
    threads = [
        threading.Thread(target=lambda: done.append(run(tools, command, sinks={"raw": len})))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [finished.exit_code for finished in done] == [0] * 8


def poll(condition: Callable[[], bool], deadline: float = 10.0) -> None:
    give_up = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.02)

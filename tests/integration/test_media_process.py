"""The runner against the real ffmpeg: every way a run can end, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from media.binaries import Tools
from media.command import Command
from media.errors import (
    CanceledError,
    DeadlineExceededError,
    FfmpegFailedError,
    SinkFailedError,
    StalledError,
)
from media.limits import Limits
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


def test_process_that_ignores_terminate_is_killed(tools: Tools, tmp_path: Path) -> None:
    stubborn = tmp_path / "ffmpeg"
    stubborn.write_text("#!/bin/sh\ntrap '' TERM\nsleep 60 &\nwait; wait; sleep 60\n")
    stubborn.chmod(0o755)
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        run(Tools(stubborn, tools.ffprobe), Command((), 0.3), sinks={})
    assert 2.0 < time.monotonic() - started < 6


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
            limits=Limits(file_size=100_000),
        )
    assert (tmp_path / "big").stat().st_size <= 100_000
    with pytest.raises(FfmpegFailedError):
        run(tools, endless(), sinks={"raw": len}, limits=Limits(address_space=64 * 1024 * 1024))


def test_nothing_of_ours_reaches_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    spy = tmp_path / "ffmpeg"
    spy.write_text("#!/bin/sh\nenv > env; ls /proc/self/fd > fds; ulimit -c > core; pwd > cwd\n")
    spy.chmod(0o755)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    run(Tools(spy, spy), Command((), 10.0), sinks={}, scratch=scratch)
    assert "s3cr3t" not in (scratch / "env").read_text()
    assert "HOME=" not in (scratch / "env").read_text()
    # stdin, stdout, stderr, the progress pipe, and the one ls reads the directory with.
    assert len((scratch / "fds").read_text().split()) == 5
    assert (scratch / "core").read_text().strip() == "0"
    assert (scratch / "cwd").read_text().strip() == str(scratch)


def test_unknown_sink_is_refused_before_anything_starts(tools: Tools) -> None:
    with pytest.raises(ValueError, match="raw"):
        run(tools, endless(), sinks={})


def test_program_that_cannot_start(tools: Tools, tmp_path: Path) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("not a program")
    broken.chmod(0o755)
    with pytest.raises(FfmpegFailedError, match="cannot be started"):
        run(Tools(broken, broken), Command((), 10.0), sinks={})


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

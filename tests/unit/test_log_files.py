"""Log files: whole lines of many processes, a few files, nothing that stops work."""

from __future__ import annotations

import json
import logging as stdlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from farm.cli_logs import Tail
from farm.log_files import FILES, LogFile, LogFileHandler, folder_of, path_of, present

#: What one process writes: its number, and a counter, in lines of differing lengths.
_WRITER = """
import json, sys
from pathlib import Path
from farm.log_files import LogFile
file = LogFile(Path(sys.argv[1]), int(sys.argv[2]))
for count in range(int(sys.argv[4])):
    line = {"writer": int(sys.argv[3]), "count": count, "fill": "x" * (count % 700)}
    file.append(json.dumps(line).encode())
"""
WRITERS, LINES = 4, 400


def lines(folder: Path) -> list[str]:
    return [line for path in present(folder) for line in path.read_text().splitlines() if line]


def test_processes_write_whole_lines_and_lose_none_while_files_are_set_aside(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data" / "logs"
    limit = FILES * 300_000  # for what they write to be in a few files, and none to go
    argv = (sys.executable, "-c", _WRITER, str(folder), str(limit))
    started = [subprocess.Popen([*argv, str(number), str(LINES)]) for number in range(WRITERS)]
    assert [process.wait(60) for process in started] == [0] * WRITERS
    told = [json.loads(line) for line in lines(folder)]
    for number in range(WRITERS):
        counts = [line["count"] for line in told if line["writer"] == number]
        assert counts == list(range(LINES))
    assert len(present(folder)) > 1


def test_no_more_room_is_taken_than_allowed(tmp_path: Path) -> None:
    file = LogFile(tmp_path, FILES * 1000)
    for count in range(500):
        file.append(f'{{"count": {count}, "fill": "{"x" * 80}"}}'.encode())
    sizes = [path.stat().st_size for path in present(tmp_path)]
    assert len(sizes) == FILES
    assert max(sizes) < 1000 + 200
    assert json.loads(lines(tmp_path)[-1])["count"] == 499


def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        folder = folder_of(tmp_path)
        LogFile(folder, 1000).append(b"{}")
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path_of(folder, 0).stat().st_mode) == 0o600


def test_a_folder_that_takes_none_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    file = LogFile(folder_of(tmp_path), 1000)
    assert "logs" in (file.trouble() or "")
    file.append(b"{}")
    assert LogFile(tmp_path / "free", 1000).trouble() is None


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("")
    path_of(tmp_path, 0).symlink_to(other)
    LogFile(tmp_path, 1000).append(b"{}")
    assert other.read_text() == ""


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    file = LogFile(tmp_path, 10_000)
    file._path = Path("/dev/full")
    handler = LogFileHandler(file)
    for number in range(3):
        handler.handle(stdlib.LogRecord("x", stdlib.INFO, "", 0, f'"{number}"', None, None))
    file._path = path_of(tmp_path, 0)
    file.append(b'"back"')
    dropped, back = lines(tmp_path)
    assert (json.loads(dropped)["event"], json.loads(dropped)["count"]) == ("log_lines_dropped", 3)
    assert json.loads(back) == "back"


def test_half_a_line_spoils_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LogFile(tmp_path, 10_000)
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:3]))
    file.append(b'"one"')
    monkeypatch.undo()
    file.append(b'"two"')
    assert [line[:4] for line in lines(tmp_path)] == ['"on', '{"ti', '"two']


def test_a_line_of_any_length_stays_json(tmp_path: Path) -> None:
    handler = LogFileHandler(LogFile(tmp_path, 10**9))
    handler.handle(stdlib.LogRecord("x", stdlib.INFO, "", 0, '"' + "é" * 10**6, None, None))
    (line,) = lines(tmp_path)
    assert json.loads(line)["event"] == "log_line_too_long"


def test_a_tail_reads_each_line_once_wherever_it_is_by_then(tmp_path: Path) -> None:
    file, tail = LogFile(tmp_path, FILES * 400), Tail(tmp_path)
    seen: list[int] = []
    for count in range(60):
        file.append(json.dumps({"count": count, "fill": "x" * 50}).encode())
        if count % 7 == 0:
            seen += [json.loads(line)["count"] for line in tail.lines()]
    seen += [json.loads(line)["count"] for line in tail.lines()]
    assert seen == list(range(60))


def test_a_tail_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    tail, path = Tail(tmp_path), path_of(tmp_path, 0)
    path.write_bytes(b"whole\nha")
    assert list(tail.lines()) == [b"whole\n"]
    with path.open("ab") as file:
        file.write(b"lf\n")
    assert list(tail.lines()) == [b"half\n"]

"""Where ffmpeg and ffprobe come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from media.binaries import Tools, check, find_tools, version
from media.errors import ToolMissingError


def program(folder: Path, name: str, says: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def test_wheels_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nonsense")
    monkeypatch.setenv("PATH", "/nonsense")
    tools = find_tools()
    assert version(tools.ffmpeg)[0].isdigit()
    assert version(tools.ffprobe)[0].isdigit()


def test_configured_first(tmp_path: Path) -> None:
    mine = program(tmp_path, "mine", "ffmpeg version n9.9 Copyright")
    assert find_tools(ffmpeg=mine).ffmpeg == mine
    assert version(mine) == "9.9"


def test_configured_but_missing(tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match="configured as ffprobe"):
        find_tools(ffprobe=tmp_path / "none")


def test_neither(tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match="neither ffmpeg nor ffprobe"):
        version(program(tmp_path, "cat", "meow"))
    with pytest.raises(ToolMissingError, match="does not run"):
        version(tmp_path / "none")


def test_each_is_what_it_is_taken_for(tmp_path: Path) -> None:
    ffmpeg = program(tmp_path, "a", "ffmpeg version 9.0 Copyright")
    ffprobe = program(tmp_path, "b", "ffprobe version 9.0 Copyright")
    check(Tools(ffmpeg, ffprobe))
    with pytest.raises(ToolMissingError, match="is not ffmpeg"):
        check(Tools(ffprobe, ffprobe))
    with pytest.raises(ToolMissingError, match="is not ffprobe"):
        check(Tools(ffmpeg, program(tmp_path, "true", "")))

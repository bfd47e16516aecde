"""A container is told its share of the machine by its control group."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from farm import room


@pytest.mark.parametrize(
    ("cpu", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("x", None)]
)
def test_cores_are_those_of_the_control_group(tmp_path: Path, cpu: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(f"{cpu}\n")
    assert room.cores(tmp_path) == (cores or room.cores(tmp_path / "none"))


def test_memory_is_that_of_the_control_group(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1048576\n")
    assert room.memory(tmp_path) == 2**20
    (tmp_path / "memory.max").write_text("max\n")
    assert room.memory(tmp_path) == psutil.virtual_memory().total

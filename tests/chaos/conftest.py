"""One farm for all tests that break it and mend it again; its films are made once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from media.binaries import Tools, find_tools
from tests.chaos.rig import Rig, rig
from tests.e2e.farm_process import PROFILE
from tests.numbered import Clip, ClipSpec, make_clip


@pytest.fixture(scope="session")
def rigged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A farm with the small ladder. Who breaks it heals it."""
    with rig(tmp_path_factory.mktemp("rig"), profile=PROFILE) as found:
        yield found


@pytest.fixture(scope="session")
def tools() -> Tools:
    """The programs of the wheels."""
    return find_tools()


@pytest.fixture(scope="session")
def film(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Eight seconds: heads, some chunks and a sound track."""
    folder = tmp_path_factory.mktemp("films")
    return make_clip(folder / "numbered", tools, ClipSpec(frames=200))

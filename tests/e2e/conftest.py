"""One farm for each test process; clips are made once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from media.binaries import Tools, find_tools
from tests.e2e.farm_process import Farm, running_farm
from tests.numbered import Clip, ClipSpec, make_clip

MakeClip = Callable[[str, ClipSpec], Clip]


@pytest.fixture(scope="session")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    """A running farm with the small ladder."""
    with running_farm(tmp_path_factory.mktemp("farm")) as found:
        yield found


@pytest.fixture(scope="session")
def tools() -> Tools:
    """The programs of the wheels."""
    return find_tools()


@pytest.fixture(scope="session")
def clip(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> MakeClip:
    """Makes a numbered clip of that name, once."""
    folder = tmp_path_factory.mktemp("clips")
    made: dict[str, Clip] = {}

    def make(name: str, spec: ClipSpec) -> Clip:
        if name not in made:
            made[name] = make_clip(folder / name, tools, spec)
        return made[name]

    return make

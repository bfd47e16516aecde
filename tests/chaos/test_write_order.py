"""Cut off at any call to storage or Redis, the farm ends with what it would have had anyway.

The product's own code runs in this process, against real servers, through ports that fail at
their n-th call. Then time passes, and a new process with sound ports sweeps and works until
nothing is left to do: the video is as it would have been without the fault, or, where its request
was not acknowledged, as without the request. By default a process dies once between any two kinds
of writes; `make chaos` tries every fault at every call of every scenario.

Real ffmpeg makes every output once; from then on the same command has the same output at once.
"""

from __future__ import annotations

import os
import random
from typing import Final

import pytest

from tests.chaos.cuts import cuts
from tests.chaos.faulty import FAULTS, Fault, Fuse
from tests.chaos.in_process import archive, studio
from tests.chaos.scenarios import SCENARIOS, Archive, Scenario, cut_off

__all__ = ["archive", "studio"]

#: The calls of each scenario are tried by so many tests.
SLICES: Final = 4

SEED: Final = int(os.environ.get("REELFARM_TEST_SEED") or random.randrange(10**6))


def _name(value: object) -> str:
    return value.name if isinstance(value, Scenario) else str(value)


scenarios = pytest.mark.parametrize("scenario", SCENARIOS, ids=_name)


@scenarios
def test_a_death_between_any_two_kinds_of_writes_changes_nothing(
    archive: Archive, scenario: Scenario
) -> None:
    print(f"REELFARM_TEST_SEED={SEED}")
    calls = archive.reference(scenario).calls
    chance = random.Random(f"{SEED} {scenario.name}")
    fuses = list(cuts(scenario.name, scenario.film, calls, archive.tried, chance))
    for fuse in fuses:
        cut_off(archive, scenario, fuse)
    # A machine that is slow now and then has other writes; one that always has tests nothing.
    assert len([fuse for fuse in fuses if fuse.blown]) > len(fuses) / 2, fuses


@pytest.mark.long
@pytest.mark.timeout(1200)
@scenarios
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("first", range(1, SLICES + 1))
def test_no_fault_at_any_call_changes_anything(
    archive: Archive, scenario: Scenario, fault: Fault, first: int
) -> None:
    for at in range(first, len(archive.reference(scenario).calls) + 1, SLICES):
        cut_off(archive, scenario, Fuse(fault, at))

"""What a part asks of storage beside its segments: counted, since requests are what S3 bills.

The bounds have no slack for a look that nobody needs: who adds one raises them on purpose.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest

from jobs.states import State
from storage.objects import ObjectStore
from tests.chaos.faulty import Fuse
from tests.chaos.in_process import archive, studio
from tests.chaos.scenarios import Archive
from tests.chaos.world import ID, Process
from transcoder.plan import PartKind

__all__ = ["archive", "studio"]

#: Requests for one part, what it stores of the film aside; and for a short film in six parts, from
#: the first look at it to ``ready``.
MOST: Final = {"head": 12, "chunk": 12}
FILM: Final = 110

_METHODS: Final = frozenset(name for name in dir(ObjectStore) if not name.startswith("_"))
_NOTHING: Final = ("delete", "")


@pytest.fixture
def requests(archive: Archive) -> dict[str, Counter[str]]:
    """The requests to storage that each part of a short film makes, by part."""
    world, fuse = archive.queued(), Fuse()
    process = Process(world, fuse)
    process.advancer.advance(ID)
    found: dict[str, Counter[str]] = {}
    while (message := world.message()) is not None:
        before = len(fuse.calls)
        process.work(1)
        names = (call.split()[0] for call in fuse.calls[before:] if _counts(call))
        found[_kind(process, message[2].part)] = Counter(names)
    assert world.state is State.READY
    return found


def test_a_film_asks_storage_for_no_more_than_it_needs(requests: dict[str, Counter[str]]) -> None:
    sums = {kind: found.total() for kind, found in requests.items()}
    assert {kind: sums[kind] for kind in MOST if sums[kind] > MOST[kind]} == {}, requests
    assert sum(sums.values()) <= FILM, requests


def _counts(call: str) -> bool:
    """Whether it is a request to storage that is not the film itself; deleting nothing is none."""
    method, _, key = call.partition(" ")
    return method in _METHODS and not key.endswith((".m4s", ".jpg")) and (method, key) != _NOTHING


def _kind(process: Process, part: str) -> str:
    """What the bounds call it, else its own name."""
    plan = process.bench.plans.load(ID, 1)
    made = {each.id: each for each in plan.parts} if plan is not None else {}
    if part in made and made[part].kind is PartKind.VIDEO:
        return "head" if made[part].head else "chunk"
    return part

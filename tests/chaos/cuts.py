"""Where to cut a scenario off, if not at every call: where writes of two kinds follow each other.

What is left by a process that dies depends on the last thing that it wrote. So each kind of write
to storage is tried after each kind that comes right before it in the scenario, with Redis emptied,
since storage alone has to do; and each kind of write to Redis is tried with Redis as it was left.
What is the same in several scenarios is tried in one of them.

A place is the n-th time that the two follow each other, and no number of a call: how often a
process looks, or is told to look again, depends on how fast it is.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Final

from storage import layout
from tests.chaos.faulty import Fault, Fuse

#: Calls that write nothing, or nothing that anybody relies on.
_READS: Final = frozenset({"get", "head", "list", "uploads", "HKEYS", "HGET", "EXISTS", "PUBLISH"})

#: What is told apart by the beginning of its name, and not by the end.
_NAMED: Final = ("master", "poster", "storyboard")

#: What stands before a segment stands behind it, too, and the segment counts for nothing: only
#: that a receipt does not name one yet to come is tried.
_SEGMENT: Final = "put play .m4s"
_RECEIPT: Final = "create parts .json"

#: Folders of a video in which writes follow from what is stored, whoever asked for it.
_ALIKE: Final = frozenset({"play", "published", "plan"})

#: Two kinds of writes, of which the second follows the first; an empty first is any, and any read.
Pair = tuple[str, str]


@dataclass
class Follows:
    """Whether a call is a write of the pair's second kind, right after one of its first."""

    pair: Pair
    _last: str = field(default="", repr=False)

    def __call__(self, call: str) -> bool:
        kind = _kind(call)
        if not self.pair[0]:
            return kind == self.pair[1]
        if not _is_stored(kind):
            return False
        last, self._last = self._last, kind
        return (last, kind) == self.pair


def cuts(
    scenario: str,
    film: str,
    calls: Sequence[str],
    tried: set[tuple[str, Pair]],
    chance: random.Random,
) -> Iterator[Fuse]:
    """Deaths at every pair of kinds that is not among the ``tried``, and an error at some write."""
    kinds = [kind for call in calls if (kind := _kind(call))]
    stored = [pair for pair in pairwise(filter(_is_stored, kinds)) if _matters(*pair)]
    pairs = Counter(stored + [("", kind) for kind in kinds if not _is_stored(kind)])
    for pair, times in pairs.items():
        place = ("", film, scenario)[max(map(_scope, pair))], pair
        if place not in tried:
            tried.add(place)
            fault: Fault = "emptied" if pair[0] else "killed"
            yield Fuse(fault, chance.randint(1, times), Follows(pair))
    kind = chance.choice(kinds)
    fault = chance.choice(("refused", "unanswered"))
    yield Fuse(fault, chance.randint(1, kinds.count(kind)), Follows(("", kind)))


def _scope(kind: str) -> int:
    """Where a kind is tried: 0 is once, 1 for each film, 2 in each scenario.

    The catalog's entries mean something else in each scenario, and what runs make is cut into
    parts as the film has it; playlists and Redis have one meaning.
    """
    _, folder, *_ = (*kind.split(), "", "")
    if folder == "parts" or kind.endswith((".m4s", ".mp4")):
        return 1
    return 2 if folder not in _ALIKE and _is_stored(kind) else 0


def _matters(last: str, kind: str) -> bool:
    return last != kind and (kind != _SEGMENT or last == _RECEIPT)


def _is_stored(kind: str) -> bool:
    """Whether it is a write to storage."""
    return kind.islower()


def _kind(call: str) -> str:
    """Which kind of write a call is, in capitals where it is Redis's; empty for a read."""
    verb, _, key = call.partition(" ")
    if verb in _READS or call == "delete ":
        return ""
    if verb.isupper():
        return f"{verb} {key}" if verb == "EVALSHA" else verb
    path = PurePosixPath(key)
    folders = path.parts[2:] if key.startswith(layout.VIDEOS) else path.parts
    named = (name for name in _NAMED if path.name.startswith(name))
    return " ".join((verb, *folders[:1], next(named, path.suffix))).lower()

"""Damaged films through the whole farm: whatever is done to the bytes, the farm comes out whole.

``REELFARM_TEST_SEED`` makes a run again, and with ``REELFARM_TEST_CASE`` only that case of it.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from farm.client import Video
from farm.errors import RefusedError
from media.binaries import Tools
from tests.e2e.farm_process import Farm
from tests.e2e.guards import (
    MediaWatch,
    assert_nothing_left,
    assert_told_plainly,
    no_complaints,
    now,
)
from tests.e2e.playlists import multivariant
from tests.hostile import Kit

#: Seconds within which each case ends, with :data:`AT_ONCE` others in work on a busy machine.
BOUND: Final = 60.0
AT_ONCE: Final = 4

#: Real films that are decoded fast enough to have their damage tried by the dozen.
REAL: Final = (
    *("sample.mp4", "sample.avi", "sample.flv", "sample_3GPP2.3g2", "sample_av1.mp4"),
    *("h265_10bits.mp4", "ocean.ogv", "fishes.wmv", "fixture.mxf", "fixture2.mpg", "bikes.mp4"),
    *("apple-prores-422-hq.mov", "bbb_2500ms.ts", "sample_with_srt.mkv", "no_duration.webm"),
    *("bear-vp9-odd-dimensions.webm", "dv-pal-interlaced.mov", "fixture-raw.mts"),
)
MADE: Final = tuple(
    f"film.{kind}" for kind in ("mp4", "mov", "mkv", "ts", "avi", "webm", "flv", "ogv")
)

Damage = Callable[[bytearray, int, random.Random], None]


def flip(data: bytearray, at: int, chance: random.Random) -> None:
    """Some bits around ``at``."""
    for _ in range(chance.choice((1, 3, 30))):
        place = (at + chance.randrange(200)) % len(data)
        data[place] ^= 1 << chance.randrange(8)


def zero(data: bytearray, at: int, chance: random.Random) -> None:
    """A range becomes zeros."""
    end = min(len(data), at + chance.choice((4, 64, 4096)))
    data[at:end] = bytes(end - at)


def ones(data: bytearray, at: int, chance: random.Random) -> None:
    """A number becomes the largest there is."""
    end = min(len(data), at + chance.choice((1, 2, 4, 8)))
    data[at:end] = b"\xff" * (end - at)


def truncate(data: bytearray, at: int, chance: random.Random) -> None:
    """The rest is lost."""
    del chance
    del data[max(1, at) :]


def double(data: bytearray, at: int, chance: random.Random) -> None:
    """A range is there twice."""
    piece = data[at : at + chance.choice((8, 500, 20_000))]
    data[at:at] = piece


def delete(data: bytearray, at: int, chance: random.Random) -> None:
    """A range is missing."""
    del data[at : at + chance.choice((1, 8, 500, 20_000))]
    if not data:
        data.append(0)


def noise(data: bytearray, at: int, chance: random.Random) -> None:
    """A range becomes something else."""
    end = min(len(data), at + chance.choice((4, 64, 4096)))
    data[at:end] = chance.randbytes(end - at)


DAMAGES: Final[tuple[Damage, ...]] = (flip, flip, zero, ones, truncate, double, delete, noise)


@dataclass(frozen=True, slots=True)
class Case:
    """One damaged film. ``number`` and the seed are all that is needed to make it again."""

    number: int
    source: str
    damages: tuple[str, ...]
    data: bytes

    def __str__(self) -> str:
        return f"case {self.number}: {self.source}, {', '.join(self.damages)}"


def make_case(seed: int, number: int, sources: dict[str, Callable[[], bytes]]) -> Case:
    """The same for the same seed, number and sources, whatever other cases there are."""
    chance = random.Random(f"{seed}:{number}")
    name = sorted(sources)[number % len(sources)]
    data = bytearray(sources[name]())
    told = []
    for _ in range(chance.choice((1, 1, 2, 5))):
        damage, place = chance.choice(DAMAGES), chance.choice(("head", "anywhere", "tail"))
        at = _place(place, len(data), chance)
        damage(data, at, chance)
        told.append(f"{damage.__name__} at {at}")
    return Case(number, name, tuple(told), bytes(data))


def _place(where: str, size: int, chance: random.Random) -> int:
    """Headers and indexes, which lie at the ends, are hit as often as all the rest."""
    if where == "head":
        return chance.randrange(min(size, 2000))
    if where == "tail":
        return size - 1 - chance.randrange(min(size, 4000))
    return chance.randrange(size)


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a case."""

    case: Case
    video: Video | None
    seconds: float

    @property
    def end(self) -> str:
        """``ready``, or the code of the error."""
        if self.video is None:
            return "refused"
        return str(self.video["error"]["code"] if self.video["error"] else self.video["status"])


@pytest.fixture
def seed() -> int:
    """Of this run's luck."""
    given = os.environ.get("REELFARM_TEST_SEED")
    return int(given) if given else secrets.randbelow(10**6)


@pytest.fixture
def sources(tools: Tools, tmp_path: Path) -> dict[str, Callable[[], bytes]]:
    """What is damaged: made films always, real ones where there are any."""
    kit = Kit(tools, tmp_path, tmp_path, "")
    return {name: lambda name=name: kit.film(name) for name in MADE}  # type: ignore[misc]


def real_films(media: Path) -> dict[str, Callable[[], bytes]]:
    """Those of :data:`REAL` that are there."""
    found = (path for folder in ("valid", "awkward") for path in (media / folder).glob("*"))
    return {path.name: path.read_bytes for path in found if path.name in REAL}


def test_damage_hurts_nobody_but_the_film(
    farm: Farm, tools: Tools, sources: dict[str, Callable[[], bytes]], seed: int, tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    fuzz(farm, tools, sources, seed, 14, tmp_path, record_property)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_damage_to_real_films_hurts_nobody_but_the_film(
    farm: Farm, tools: Tools, sources: dict[str, Callable[[], bytes]], seed: int, tmp_path: Path,
    media_dir: Path, record_property: Callable[[str, object], None],
) -> None:  # fmt: skip
    fuzz(farm, tools, sources | real_films(media_dir), seed, 250, tmp_path, record_property)


def fuzz(
    farm: Farm,
    tools: Tools,
    sources: dict[str, Callable[[], bytes]],
    seed: int,
    count: int,
    folder: Path,
    record_property: Callable[[str, object], None],
) -> None:
    """So many cases, some at once. What is wrong with any is told with the seed and its number."""
    only = os.environ.get("REELFARM_TEST_CASE")
    numbers = [int(only)] if only else list(range(count))
    with no_complaints(farm), MediaWatch(farm) as watch, ThreadPoolExecutor(AT_ONCE) as pool:
        cases = (make_case(seed, number, sources) for number in numbers)
        ended = list(pool.map(lambda case: _try(farm, case, folder), cases))
        faults = [f"{each.case}: {fault}" for each in ended for fault in _faults(farm, tools, each)]
        assert_nothing_left(farm, [each.video["id"] for each in ended if each.video])
        watch.assert_over()
    ends = ", ".join(f"{n} {end}" for end, n in Counter(e.end for e in ended).most_common())
    slowest = max(ended, key=lambda each: each.seconds)
    told = f"seed {seed}: {ends}; slowest {slowest.seconds:.1f} s ({slowest.case})"
    record_property("table", told)
    assert not faults, "\n".join((f"REELFARM_TEST_SEED={seed}", told, *faults))


def _try(farm: Farm, case: Case, folder: Path) -> Ended:
    path = folder / f"{case.number}-{case.source}"
    path.write_bytes(case.data)
    began = now()
    try:
        video = farm.ended(farm.client.upload(path)["id"])
    except RefusedError:
        return Ended(case, None, now() - began)
    except AssertionError as error:
        raise AssertionError(f"{case} is stuck: {error}") from error
    finally:
        path.unlink()
    return Ended(case, video, now() - began)


def _faults(farm: Farm, tools: Tools, ended: Ended) -> Iterator[str]:
    """What is wrong with how it ended."""
    if ended.seconds > BOUND:
        yield f"took {ended.seconds:.1f} s"
    if ended.video is None or ended.video["status"] == "canceled":
        yield f"ended as {ended.end}"
    elif ended.video["status"] == "ready":
        yield from _undecodable(farm, tools, ended.video)
    else:
        if ended.end == "internal_error":
            yield ended.video["error"]["message"]
        assert_told_plainly(ended.video["error"])


def _undecodable(farm: Farm, tools: Tools, video: Video) -> Iterator[str]:
    """Whatever is published plays without a complaint."""
    hls = video["playback"]["hls"]
    found = multivariant(hls, farm.client.fetch(hls).text)
    for stream in (*found.variants[:1], *found.audio):
        argv = (tools.ffmpeg, "-v", "error", "-xerror", "-i", stream.url, "-f", "null", "-")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode or done.stderr:
            yield f"{stream.url} does not play: {done.stderr[-500:]}"

"""The soak: films go through a farm while everything about it is broken at random. ::

    python -m tests.chaos.soak --videos 50 --faults 100 --every 4 --seed 1 --json soak.json

Every so many seconds a fault (:mod:`tests.chaos.harm`) is drawn from the seed, which is printed.
Meanwhile clients upload films as good clients do: with an Idempotency-Key, again until they are
acknowledged. Some cancel and retry theirs, or delete it. Once all faults are over, every film has
to come to its end, and is then decoded and compared picture by picture; after that nothing may be
left in the farm. The end is a table, and exit status 1 where anything was lost, published twice,
wrong, stuck, or left behind.

The seed fixes what is drawn, not what it meets: what a worker does when it is killed depends on
the machine. What came of a run is in its log, which is kept where something was wrong.
"""

from __future__ import annotations

import json
import random
import secrets
import shutil
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from threading import Event, Lock
from typing import Any, Final

from farm.client import Video
from farm.errors import NotFoundError
from media.binaries import Tools, find_tools
from tests.chaos import aftermath, harm
from tests.chaos.checks import assert_flawless, leftovers
from tests.chaos.clients import ACKNOWLEDGED, Clients, Film
from tests.chaos.rig import Rig, rig
from tests.e2e.farm_process import eventually
from tests.numbered import Clip, ClipSpec, make_clip

NTSC: Final = Fraction(30000, 1001)

#: Small films: containers, rates, an upright one, one without sound, and some of several chunks.
FILMS: Final = {
    "short": ClipSpec(frames=120),
    "mkv": ClipSpec("mkv", NTSC, frames=180, gop=30),
    "ts": ClipSpec("ts", frames=150, start=1.4),
    "upright": ClipSpec(frames=125, size=(180, 320)),
    "silent": ClipSpec(frames=100, sound=False),
    "long": ClipSpec(frames=750, gop=50),
    "longer": ClipSpec("mkv", frames=1500, gop=50),
}

#: Seconds for the last traces to go.
CLEAN: Final = 420.0


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run."""

    videos: int = 50
    faults: int = 100
    #: Seconds from fault to fault, on average.
    every: float = 4.0
    seed: int = 0
    #: Films that are being worked on at once.
    window: int = 5
    kinds: tuple[str, ...] = tuple(harm.KINDS)
    films: tuple[str, ...] = tuple(FILMS)
    #: How long outages last, 1.0 for up to a dozen seconds.
    pace: float = 1.0
    #: Whether clients cancel, retry and delete.
    wishes: bool = True
    #: Whether all films are acknowledged before the first fault.
    head_start: bool = False


@dataclass(slots=True)
class Outcome:
    """The table."""

    seed: int
    videos: int
    faults: dict[str, int] = field(default_factory=dict)
    ready: int = 0
    deleted: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    #: Errors that no fault accounts for, and films that errored and were retried, by code.
    unexplained: list[str] = field(default_factory=list)
    errored: dict[str, int] = field(default_factory=dict)
    upload_tries: int = 0
    requests_failed: dict[str, int] = field(default_factory=dict)
    #: Percent of segment bytes, and of runs of parts, beyond what would have done.
    extra_bytes: float = 0.0
    extra_runs: float = 0.0
    seconds_of_faults: float = 0.0
    seconds_to_end: float = 0.0
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        broken = (self.lost, self.doubled, self.wrong, self.stuck, self.left, self.unexplained)
        return not any(broken)


def say(text: str) -> None:
    """One line, in one write: threads talk at the same time."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


class Soak:
    """One run against one rig."""

    def __init__(self, found: Rig, tools: Tools, clips: dict[str, Clip], order: Order) -> None:
        self.rig = found
        self.tools = tools
        self.order = order
        self.outcome = Outcome(order.seed, order.videos)
        dice = random.Random(order.seed)
        names = self._names(dice)
        apart = 0.0 if order.head_start else 1 / len(names)
        self.films = [
            self._film(dice, clips[name], place * apart) for place, name in enumerate(names)
        ]
        self._dice = random.Random(dice.random())
        self._busy: set[str] = set()
        self._faults: Counter[str] = Counter()
        self._under_way = 0
        self._healed = Event()
        self._lock = Lock()

    def run(self) -> Outcome:
        """Everything, in order."""
        began = time.monotonic()
        clients = Clients(self.rig, self._progress, self._healed)
        with ThreadPoolExecutor(self.order.window) as pool:
            lives = [pool.submit(clients.live, film) for film in self.films]
            if self.order.head_start:
                eventually(lambda: all(film.video_id for film in self.films), ACKNOWLEDGED)
            self._harm(lives)
            healed = time.monotonic()
            for life in lives:
                life.result()
        ended = time.monotonic()
        self._judge()
        out = self.outcome
        out.seconds_of_faults = healed - began
        out.seconds_to_end = ended - healed
        out.seconds = time.monotonic() - began
        return out

    def _names(self, dice: random.Random) -> list[str]:
        """Every kind of film, over and over; the long ones less often."""
        weights = [1 if name.startswith("long") else 3 for name in self.order.films]
        more = dice.choices(self.order.films, weights, k=self.order.videos)
        return [*self.order.films, *more][: self.order.videos]

    def _film(self, dice: random.Random, clip: Clip, place: float) -> Film:
        wishes = ("cancel", "delete") if self.order.wishes else ()
        wish = dice.choices(("", *wishes), (8, *(1 for _ in wishes)))[0]
        return Film(clip, f"soak-{secrets.token_hex(8)}", wish, place)

    # Faults

    def _progress(self) -> float:
        return 1.0 if self._healed.is_set() else sum(self._faults.values()) / self.order.faults

    def _harm(self, lives: Sequence[Future[None]]) -> None:
        """Draw faults until there were enough, then wait for all to be over."""
        with ThreadPoolExecutor(32, thread_name_prefix="harm") as hands:
            while sum(self._faults.values()) < self.order.faults:
                time.sleep(self._dice.uniform(0.5, 1.5) * self.order.every)
                if sum(self._faults.values()) + self._under_way >= self.order.faults:
                    continue
                name = self._draw()
                dice = harm.Dice(self._dice.random())
                dice.pace = self.order.pace
                hands.submit(self._strike, name, dice)
        self.outcome.faults = dict(sorted(self._faults.items()))
        self.outcome.requests_failed = dict(sorted(self.rig.proxy.done.items()))
        self._healed.set()
        say(f"{sum(self._faults.values())} faults are over; {_open(lives)} films are not")

    def _draw(self) -> str:
        """A kind of fault whose part of the farm is free; claims it."""
        with self._lock:
            free = [name for name in self.order.kinds if harm.KINDS[name].part not in self._busy]
            weights = [harm.KINDS[name].weight for name in free]
            name = self._dice.choices(free, weights)[0]
            if part := harm.KINDS[name].part:
                self._busy.add(part)
            self._under_way += 1
        return name

    def _strike(self, name: str, dice: harm.Dice) -> None:
        kind = harm.KINDS[name]
        try:
            told = kind.harm(self.rig, dice)
        except Exception as error:  # noqa: BLE001 - the rig's own failure is a finding, too
            self.outcome.unexplained.append(f"{name}: {error!r}"[:2000])
            told = repr(error)
        with self._lock:
            self._busy.discard(kind.part)
            self._under_way -= 1
            if told is not None:
                self._faults[name] += 1
                say(f"{sum(self._faults.values()):4} {name}: {told}")

    # The end

    def _judge(self) -> None:
        """Fill in the table."""
        out = self.outcome
        self.rig.until_working()
        with ThreadPoolExecutor(2) as judges:
            list(judges.map(self._look_at, self.films))
        for film in self.films:
            story = f"{film.video_id or film.key} ({film.clip.path.name}): {film.story}"
            if film.verdict:
                getattr(out, film.verdict).append(story)
            elif film.wish == "delete":
                out.deleted += 1
            else:
                out.ready += 1
            if set(film.errors) - {"worker_crashed"}:
                out.unexplained.append(story)
        out.errored = dict(Counter(code for film in self.films for code in film.errors))
        out.upload_tries = sum(film.tries for film in self.films)
        known = {film.video_id for film in self.films}
        out.doubled += aftermath.unknown_videos(self.rig, known)
        out.unexplained += aftermath.unexplained(self.rig.farm.log)
        out.left = self._left()
        kept = {film.video_id for film in self.films if not film.wish}
        out.extra_bytes, out.extra_runs = aftermath.extra_work(self.rig, kept)

    def _look_at(self, film: Film) -> None:
        """Compare the film with what was uploaded."""
        if film.verdict or not film.video_id:
            return
        try:
            video = self.rig.farm.client.video(film.video_id)
        except NotFoundError:
            film.verdict = "" if film.wish == "delete" else "lost"
            return
        if film.wish == "delete":
            film.verdict, film.story = "wrong", f"deleted, and {video['status']}"
        else:
            self._decode(film, video)

    def _decode(self, film: Film, video: Video) -> None:
        if video["status"] != "ready":
            film.verdict, film.story = "lost", f"{video['status']}: {film.story}"
            return
        ids = [event.id for event in self.rig.farm.record(film.video_id).events]
        if len(ids) != len(set(ids)):
            film.verdict, film.story = "doubled", f"events {ids}"
            return
        try:
            assert_flawless(self.rig.farm, self.tools, film.clip, video)
        except Exception as error:  # noqa: BLE001 - a stream that does not decode is wrong, too
            film.verdict, film.story = "wrong", f"{error!r}"[:3000]

    def _left(self) -> list[str]:
        """What is not gone in time. Each look lists everything, so there are pauses between."""
        give_up = time.monotonic() + CLEAN
        while found := [*leftovers(self.rig.farm), *aftermath.orphans(self.rig)]:
            if time.monotonic() > give_up:
                break
            time.sleep(1.0)
        return found


def _open(lives: Sequence[Future[None]]) -> int:
    return sum(not life.done() for life in lives)


def soak(directory: Path, order: Order) -> Outcome:
    """Run the order on a farm below ``directory``, which keeps its log."""
    tools = find_tools()
    folder = directory / "clips"
    folder.mkdir(parents=True)
    clips = {name: make_clip(folder / name, tools, FILMS[name]) for name in order.films}
    say(f"seed {order.seed}: {order.videos} videos, {order.faults} faults, log in {directory}")
    with rig(directory) as found:
        return Soak(found, tools, clips, order).run()


def table(out: Outcome) -> str:
    """The outcome for people."""
    rows: list[tuple[str, Any]] = [
        ("videos", f"{out.videos}: {out.ready} ready, {out.deleted} deleted by wish"),
        ("faults", sum(out.faults.values())),
        *((f"  {name}", count) for name, count in out.faults.items()),
        ("requests to S3 failed", out.requests_failed),
        ("tries of uploads", out.upload_tries),
        ("errored and retried", out.errored or 0),
        *((name, len(getattr(out, name))) for name in ("lost", "doubled", "wrong", "stuck")),
        ("unexplained errors", len(out.unexplained)),
        ("left behind", len(out.left)),
        ("extra work", f"{out.extra_bytes:.0f} % of bytes, {out.extra_runs:.0f} % of runs"),
        ("time", f"{out.seconds_of_faults:.0f} s of faults, all ended {out.seconds_to_end:.0f} s "
                 f"after the last, {out.seconds:.0f} s in all"),
    ]  # fmt: skip
    lines = [f"{name:<32} {value}" for name, value in rows]
    for name in ("lost", "doubled", "wrong", "stuck", "unexplained", "left"):
        lines += [f"{name}: {story}" for story in getattr(out, name)[:20]]
    return "\n".join(lines)


def main() -> int:
    """The command."""
    parser = ArgumentParser(description="Send films through a farm that is broken at random.")
    parser.add_argument("--videos", type=int, default=50)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--every", type=float, default=4.0, help="seconds from fault to fault")
    parser.add_argument("--window", type=int, default=5, help="films under way at once")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--json", type=Path, default=None, help="file for the outcome")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    order = Order(given.videos, given.faults, given.every, seed, given.window)
    directory = Path(tempfile.mkdtemp(prefix="reelfarm-soak-"))
    try:
        out = soak(directory, order)
    except BaseException:
        say(f"The soak broke off; what there is lies in {directory}")
        raise
    sys.stdout.write(table(out) + "\n")
    if given.json is not None:
        given.json.write_text(json.dumps(asdict(out), indent=2))
    if out.good:
        shutil.rmtree(directory)
    else:
        say(f"not as promised: the farm's log and data are in {directory}")
    return 0 if out.good else 1


if __name__ == "__main__":
    sys.exit(main())

"""Valkey and S3 killed, stopped, overloaded and unheard, each in the middle of a film's work.

Every test sees that the fault has met the farm before it is over: the film's own request is held
by the proxy until it is there, and the log or the proxy tells of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from farm.errors import FarmError
from media.binaries import Tools
from storage import layout
from storage.errors import UnavailableError
from storage.objects import connect
from tests.chaos.checks import RECOVERY, assert_flawless, assert_nothing_left
from tests.chaos.rig import Rig, rig
from tests.chaos.s3_proxy import (
    CONFLICT,
    DROPPED,
    HALFWAY,
    LOST,
    SLOW_DOWN,
    STALL,
    Request,
    Rule,
)
from tests.e2e.farm_process import PROFILE, eventually
from tests.numbered import Clip, ClipSpec, make_clip

pytestmark = pytest.mark.long

#: Seconds that make the storage's and ffmpeg's own time-outs of 30 s come.
STOPPED = 32.0
#: Seconds for an inbox that is swept every 30 s, and the rest of a small film.
SWEPT = 30.0 + RECOVERY

SEGMENT = r"/play/1/\w+/180p-0*[1-9]\d*\.m4s$"


@pytest.fixture(scope="module")
def short(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Three seconds, for those who come while something is away."""
    folder = tmp_path_factory.mktemp("short")
    return make_clip(folder / "short", tools, ClipSpec("mkv", frames=75))


@contextmanager
def in_work(rigged: Rig, clip: Clip) -> Iterator[str]:
    """A film of which a chunk is being made; it gets on once the block is left."""
    video_id = rigged.farm.client.upload(clip.path)["id"]
    with rigged.proxy.failing(HALFWAY, key=f"{video_id}{SEGMENT}", times=1) as rule:
        eventually(lambda: rule.done, RECOVERY, lambda: rigged.farm.last_words(video_id))
        yield video_id


def flawless(rigged: Rig, tools: Tools, *films: tuple[str, Clip], within: float = SWEPT) -> None:
    """All of them end as they should, and nothing else is there."""
    for video_id, clip in films:
        assert_flawless(rigged.farm, tools, clip, rigged.ended(video_id, within))
    assert_nothing_left(rigged.farm)


@dataclass(frozen=True, slots=True)
class Ear:
    """What the farm says from now on."""

    log: Path
    begin: int

    @classmethod
    def at(cls, rigged: Rig) -> Ear:
        """One that begins to listen."""
        return cls(rigged.farm.log, rigged.farm.log.stat().st_size)

    def lines(self) -> list[dict[str, Any]]:
        """All that was said, but for what is no JSON."""
        with self.log.open("rb") as log:
            log.seek(self.begin)
            text = log.read().decode(errors="replace")
        found: list[dict[str, Any]] = []
        for line in text.splitlines():
            with suppress(ValueError):
                found.append(dict(json.loads(line)))
        return found

    def events(self) -> set[str]:
        """What happened."""
        return {str(line.get("event")) for line in self.lines()}

    def wait(self, *events: str) -> None:
        """Until all of these were told."""
        eventually(lambda: set(events) <= self.events(), RECOVERY, self.events)


def said(ear: Ear, text: str) -> bool:
    """Whether any line holds the text."""
    return any(text in json.dumps(line) for line in ear.lines())


# Valkey


def test_a_valkey_killed_and_started_again_delays_films_and_loses_none(
    rigged: Rig, tools: Tools, film: Clip, short: Clip
) -> None:
    """One in work, and one that was acknowledged while there was no Redis to tell of it."""
    ear, before = Ear.at(rigged), rigged.valkey.pid
    with in_work(rigged, film) as running:
        rigged.valkey.kill()
        try:
            waiting = rigged.farm.client.upload(short.path)["id"]
            ear.wait("sweep_delayed", "lease_not_renewed")
        finally:
            rigged.valkey.start()
    assert rigged.valkey.pid not in (None, before)
    flawless(rigged, tools, (running, film), (waiting, short))


@pytest.mark.parametrize("seconds", [0.0, pytest.param(STOPPED, marks=pytest.mark.long)])
def test_a_stopped_valkey_delays_films_and_loses_none(
    rigged: Rig, tools: Tools, film: Clip, short: Clip, seconds: float
) -> None:
    """Its connections stand, and nothing is answered on them; past every lease in the long run."""
    ear = Ear.at(rigged)
    with in_work(rigged, film) as running, rigged.valkey.frozen(seconds):
        waiting = rigged.farm.client.upload(short.path)["id"]
        ear.wait("lease_not_renewed")
    flawless(rigged, tools, (running, film), (waiting, short))


# S3


@pytest.mark.parametrize("seconds", [2.0, pytest.param(STOPPED, marks=pytest.mark.long)])
def test_a_stopped_s3_delays_films_and_loses_none(
    rigged: Rig, tools: Tools, film: Clip, short: Clip, seconds: float
) -> None:
    """Whoever uploads meanwhile waits; what is acknowledged in the end becomes a film, too."""
    farm, films = rigged.farm, list[tuple[str, Clip]]()
    with ThreadPoolExecutor(1) as pool:
        with in_work(rigged, film) as running:
            films.append((running, film))
            rigged.seaweedfs.stop()
            asked = rigged.proxy.fail(STALL)  # for no time at all: it counts
        try:
            upload = pool.submit(farm.client.upload, short.path)
            eventually(lambda: asked.done, RECOVERY)
            assert_silent(rigged)
            time.sleep(seconds)
            assert not upload.done() or upload.exception(), "acknowledged, and stored nowhere"
        finally:
            rigged.seaweedfs.cont()
            rigged.proxy.heal(asked)
        try:
            films.append((upload.result(RECOVERY)["id"], short))
        except FarmError as error:
            assert "storage" in str(error).lower()
    flawless(rigged, tools, *films)


def assert_silent(rigged: Rig) -> None:
    """S3 takes connections, and says nothing."""
    config = rigged.seaweedfs.server.config()  # type: ignore[attr-defined]
    one_look = connect(config, read_timeout=1.0, tries=1)
    with closing(one_look) as store, pytest.raises(UnavailableError):
        store.head(layout.INBOX)


@pytest.mark.long
def test_an_overloaded_s3_delays_films_and_refuses_uploads_with_a_reason(
    rigged: Rig, tools: Tools, film: Clip
) -> None:
    """503 to everything, until workers and the API have used up their own tries."""
    ear = Ear.at(rigged)
    with in_work(rigged, film) as running:
        rule = rigged.proxy.fail(SLOW_DOWN)
    try:
        with pytest.raises(FarmError, match="storage"):
            rigged.farm.client.upload(film.path)
        ear.wait("part_failed_unforeseen")
    finally:
        rigged.proxy.heal(rule)
    assert rule.done > 10
    flawless(rigged, tools, (running, film))


@pytest.mark.long
def test_conditional_writes_that_meet_others_in_flight_are_tried_until_they_are_settled(
    rigged: Rig, tools: Tools, film: Clip
) -> None:
    """409 to all of them, until somebody has given up."""
    ear = Ear.at(rigged)
    with in_work(rigged, film) as running:
        rule = rigged.proxy.fail(CONFLICT, match=lambda request: request.conditional)
    try:
        eventually(lambda: said(ear, "conditional writes in a row"), RECOVERY, ear.events)
    finally:
        rigged.proxy.heal(rule)
    assert rule.done > 5
    flawless(rigged, tools, (running, film))


@dataclass(frozen=True, slots=True)
class Write:
    """A kind of write: what its key looks like, and the condition that it carries."""

    key: str
    condition: str = ""

    def matches(self, request: Request) -> bool:
        """Whether a request is of the kind."""
        conditions = {"if-match", "if-none-match"} & request.headers.keys()
        return request.method == "PUT" and conditions == ({self.condition} - {""})


MASTER = Write(r"/play/master\.m3u8$", "if-none-match")

#: Every kind of object, and both ways in which some are written.
WRITES = (
    Write(r"^inbox/", "if-none-match"),
    Write(r"^inbox/", "if-match"),
    Write(r"/source$"),
    Write(r"/video\.json$", "if-none-match"),
    Write(r"/video\.json$", "if-match"),
    Write(r"/plan/1\.json$", "if-none-match"),
    Write(r"/play/.*\.m4s$"),
    Write(r"/play/.*-init-.*\.mp4$"),
    Write(r"/parts/1/v.*\.json$", "if-none-match"),
    Write(r"/parts/1/a.*\.json$", "if-none-match"),
    Write(r"/published/1\.json$", "if-none-match"),
    Write(r"/published/1\.json$", "if-match"),
    Write(r"/play/1/\d+p\.m3u8$", "if-none-match"),
    Write(r"/play/1/\d+p\.m3u8$", "if-match"),
    MASTER,
    Write(r"^index/"),
)


def test_writes_whose_answers_are_lost_count_once(rigged: Rig, tools: Tools, film: Clip) -> None:
    """The first write of each kind is done and not answered; the client's own retry follows.

    Where the write was conditional, that retry is refused for what it has itself written.
    """
    proxy, since = rigged.proxy, len(rigged.proxy.log)
    rules: dict[Write, Rule] = {}
    with proxy.failing(HALFWAY, key=SEGMENT, times=1) as hold, ExitStack() as stack:
        for write in WRITES:
            options = {"key": write.key, "match": write.matches, "times": 1}
            rules[write] = stack.enter_context(proxy.failing(LOST, **options))
        video_id = rigged.farm.client.upload(film.path)["id"]
        # What is written only once something has been published waits for that.
        eventually(lambda: hold.done and rules[MASTER].done, RECOVERY)
        proxy.heal(hold)
        flawless(rigged, tools, (video_id, film))
    missed = [write for write, rule in rules.items() if not rule.done]
    assert not missed, "never written in this way"
    lost = [each.key for each in proxy.log[since:] if each.fault is LOST]
    assert len(lost) == len(WRITES)
    refused = {each.key for each in proxy.log[since:] if each.status == 412}
    assert {key for key in lost if key.endswith(".json")} <= refused


@pytest.fixture(scope="module")
def straight(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A film of some megabytes, read from its first byte to its last, without a look at its end."""
    folder = tmp_path_factory.mktemp("straight")
    noise = ("-vf", "noise=alls=10:allf=t")
    spec = ClipSpec(frames=200, sound=False, more=("-movflags", "+faststart", *noise))
    return make_clip(folder / "straight", tools, spec)


def test_half_a_source_is_noticed_and_the_part_made_again(
    tmp_path: Path, tools: Tools, straight: Clip
) -> None:
    """ffmpeg ends with status 0 and as many pictures as it got; none of these may be shown.

    No more than its beginning can be had, until a part has failed so. The host keeps nothing of
    the source: it would have all of it since it was probed.
    """
    with rig(tmp_path, profile=PROFILE, source_cache=0) as rigged:
        half_a_source(rigged, tools, straight)


def half_a_source(rigged: Rig, tools: Tools, straight: Clip) -> None:
    ear, proxy = Ear.at(rigged), rigged.proxy

    def encodes(request: Request) -> bool:
        return request.for_ffmpeg and any(
            key.split("/")[1] in request.key for key in proxy.written(r"/plan/1\.json$")
        )

    def further(request: Request) -> bool:
        return encodes(request) and not request.headers.get("range", "").startswith("bytes=0-")

    def noticed() -> bool:
        failed = [line for line in ear.lines() if line.get("event") == "part_failed"]
        return any(line["part"][0] == "v" and "status 0" in line["message"] for line in failed)

    options = {"operation": "GetObject", "key": "/source$"}
    with proxy.failing(DROPPED, match=further, **options) as dropped:
        video_id = rigged.farm.client.upload(straight.path)["id"]
        eventually(noticed, RECOVERY, ear.lines)
    assert dropped.done
    flawless(rigged, tools, (video_id, straight))

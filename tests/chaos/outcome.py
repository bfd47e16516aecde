"""What a farm has in the end, without ids and times, so that two runs can be compared."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Final

from catalog.videos import TOMBSTONE
from jobs.parts import Pool, queue_names
from jobs.states import TERMINAL, State
from storage import layout
from tests.chaos.world import ID, Process, World

#: Run ids in paths of segments, in storage and in playlists.
_RUN: Final = re.compile(r"\b(?<=\d/)[0-9a-f]{12}(?=/)|\b[0-9a-f]{12}(?=/[a-z0-9-]+-\d{5}\.m4s)")
_TOMBSTONE: Final = re.compile(rf"(?<=^{layout.TOMBSTONES})\d+")
_TIMES: Final = {"created_at", "playable_at", "ready_at"}

#: What each run has of its own: its trace, and who wrote last.
_OWN: Final = {"traceparent", "_writer"}

#: What is resumed is another stream of bytes than what is encoded in one go.
_RATE: Final = re.compile(r"(BANDWIDTH=|bandwidth=\"|BYTERANGE:|@)\d+")
_RESUMED: Final = {"short": re.compile(r"audio-0-\d{5}\.m4s$"), "stream": re.compile(r"\.m4s$")}


@dataclass(frozen=True)
class Outcome:
    """The record, or None, and all objects with a digest of those that are the same each time."""

    state: State | None
    record: dict[str, Any]
    objects: dict[str, str]

    def differences(self, other: Outcome, *, exact: bool = True) -> list[tuple[str, Any, Any]]:
        """What one has otherwise than the other: the name, and both values.

        Unless ``exact``, what is below the video's own prefix does not matter.
        """
        pairs = (self.record, other.record), (self.objects, other.objects)
        both = [(name, a.get(name), b.get(name)) for a, b in pairs for name in a | b]
        unlike = [each for each in both if each[1] != each[2]]
        return [each for each in unlike if exact or not each[0].startswith(layout.VIDEOS)]


def outcome_of(world: World) -> Outcome:
    """What there is, once nothing is left to do."""
    keys = [info.key for info in world.store.list("") if info.key != layout.record(ID)]
    names = [_TOMBSTONE.sub("N", _RUN.sub("RUN", key)) for key in keys]
    # A purge that is repeated enters the tombstone once more, for a little later.
    once = [name for name in names if not name.startswith(layout.TOMBSTONES)]
    assert len(set(once)) == len(once), f"the same segment of two runs: {keys}"
    objects = {name: _digest(world, key) for name, key in zip(names, keys, strict=True)}
    return Outcome(world.state, _record(world), objects)


def _record(world: World) -> dict[str, Any]:
    record = world.record()
    if record is None:
        return {}
    plain = record.model_dump(mode="json", exclude=_TIMES | _OWN)
    plain["events"] = [event.id for event in record.events]
    plain["set"] = [name for name in sorted(_TIMES) if getattr(record, name) is not None]
    for rendition in plain["renditions"]:
        rendition["bandwidth"] = rendition["bandwidth"] > 0
        rendition["average_bandwidth"] = rendition["average_bandwidth"] > 0
    return plain


def _digest(world: World, key: str) -> str:
    is_resumed = _RESUMED[world.studio.film].search(key)
    if not key.startswith((layout.play(ID), layout.source(ID))) or is_resumed:
        return "present"
    body = world.store.get(key).body
    if key.endswith((".m3u8", ".mpd")):
        return _RATE.sub(r"\1N", _RUN.sub("RUN", body.decode()))
    return hashlib.sha256(body).hexdigest()


def assert_watchable(world: World) -> None:
    """At no moment do playlists name what is not there, nor the record what cannot be played."""
    record = world.record()
    if record is None or record.state is State.DELETING:
        return
    paths, named = _paths(world), _named(world)
    assert named["m3u8"] <= paths, "a playlist names what is not there yet"
    assert named[".mpd"] <= paths, "the MPD names what is not there yet"
    assert not record.playable or "master.m3u8" in paths
    if record.state is State.READY:
        lists = [path for path in named["m3u8"] if path.endswith(".m3u8")]
        texts = [world.store.get(layout.play(ID, path)).body for path in lists]
        assert all(b"#EXT-X-ENDLIST" in text for text in texts)
        assert "manifest.mpd" in paths


def assert_sound(world: World) -> None:
    """Nothing is half done: what is named is there, and nothing else; nothing is on its way."""
    if world.state is State.READY:
        _assert_all_named(world)
    elif world.state is not State.DELETING:
        _assert_named_or_received(world)
    _assert_no_trace(world)
    record = world.record()
    if record is not None:
        ids = [event.id for event in record.events]
        assert len(set(ids)) == len(ids)
    if world.state is State.DELETING:
        world.wait(2 * TOMBSTONE)
        Process(world).catalog.housekeep()
        assert world.left() == []


def _assert_all_named(world: World) -> None:
    """Everything that playlists and the MPD name is there, and no segment that they do not."""
    paths, named = _paths(world), _named(world)
    own = {path for path in paths if path.endswith((".m3u8", ".m4s", ".mp4"))}
    assert named["m3u8"] == own - {"master.m3u8"}
    assert named[".mpd"] <= paths
    assert len(named[".mpd"] & {path for path in own if path.endswith(".m4s")}) > 1


def _assert_named_or_received(world: World) -> None:
    """What playlists name is there; what they do not name, a receipt does, for the next try."""
    paths, named = _paths(world), _named(world)
    assert named["m3u8"] <= paths
    keys = [info.key for info in world.store.list(f"{layout.video(ID)}parts/")]
    receipts = "".join(world.store.get(key).body.decode() for key in keys)
    made = {path for path in paths if not path.endswith((".m3u8", ".mpd"))}
    assert {path for path in made if f'"{path}"' not in receipts} == set()
    if world.state in TERMINAL and "master.m3u8" in paths:
        master = world.store.get(layout.play(ID, "master.m3u8")).body.decode()
        lists = [path for path in named["m3u8"] if path.endswith(".m3u8") and path in master]
        texts = [world.store.get(layout.play(ID, path)).body for path in lists]
        assert all(b"#EXT-X-ENDLIST" in text for text in texts), "players go on asking"


def _paths(world: World) -> set[str]:
    root = layout.play(ID)
    return {info.key.removeprefix(root) for info in world.store.list(root)}


def _named(world: World) -> dict[str, set[str]]:
    """What playlists name, and what the MPD does."""
    named: dict[str, set[str]] = defaultdict(set)
    for path in sorted(_paths(world)):
        if not path.endswith((".m3u8", ".mpd")):
            continue
        text = world.store.get(layout.play(ID, path)).body.decode()
        lists = r"^(?!#)(\S+)$|URI=\"([^\"]+)\""
        pattern = lists if path.endswith(".m3u8") else r"(?:media|sourceURL)=\"([^\"$]+)\""
        for match in re.finditer(pattern, text, re.MULTILINE):
            uri = next(group for group in match.groups() if group)
            named[path[-4:]].add(posixpath.normpath(posixpath.join(posixpath.dirname(path), uri)))
    return named


def _assert_no_trace(world: World) -> None:
    """Redis knows nothing of the video, and has no message of it."""
    assert world.client.keys(f"*{world.namespace}*{ID}*") == []
    keys = world.board.keys
    for times in (keys.leases, keys.retries, keys.wakes):
        assert world.client.zrange(times, 0, -1) == []
    assert [q for q in queue_names(tuple(Pool)) if world.client.hlen(keys.messages(q))] == []
    assert list(world.store.uploads("")) == []

"""What must hold of a farm after whatever was done to it, and how to find it at its work.

:func:`assert_flawless` is about one film, :func:`assert_nothing_left` about everything else once
all films have ended: processes, Redis, scratch files, unfinished uploads and every object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import psutil

from farm.client import Video
from farm.embedded.seaweedfs import PROBE
from ingest.uploads import EXPIRES_IN
from jobs.board import Board
from jobs.keys import Keys
from jobs.parts import PartRef
from jobs.records import InboxEntry, VideoRecord
from jobs.states import TERMINAL, State
from jobs.workers import WorkerInfo, list_workers
from media.binaries import Tools
from storage import layout
from storage.documents import load_document, replace_document
from storage.errors import NotFoundError
from tests.e2e import playlists
from tests.e2e.farm_process import Farm, eventually
from tests.numbered import Clip, read_numbers

#: Seconds for a lease to lapse and the rest of a small film to be made, on a busy machine.
RECOVERY: Final = 60.0
#: Seconds until the last trace is gone: a lease that lapses, the sweep of the inbox, the second
#: thoughts of a deletion.
TRACES: Final = 75.0

#: What a running farm keeps in its data directory.
DATA: Final = frozenset({"cache", "farm.json", "logs", "seaweedfs", "valkey"})


def assert_flawless(farm: Farm, tools: Tools, clip: Clip, video: Video) -> None:
    """Every picture in its place in every rung, one event, and nothing under ``play/`` unnamed.

    ``clip`` is of a constant rate. Sound is there where the clip has some.
    """
    assert video["status"] == "ready", f"{video['error']}\n{farm.last_words(video['id'])}"
    assert not video["warnings"]
    hls = playlists.multivariant(
        video["playback"]["hls"], farm.client.fetch(video["playback"]["hls"]).text
    )
    for variant in hls.variants:
        width, height = map(int, variant.attributes["RESOLUTION"].split("x"))
        assert read_numbers(tools, variant.url, (width, height)) == list(clip.numbers), variant.url
    assert bool(hls.audio) is clip.spec.sound
    record = farm.record(video["id"])
    names = [event.name for event in record.events]
    assert names == ["accepted", "playable", "ready"] or record.generation > 1, names
    ready = f"{record.id}:{record.generation}:ready"
    assert [event.id for event in record.events].count(ready) == 1
    assert present(farm, video["id"]) == named(farm, video)


def assert_nothing_left(farm: Farm, within: float = TRACES) -> None:
    """No process, no word in Redis, no file and no object that no ended film needs.

    Everything in the farm has ended by now; what is left has ``within`` seconds to go.
    """
    left: list[str] = []

    def clean() -> bool:
        left[:] = leftovers(farm)
        return not left

    eventually(clean, within, lambda: "\n".join(left[:50]))


def leftovers(farm: Farm) -> list[str]:
    """Everything that should not be there once all films have ended, a line for each."""
    # A readiness probe of SeaweedFS that was given up may be carried out late; the next start of
    # the server removes what it wrote.
    keys = [info.key for info in farm.store.list("") if info.key != PROBE]
    ids = sorted({key.split("/")[1] for key in keys if key.startswith(layout.VIDEOS)})
    records = {video_id: _record(farm, video_id) for video_id in ids}
    needed = set(_needed(farm, [record for record in records.values() if record is not None]))
    strays = [key for key in keys if key not in needed and not _entitled(key, records)]
    return [
        *(f"object that nothing names: {key}" for key in strays),
        *(f"object that is named and missing: {key}" for key in sorted(needed - set(keys))),
        *(f"unfinished upload: {key}" for key, _ in farm.store.uploads("")),
        *(f"in Redis, about {each}: {key}" for each in ids for key in farm.keys_about(each)),
        *(f"in Redis: {line}" for line in _pending(farm)),
        *(f"process: {line}" for line in media_processes(farm, ids)),
        *(f"file: {path}" for path in scratch_files(farm)),
        *(line for record in records.values() if record for line in _unsettled(record)),
    ]


def scratch_files(farm: Farm) -> list[Path]:
    """Files in the farm's temporary directory, and unknown ones in its data directory."""
    directory = farm.log.parent
    data = [path for path in (directory / "data").glob("*") if path.name not in DATA]
    return [*data, *(path for path in (directory / "tmp").rglob("*") if not path.is_dir())]


def media_processes(farm: Farm, video_ids: Iterable[str]) -> list[str]:
    """ffmpeg and ffprobe that a worker of the farm started, or that read one of the videos."""
    sources = [layout.source(video_id) for video_id in video_ids]
    workers = {worker.pid for worker in list_workers(farm.redis, farm.namespace)}
    found = []
    for process in psutil.process_iter(("pid", "ppid", "name", "status", "cmdline")):
        about = process.info
        if not about["name"].startswith(("ffmpeg", "ffprobe")):
            continue
        words = " ".join(about["cmdline"] or ())
        if about["ppid"] in workers or any(source in words for source in sources):
            found.append(f"{about['pid']} {about['status']} {words[:200]}")
    return found


def named(farm: Farm, video: Video) -> set[str]:
    """Paths below ``play/`` of everything that a viewer may ask for."""
    playback = video["playback"]
    root = playback["hls"].removesuffix("master.m3u8")
    hls = playlists.multivariant(playback["hls"], farm.client.fetch(playback["hls"]).text)
    found = {playback["hls"], playback["dash"]}
    for url in hls.named:
        found |= {url} | playlists.media_playlist(url, farm.client.fetch(url).text).named
    return {url.removeprefix(root) for url in found} | _pictures(farm, video["id"])


def present(farm: Farm, video_id: str) -> set[str]:
    """Paths below ``play/`` of everything that is there."""
    root = layout.play(video_id)
    return {info.key.removeprefix(root) for info in farm.store.list(root)}


def ended(farm: Farm, video_id: str, timeout: float = RECOVERY) -> Video:
    """The video once nothing more happens to it; fails after ``timeout`` seconds."""
    found: list[Video] = []

    def over() -> bool:
        found[:] = [farm.client.video(video_id)]
        return found[0]["status"] in ("ready", "errored", "canceled")

    eventually(over, timeout, lambda: farm.last_words(video_id))
    return found[0]


def in_a_chunk(farm: Farm, video_id: str) -> WorkerInfo:
    """A worker that has encoded some, and not nearly all, of a chunk of the video."""
    board = Board(farm.redis, farm.namespace)

    def begun(part: PartRef) -> bool:
        done = board.progress(video_id).get(f"{part.generation}/{part.part}", 0.0)
        return 0.0 < done < 0.7 and is_chunk(farm, part)

    return at_work(farm, video_id, begun)


def at_work(farm: Farm, video_id: str, wanted: Callable[[PartRef], bool]) -> WorkerInfo:
    """A worker of this machine whose ffmpeg is on a part of the video that is ``wanted``."""
    found: list[WorkerInfo] = []

    def looked() -> bool:
        for worker in list_workers(farm.redis, farm.namespace):
            part = PartRef.parse(worker.part) if worker.part else None
            if part is None or part.video_id != video_id or not wanted(part):
                continue
            if encoders(worker):
                found.append(worker)
        return bool(found)

    eventually(looked, RECOVERY, lambda: farm.last_words(video_id))
    return found[0]


def encoders(worker: WorkerInfo) -> list[psutil.Process]:
    """The ffmpeg processes of a worker of this machine; none where it is gone."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(worker.pid).children(recursive=True)
    return []


def is_chunk(farm: Farm, ref: PartRef) -> bool:
    """Whether the part is a piece of the picture other than the film's first moments."""
    return ref.part.startswith("v") and farm.plan(ref.video_id).part(ref.part).first > 0


def expire_uploads(farm: Farm) -> list[str]:
    """Have the time of unfinished uploads be over, and the inbox looked at soon; their ids."""
    now, found = datetime.now(UTC), []
    for info in farm.store.list(layout.INBOX):
        payload, etag = load_document(farm.store, info.key)
        entry = InboxEntry.model_validate(payload)
        if entry.state != "receiving":
            continue
        assert entry.expires_at is not None
        assert entry.expires_at <= now + timedelta(seconds=EXPIRES_IN), "it stays for too long"
        past = entry.model_copy(update={"expires_at": now - timedelta(seconds=1.0)})
        assert replace_document(farm.store, info.key, past.model_dump(mode="json"), etag)
        found.append(layout.inbox_id(info.key))
    farm.redis.delete(Keys(farm.namespace).sentinel)
    return found


def _record(farm: Farm, video_id: str) -> VideoRecord | None:
    """The record, be it a tombstone."""
    try:
        payload, _ = load_document(farm.store, layout.record(video_id))
    except NotFoundError:
        return None
    return VideoRecord.model_validate(payload)


def _needed(farm: Farm, records: Iterable[VideoRecord]) -> Iterator[str]:
    """Keys that must be there: what records, plans, receipts and playlists name."""
    for record in records:
        yield layout.record(record.id)
        if record.state is State.DELETING:
            continue
        yield layout.source(record.id)
        yield layout.index(record.id)
        if record.state is State.READY:
            paths = named(farm, farm.client.video(record.id))
            yield from (layout.play(record.id, path) for path in paths)


def _entitled(key: str, records: dict[str, VideoRecord | None]) -> bool:
    """Whether a key may be there, without being needed for a film to be played."""
    if key.startswith(layout.IDEMPOTENCY):
        return True
    if key.startswith(layout.TOMBSTONES):
        record = records.get(layout.tombstone_name(key)[0])
        return record is not None and record.state is State.DELETING
    if key.startswith(layout.DEAD_LETTERS):
        record = records.get(layout.dead_letter_id(key).partition("-")[0])
        return record is not None and record.state is State.ERRORED
    if not key.startswith(layout.VIDEOS):
        return False
    record = records.get(key.split("/")[1])
    if record is None or record.state is State.DELETING:
        return False
    if key.startswith(layout.play(record.id)):
        # What was published of a film that came to no end stays, and nobody counts it.
        return record.state is not State.READY
    generations = range(1, record.generation + 1)
    prefixes = (layout.receipts(record.id, each) for each in generations)
    single = {f(record.id, each) for each in generations for f in (layout.plan, layout.published)}
    return key in single or key.startswith(tuple(prefixes))


def _pending(farm: Farm) -> Iterator[str]:
    """Leases, retries and wishes to be looked at, of whatever video."""
    keys = Board(farm.redis, farm.namespace).keys
    for times in (keys.leases, keys.retries, keys.wakes):
        for member in farm.redis.zrange(times, 0, -1):
            yield f"{times.rpartition(':')[2]} has {member.decode()}"


def _unsettled(record: VideoRecord) -> Iterator[str]:
    """What a record says that it should not by now."""
    if record.state not in TERMINAL and record.state is not State.DELETING:
        yield f"video {record.id} is still {record.state}"
    for event_id, count in Counter(event.id for event in record.events).items():
        if count > 1:
            yield f"event {event_id} is there {count} times"
    if record.state is State.READY:
        wanted = f"{record.id}:{record.generation}:ready"
        if wanted not in {event.id for event in record.events}:
            yield f"video {record.id} is ready without the event {wanted}"


def _pictures(farm: Farm, video_id: str) -> set[str]:
    """Poster and storyboard, as the receipts of the parts that made them name them."""
    generation = farm.record(video_id).generation
    found: set[str] = set()
    for info in farm.store.list(layout.receipts(video_id, generation)):
        found |= set(load_document(farm.store, info.key)[0].get("objects", ()))
    return found

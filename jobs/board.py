"""The live record: which parts are on their way, who works on them, how often they were tried.

It is disposable. Storage is the truth; the board saves work being done twice, or asked for twice,
and notices workers that die. Were Redis emptied, running parts take their leases again, and the
sweeper sends what is missing.

A part is marked *sent* before its message goes out; a worker that gets the message turns the
mark into a *lease*, and counts the attempt before the work begins. A message whose part is not
marked is a duplicate, or of a past that is over: it is not taken. A lease that is not renewed
lapses. After an error a part *waits* until it is due, and counts as on its way meanwhile.

Every method raises :class:`redis.RedisError` where Redis does not answer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

import redis
import structlog

from jobs import redis_scripts
from jobs.keys import Keys
from jobs.leases import Attempts, Cursor, Ending, Lease, Standing, Unsent, field
from jobs.letters import Attempt
from jobs.parts import PartRef
from jobs.schema import SCHEMA
from jobs.tallies import Tallies
from jobs.timings import Timings
from jobs.workers import count_workers

_LOG = structlog.get_logger(__name__)

#: Late parts popped by one call; the rest come with the next one.
_BATCH = 200

#: Seconds: a worker that has not announced itself for so long is counted no more.
_SILENCE: Final = 60.0

#: Runs of a part that its history goes back, and characters of what each says of its end.
_REMEMBERED: Final = 20
_MESSAGE: Final = 300
#: What the field of a part's history ends with.
_RUNS: Final = "/runs"


class Board:
    """The live record of the farm in ``namespace``. Safe to share between threads."""

    def __init__(
        self,
        client: redis.Redis,
        namespace: str,
        timings: Timings | None = None,
        *,
        tallies: Tallies | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.client = client
        #: What this process counts.
        self.tallies = tallies or Tallies()
        self._monotonic = monotonic
        self._wall = wall
        self._slots = 0
        self._count_at = float("-inf")
        self.keys = Keys(namespace)
        self.timings = timings or Timings()
        self._mark_sent = client.register_script(redis_scripts.MARK_SENT)
        self._unmark = client.register_script(redis_scripts.UNMARK)
        self._take = client.register_script(redis_scripts.TAKE)
        self._progressed = client.register_script(redis_scripts.PROGRESSED)
        self._renew = client.register_script(redis_scripts.RENEW)
        self._release = client.register_script(redis_scripts.RELEASE)
        self._pop_late = client.register_script(redis_scripts.POP_LATE)
        self._pop_lost = client.register_script(redis_scripts.POP_LOST)
        self._request_stop = client.register_script(redis_scripts.REQUEST_STOP)
        self._withdraw = client.register_script(redis_scripts.WITHDRAW)
        self._forget = client.register_script(redis_scripts.FORGET)
        self._begin_advance = client.register_script(redis_scripts.BEGIN_ADVANCE)
        self._end_advance = client.register_script(redis_scripts.END_ADVANCE)
        self._report = client.register_script(redis_scripts.REPORT)
        self._wake = client.register_script(redis_scripts.WAKE)
        self._move_cursor = client.register_script(redis_scripts.MOVE_CURSOR)
        self._note_unsent = client.register_script(redis_scripts.NOTE_UNSENT)
        self._pop_awake = client.register_script(redis_scripts.POP_AWAKE)
        self._lead = client.register_script(redis_scripts.LEAD)
        self._resign = client.register_script(redis_scripts.RESIGN)
        self._info_refused = False

    # Sending

    def mark_sent(self, ref: PartRef, queue: str, message_id: str) -> bool:
        """Claim the right to send; False when the part is on its way already."""
        return bool(
            self._mark_sent(
                [self.keys.parts(ref.video_id)], [field(ref), queue, message_id, self._keep]
            )
        )

    def unmark(self, ref: PartRef, message_id: str) -> None:
        """Take the mark of a message back that could not be sent."""
        keys = [self.keys.parts(ref.video_id), self.keys.cursor(ref.video_id)]
        self._unmark(keys, [field(ref), message_id])

    def in_flight(self, video_ids: Sequence[str]) -> list[bool]:
        """For each video, whether any part of it is on its way."""
        pipeline = self.client.pipeline(transaction=False)
        for video_id in video_ids:
            pipeline.exists(self.keys.parts(video_id))
        return [bool(found) for found in pipeline.execute()]

    def parts_in_flight(self, video_id: str) -> set[str]:
        """The parts on their way, each as ``generation/part``."""
        names = cast("list[bytes]", self.client.hkeys(self.keys.parts(video_id)))
        return {name.decode() for name in names}

    # Working

    def take(self, ref: PartRef, owner: str, *, host: str = "", pid: int = 0) -> Lease | None:
        """The lease, the attempt counted; None when the part is not there to be taken.

        ``host`` and ``pid`` tell the part's history where the run was.
        """
        video = ref.video_id
        counts = self._take(
            [self.keys.parts(video), self.keys.attempts(video), self.keys.leases],
            [
                *(field(ref), str(ref), owner, _ms(self.timings.lease_ttl), self._keep),
                *(host, pid, _REMEMBERED),
            ],
        )
        if counts is None:
            return None
        starts, errors, drains, waited = counts
        attempts = _attempts(starts, errors, drains, running=1)
        return Lease(ref, owner, attempts, None if waited < 0 else waited / 1000)

    def renew(self, lease: Lease) -> bool:
        """Keep a lease. One found gone is taken again; False when somebody else has it."""
        ref = lease.ref
        return bool(
            self._renew(
                [self.keys.parts(ref.video_id), self.keys.leases],
                [field(ref), str(ref), lease.owner, _ms(self.timings.lease_ttl), self._keep],
            )
        )

    def release(
        self,
        lease: Lease,
        ending: Ending,
        retry_in: float | None = None,
        *,
        code: str = "",
        message: str = "",
    ) -> bool:
        """End a lease and count how. With ``retry_in`` the part waits so many seconds.

        ``code`` and ``message`` tell the part's history why. False when the lease was somebody
        else's by now; theirs stays.
        """
        ref, keys = lease.ref, self.keys
        video = ref.video_id
        pause = "" if retry_in is None else _ms(retry_in)
        return bool(
            self._release(
                [
                    keys.parts(video),
                    keys.attempts(video),
                    keys.leases,
                    keys.retries,
                    keys.progress(video),
                    keys.cursor(video),
                ],
                [
                    *(field(ref), str(ref), lease.owner, ending, pause, self._keep),
                    *(code, message[:_MESSAGE].encode(errors="replace")),
                ],
            )
        )

    def is_leased(self, ref: PartRef) -> bool:
        """Whether a worker holds the part, or held it and died less than a lease ago."""
        return self._entry(ref)[:1] == [b"leased"]

    def holder(self, ref: PartRef) -> str | None:
        """The run that holds the part."""
        entry = self._entry(ref)
        return entry[2].decode() if entry[:1] == [b"leased"] else None

    def attempts(self, ref: PartRef) -> Attempts:
        """The counts of a part that is not done; zero once it is."""
        names = [f"{field(ref)}/{counter}" for counter in ("starts", "errors", "drains")]
        pipeline = self.client.pipeline(transaction=True)
        pipeline.hmget(self.keys.attempts(ref.video_id), names)
        pipeline.hget(self.keys.parts(ref.video_id), field(ref))
        counts, entry = pipeline.execute()
        starts, errors, drains = (int(count or 0) for count in counts)
        running = int((entry or b"").startswith(b"leased"))
        return _attempts(starts, errors, drains, running=running)

    def history(self, ref: PartRef) -> tuple[Attempt, ...]:
        """The last runs of a part that is not done, oldest first; none once it is.

        One that began and never reported an end is a crash, unless it is the one that runs.
        """
        pipeline = self.client.pipeline(transaction=True)
        pipeline.hget(self.keys.attempts(ref.video_id), field(ref) + _RUNS)
        pipeline.hget(self.keys.parts(ref.video_id), field(ref))
        runs, entry = pipeline.execute()
        return _history(runs, entry)

    def histories(self, video_id: str) -> dict[str, tuple[Attempt, ...]]:
        """The history of every part of a video that is not done, by ``generation/part``."""
        pipeline = self.client.pipeline(transaction=True)
        pipeline.hgetall(self.keys.attempts(video_id))
        pipeline.hgetall(self.keys.parts(video_id))
        attempts, entries = pipeline.execute()
        return {
            name.decode().removesuffix(_RUNS): _history(
                runs, entries.get(name.removesuffix(_RUNS.encode()))
            )
            for name, runs in attempts.items()
            if name.endswith(_RUNS.encode())
        }

    def progressed(self, ref: PartRef) -> None:
        """Forget the earlier runs of a running part: it has got on since."""
        self._progressed(
            [self.keys.parts(ref.video_id), self.keys.attempts(ref.video_id)],
            [field(ref), self._keep],
        )

    # Stopping

    def request_stop(self, video_id: str) -> None:
        """Tell the parts that run now that they are not wanted; later ones are not told."""
        self._request_stop([self.keys.parts(video_id)])

    def withdraw(self, video_id: str, generation: int) -> int:
        """Take the parts of a generation that is over off their queues; how many.

        For queues that nobody may serve any more. Each costs a walk along its queue.
        """
        arguments: list[str | int] = [self.keys.queue(""), generation]
        return int(self._withdraw([self.keys.parts(video_id)], arguments))

    def standing(self, lease: Lease) -> Standing:
        """What has become of a lease, at the cost of one read."""
        match self._entry(lease.ref):
            case [b"leased", _, owner, *stop] if owner == lease.owner.encode():
                return "stop" if stop else "held"
            case _:
                return "gone"

    def stop_requested(self, lease: Lease) -> bool:
        """Whether this run is to stop."""
        return self.standing(lease) == "stop"

    # Sweeping

    def expired(self) -> list[PartRef]:
        """Parts whose lease lapsed, each handed out once; their runs count as crashes."""
        return self._late(self.keys.leases, "leased")

    def due(self) -> list[PartRef]:
        """Parts that have waited long enough after an error, each handed out once."""
        return self._late(self.keys.retries, "waiting")

    def lost(self, *video_ids: str) -> list[PartRef]:
        """Parts marked sent whose message no longer exists, each handed out once.

        Asked about many videos in one round trip: the sweeper asks about every one that waits.
        """
        pipeline = self.client.pipeline(transaction=False)
        arguments: list[str | int] = [self.keys.queue(""), _ms(self.timings.sent_grace)]
        for video_id in video_ids:
            keys = [self.keys.parts(video_id), self.keys.cursor(video_id)]
            self._pop_lost(keys, arguments, client=pipeline)
        found = zip(video_ids, pipeline.execute(), strict=True)
        return [
            PartRef.parse(f"{video_id}/{name.decode()}")
            for video_id, names in found
            for name in names
        ]

    def forget(self, video_id: str) -> None:
        """Remove what there is about a video; running parts keep their leases to the end."""
        keys = self.keys
        self._forget(
            [
                *(keys.parts(video_id), keys.attempts(video_id), keys.progress(video_id)),
                *(keys.retries, keys.cursor(video_id), keys.unsent, keys.unsent_until),
            ],
            [video_id],
        )

    def lead(self, owner: str, schema: int = SCHEMA) -> bool:
        """Whether ``owner`` is the one that sweeps; to be asked again within the lease.

        One that knows a later ``schema`` takes over at once: it can move every video on.
        """
        ttl = _ms(self.timings.sweeper_ttl)
        return bool(self._lead([self.keys.sweeper], [f"{owner} {schema}", ttl, schema]))

    def resign(self, owner: str, schema: int = SCHEMA) -> None:
        """Let another one sweep at once."""
        self._resign([self.keys.sweeper], [f"{owner} {schema}"])

    def plant_sentinel(self) -> None:
        """Leave the key whose absence tells that Redis was emptied."""
        self.client.set(self.keys.sentinel, 1)

    def sentinel_lost(self) -> bool:
        """Whether Redis was emptied, or is new."""
        return not self.client.exists(self.keys.sentinel)

    def incarnation(self) -> str:
        """Which start of Redis this is; a later one may lack the last second before it.

        Empty where Redis does not say, as to a user who may not ask.
        """
        try:
            return str(self.client.info("server").get("run_id", ""))
        except redis.ResponseError as error:
            if not self._info_refused:
                _LOG.warning("redis_restarts_unnoticed", error=str(error), fix="Allow it INFO.")
            self._info_refused = True
            return ""

    # Advancing

    def begin_advance(self, video_id: str, owner: str) -> bool:
        """Become the video's advancer.

        False where there is one, or has just been: word is left for it, and the video is to be
        looked at again when its right or its rest is over.
        """
        keys, ttl = self.keys, _ms(self.timings.advance_ttl)
        return bool(
            self._begin_advance([keys.advance(video_id), keys.wakes], [owner, ttl, video_id])
        )

    def end_advance(
        self, video_id: str, owner: str, *, rest: float = 0.0, more: bool = False
    ) -> bool:
        """Cease to be it; True means that ``owner`` goes on for once more.

        So it is where there is ``more`` to do, where word was left, and where the right lapsed
        meanwhile: then somebody else may have ended the video, and what ``owner`` wrote since is
        in the way. With a ``rest`` nobody advances for so many seconds, word or not.
        """
        keys, ttl = self.keys, _ms(self.timings.advance_ttl)
        return bool(
            self._end_advance(
                [keys.advance(video_id), keys.wakes],
                [owner, ttl, video_id, round(rest * 1000), int(more)],
            )
        )

    def cursor(self, video_id: str, generation: int, queue: str) -> Cursor | None:
        """Up to where the parts have been sent; None where that is not known.

        ``queue`` is the one on which parts of the video wait.
        """
        pipeline = self.client.pipeline(transaction=False)
        pipeline.get(self.keys.cursor(video_id))
        pipeline.hlen(self.keys.parts(video_id))
        pipeline.zcard(self.keys.leases)
        pipeline.llen(self.keys.queue(queue))
        found, moving, *load = pipeline.execute()
        known, _, place = (found or b"0").decode().partition("/")
        if known != str(generation) or place == "0":
            return None
        return Cursor(int(place), moving, sum(load))

    def load(self, queue: str) -> int:
        """How many parts, of all videos, are worked on, or wait on that queue."""
        pipeline = self.client.pipeline(transaction=False)
        pipeline.zcard(self.keys.leases)
        pipeline.llen(self.keys.queue(queue))
        return sum(pipeline.execute())

    def move_cursor(
        self,
        video_id: str,
        generation: int,
        place: int,
        *,
        seen: bool,
        unsent: Unsent | None = None,
    ) -> None:
        """Say that all parts before that place in the plan have been sent or are done.

        What is ``unsent`` behind it is noted with it, where it is known.

        ``seen`` is whether the caller looks at each that is not done, which it is to say before
        it does, with place 0. Else the cursor is believed for no longer than it was, and not at
        all if it is gone: a part may have been taken off the record meanwhile.
        """
        key, value = self.keys.cursor(video_id), f"{generation}/{place}"
        ttl = _ms(self.timings.cursor_ttl)
        if unsent is not None:
            keys = [self.keys.unsent, self.keys.unsent_until, key]
            self._move_cursor(keys, [*self._words_of(video_id, unsent), value, ttl if seen else ""])
        elif seen:
            self.client.set(key, value, px=ttl)
        else:
            self.client.set(key, value, xx=True, keepttl=True)

    def note_unsent(self, video_id: str, unsent: Unsent) -> None:
        """Say what of a video's plan waits for room, so that the autoscaler sees it coming.

        A hint: gone with an emptied Redis, said again at the next look, and forgotten where a
        video says nothing more.
        """
        keys = [self.keys.unsent, self.keys.unsent_until]
        self._note_unsent(keys, self._words_of(video_id, unsent))

    def slots(self) -> int:
        """How many workers there are, as of a few seconds ago."""
        now = self._monotonic()
        if now >= self._count_at:
            self._slots = count_workers(self.client, self.keys, self._wall() - _SILENCE)
            self._count_at = now + self.timings.count_every
        return self._slots

    # Looking again

    def wake(self, video_id: str, after: float) -> None:
        """Have the video advanced in so many seconds; the earliest of several wishes stands."""
        self._wake([self.keys.wakes], [video_id, _ms(after)])

    def awake(self) -> list[str]:
        """Videos that were to be advanced by now, each given out once."""
        found = self._pop_awake([self.keys.wakes], [_BATCH])
        return [video_id.decode() for video_id in found]

    # Progress

    def report(self, ref: PartRef, done: float) -> None:
        """Say how many units of a running part are done; the caller does not do so too often."""
        self._report(
            [self.keys.progress(ref.video_id), self.keys.parts(ref.video_id)],
            [field(ref), repr(done), _ms(self.timings.progress_ttl)],
        )

    def progress(self, video_id: str) -> dict[str, float]:
        """Units done by ``generation/part``, of parts that are on their way."""
        found = cast("dict[bytes, bytes]", self.client.hgetall(self.keys.progress(video_id)))
        return {name.decode(): float(done) for name, done in found.items()}

    def _words_of(self, video_id: str, unsent: Unsent) -> list[str | int]:
        milliseconds, ttl = round(unsent.cost * 1000), _ms(self.timings.unsent_ttl)
        return [video_id, unsent.parts, milliseconds, unsent.pool, ttl]

    @property
    def _keep(self) -> int:
        return _ms(self.timings.forgotten_after)

    def _entry(self, ref: PartRef) -> list[bytes]:
        entry: Any = self.client.hget(self.keys.parts(ref.video_id), field(ref))
        return (entry or b"").split()

    def _late(self, key: str, state: str) -> list[PartRef]:
        prefixes = self.keys.parts(""), self.keys.cursor("")
        members = self._pop_late([key], [prefixes[0], state, _BATCH, prefixes[1]])
        return [PartRef.parse(member.decode()) for member in members]


def _attempts(starts: int, errors: int, drains: int, *, running: int) -> Attempts:
    crashes = max(0, starts - errors - drains - running)
    return Attempts(starts=starts, errors=errors, drains=drains, crashes=crashes)


def _history(runs: bytes | None, entry: bytes | None) -> tuple[Attempt, ...]:
    words = (entry or b"").decode().split()
    running = words[2] if words[:1] == ["leased"] else None
    return tuple(_attempt(run, running) for run in json.loads(runs or b"[]"))


def _attempt(run: dict[str, Any], running: str | None) -> Attempt:
    silent: Literal["running", "crash"] = "running" if run["run"] == running else "crash"
    return Attempt(
        run=run["run"],
        host=run["host"],
        pid=run["pid"],
        began=_time(run["began"]),
        ended=_time(run["ended"]) if "ended" in run else None,
        ending=run.get("how", silent),
        code=run.get("code", ""),
        message=run.get("message", ""),
    )


def _time(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))

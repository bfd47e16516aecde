"""Graphics processors in the pipeline: which videos are made on one, and by which worker.

:class:`Fleet` is what every process knows of the farm's devices; :class:`Gpu` is the one device
of a worker of the GPU pool. A worker without one never opens any.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Final, Literal

import redis
import structlog

from jobs.board import Board
from jobs.devices import LIVE, Circuit, DeviceInfo, devices, live
from jobs.parts import Pool, Priority
from jobs.records import VideoRecord
from media.command import Device
from media.encoders import Tried
from transcoder.encoders import H264, HARDWARE
from transcoder.plan import SOFTWARE, Part, PartKind, Plan

_LOG = structlog.get_logger(__name__)

#: What stands in the record of a video that did not work out on a device.
FELL_BACK: Final = "fell_back"

#: The setting that takes a device where one works.
AUTO: Final = "auto"

#: Seconds between two looks at the devices of the farm, and at the circuit of one's own.
_LOOK: Final = 5.0

#: Seconds for which those are looked after who wait for a device whose workers have left.
_LOSS: Final = 900.0

#: Seconds for which a family that nobody tells of is waited for all the same. After a restart of
#: the farm, or of Redis, its workers tell of it only once they have opened their encoders.
_PATIENCE: Final = 60.0

#: Where a family stands: some device of it works, all that there are are out of use, or none is
#: there, as with a pool that was scaled to nothing.
Standing = Literal["works", "out", "absent"]


def family_of(plan: Plan) -> str:
    """The encoder family of a plan; software where it has no pictures."""
    return plan.video.encoder if plan.video else SOFTWARE


def on_gpu(plan: Plan, part: Part) -> bool:
    """Whether the part is one for the GPU pool: sound and stills stay where they always are."""
    return part.kind is PartKind.VIDEO and family_of(plan) != SOFTWARE


def main_pool(plan: Plan) -> Pool:
    """The pool on which most of a plan's parts wait."""
    return Pool.CPU if family_of(plan) == SOFTWARE else Pool.GPU


def place_of(plan: Plan, part: Part, priority: Priority) -> tuple[Pool, Priority]:
    """Where a part waits.

    The GPU pool has no slots of its own for heads, for a chunk takes it seconds: its heads wait on
    the queue that is served first, whatever their video's priority.
    """
    if on_gpu(plan, part):
        return Pool.GPU, Priority.HIGH if part.head else priority
    return Pool.HEAD if part.head else Pool.CPU, priority


def has_fallen_back(record: VideoRecord) -> bool:
    """Whether it was tried on a device, in vain: it is not tried there again."""
    return any(event.name == FELL_BACK for event in record.events)


class Fleet:
    """The devices of the farm, as last looked up, and what videos are to be made with.

    ``encoder`` is the farm's setting: ``software``, ``auto`` or a family.
    """

    def __init__(
        self,
        board: Board,
        encoder: str = SOFTWARE,
        *,
        every: float = _LOOK,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.encoder = encoder
        self._board = board
        self._every = every
        self._monotonic = monotonic
        self._wall = wall
        self._looked_at = float("-inf")
        self._known: tuple[DeviceInfo, ...] = ()
        self._has_lost = False
        #: Families that parts wait for in vain: since when, and when they were last asked for.
        self._missed: dict[str, tuple[float, float]] = {}

    def choose(self, record: VideoRecord) -> str:
        """The family for a new generation of a video.

        Raises :class:`redis.RedisError` where Redis does not answer and it matters.
        """
        if self.encoder == SOFTWARE or has_fallen_back(record):
            return SOFTWARE
        families = tuple(HARDWARE) if self.encoder == AUTO else (self.encoder,)
        working = [family for family in families if self.standing(family) == "works"]
        if working:
            return working[0]
        waits = self.encoder != AUTO and self.standing(self.encoder) == "absent"
        return self.encoder if waits else SOFTWARE

    def has_given_up(self, plan: Plan) -> bool:
        """Whether nothing of a plan's family can be hoped for: then its parts wait for nobody.

        Where one family is prescribed, a pool without any worker is waited for, and else for a
        minute from the first time that this process missed it.
        """
        family = family_of(plan)
        if family == SOFTWARE:
            return False
        standing = self.standing(family)
        if standing == "absent" and self.encoder in (AUTO, SOFTWARE):
            return self._is_missed_for_long(family)
        return standing == "out"

    def is_stranding(self) -> bool:
        """Whether a device is out of use, has left or is missed: parts may wait for it in vain."""
        if any(each.circuit != "closed" for each in self._look()) or self._has_lost:
            return True
        now = self._monotonic()
        return any(now - asked < _LOSS for _, asked in list(self._missed.values()))

    def standing(self, family: str) -> Standing:
        """Whether a family can be had."""
        circuits = [each.circuit for each in self._look() if each.encoder == family]
        if not circuits:
            return "absent"
        return "works" if "closed" in circuits else "out"

    def _is_missed_for_long(self, family: str) -> bool:
        now = self._monotonic()
        since, asked = self._missed.get(family, (now, now))
        # Nobody knows what was there in between where it was not asked for in a long time.
        since = since if now - asked < _LOSS else now
        self._missed[family] = since, now
        return now - since >= _PATIENCE

    def _look(self) -> tuple[DeviceInfo, ...]:
        now = self._monotonic()
        if now >= self._looked_at + self._every:
            at = self._wall()
            found = devices(self._board.client, self._board.keys.namespace, at)
            self._known = tuple(each for each in live(found, at) if H264 in each.codecs)
            self._has_lost = any(LIVE < at - each.seen_at < _LOSS for each in found)
            for each in self._known:
                self._missed.pop(each.encoder, None)
            self._looked_at = now
        return self._known


class Gpu:
    """The device of this worker, and its circuit. Safe to share between threads.

    ``trial`` opens the device's encoder and says how that went.
    """

    def __init__(
        self,
        circuit: Circuit,
        device: Device,
        trial: Callable[[], Tried],
        *,
        every: float = _LOOK,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.device = device
        self._circuit = circuit
        self._trial = trial
        self._every = every
        self._monotonic = monotonic
        self._wall = wall
        self._lock = Lock()
        self._look_at = float("-inf")
        self._admits = False

    def admits(self) -> bool:
        """Whether parts are to be fetched now.

        Asked before each fetch: it looks every few seconds, says that the device is there, and
        opens the encoder again where it is this worker's turn to. Not while Redis is away.
        """
        with self._lock:
            if self._monotonic() < self._look_at:
                return self._admits
            try:
                self._admits = self._look()
            except redis.RedisError:
                self._admits = False
            self._look_at = self._monotonic() + self._every
            return self._admits

    def failed(self, reason: str) -> None:
        """Count a failure of the device; the caller's part is tried again in any case."""
        _LOG.warning("device_failed", device=str(self.device), reason=reason)
        try:
            opened = self._circuit.failed(self._wall(), reason)
        except redis.RedisError as error:
            _LOG.warning("device_failure_not_counted", error=str(error))
            return
        if opened:
            _LOG.error("device_out_of_use", device=str(self.device), reason=reason)
        with self._lock:
            self._look_at = float("-inf")

    def _look(self) -> bool:
        circuit, now = self._circuit, self._wall()
        circuit.announce(now)
        if circuit.begin_trial(now):
            self._try_again()
        return circuit.state(self._wall()) == "closed"

    def _try_again(self) -> None:
        found = self._trial()
        self._circuit.end_trial(self._wall(), works=found.works, reason=found.found)
        say = _LOG.info if found.works else _LOG.warning
        say("device_tried_again", device=str(self.device), works=found.works, found=found.found)

"""Graphics processors of the farm: which there are, and which of them are not to be used for now.

A circuit for each host, device and encoder: *closed* while it works; *open* once it has failed
several times within a few minutes, and then no worker fetches parts for it; *half-open* when a
pause is over, until one worker has really opened the encoder again. Each failed trial doubles the
pause.

All of it is in Redis, and nothing of it is worth failing for: without Redis nothing is fetched.
Times are seconds since 1970.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, cast
from uuid import uuid4

import redis

from jobs.keys import Keys

#: Whether parts are fetched for the device.
CircuitState = Literal["closed", "open", "half-open"]

#: Seconds for which what a worker said of its device is believed, and is kept to be shown.
LIVE: Final = 60.0
_SHOWN: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """When a circuit opens, and for how long. Seconds."""

    #: So many failures within ``window`` open it.
    failures: int = 3
    window: float = 300.0
    first_pause: float = 60.0
    longest_pause: float = 900.0
    #: One trial at a time, which lasts no longer.
    trial: float = 60.0


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One device as a host's workers tell of it, and its circuit."""

    host: str
    device: str
    #: The family, such as ``nvenc``, and the codecs it was seen to encode.
    encoder: str
    codecs: tuple[str, ...] = ()
    #: What the trial of its encoder said.
    found: str = ""
    seen_at: float = 0.0
    circuit: CircuitState = "closed"
    #: Failures within the window.
    failures: int = 0
    #: Since when it is open, until when, and what it died of last; None and empty while it is not.
    opened_at: float | None = None
    until: float | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """What tells it from all others of the farm."""
        return f"{self.host}|{self.device}|{self.encoder}"


@dataclass(frozen=True, slots=True)
class Circuit:
    """The circuit of one device."""

    client: redis.Redis
    namespace: str
    info: DeviceInfo
    rules: BreakerRules = field(default_factory=BreakerRules)

    def announce(self, now: float) -> None:
        """Say that the device is there; to be repeated within a minute."""
        told = {name: value for name, value in asdict(self.info).items() if name in _ANNOUNCED}
        keys = Keys(self.namespace)
        self.client.hset(keys.devices, self.info.name, json.dumps(told | {"seen_at": now}))

    def state(self, now: float) -> CircuitState:
        """Whether parts may be fetched for it."""
        opened = self._opened()
        return _state(opened, now)

    def failed(self, now: float, reason: str) -> bool:
        """Count a failure of the device; True where that opened the circuit."""
        keys, name, rules = Keys(self.namespace), self.info.name, self.rules
        pipeline = self.client.pipeline(transaction=True)
        pipeline.zadd(keys.device_failures(name), {f"{uuid4()}": now})
        pipeline.zremrangebyscore(keys.device_failures(name), "-inf", now - rules.window)
        pipeline.zcard(keys.device_failures(name))
        pipeline.expire(keys.device_failures(name), round(rules.window) + 1)
        count = pipeline.execute()[2]
        if count < rules.failures:
            return False
        opened = _Opened(at=now, until=now + rules.first_pause, pause=rules.first_pause, why=reason)
        return bool(self.client.set(keys.device_open(name), opened.text, nx=True, ex=round(_SHOWN)))

    def begin_trial(self, now: float) -> bool:
        """Whether the caller is the one to open the encoder now, and to say how that went."""
        if self.state(now) != "half-open":
            return False
        key = Keys(self.namespace).device_trial(self.info.name)
        return bool(self.client.set(key, 1, nx=True, px=round(self.rules.trial * 1000)))

    def end_trial(self, now: float, *, works: bool, reason: str = "") -> None:
        """Close the circuit, or keep it open for twice as long."""
        keys, name, opened = Keys(self.namespace), self.info.name, self._opened()
        pipeline = self.client.pipeline(transaction=True)
        if works:
            pipeline.delete(keys.device_open(name), keys.device_failures(name))
        elif opened is not None:
            pause = min(2 * opened.pause, self.rules.longest_pause)
            longer = _Opened(at=opened.at, until=now + pause, pause=pause, why=reason or opened.why)
            pipeline.set(keys.device_open(name), longer.text, ex=round(_SHOWN))
        pipeline.delete(keys.device_trial(name))
        pipeline.execute()

    def open(self, now: float, reason: str) -> None:
        """Open it at once: the encoder could not be opened at all."""
        pause = self.rules.first_pause
        opened = _Opened(at=now, until=now + pause, pause=pause, why=reason)
        key = Keys(self.namespace).device_open(self.info.name)
        self.client.set(key, opened.text, nx=True, ex=round(_SHOWN))

    def _opened(self) -> _Opened | None:
        found = cast(
            "bytes | None", self.client.get(Keys(self.namespace).device_open(self.info.name))
        )
        return None if found is None else _Opened.parse(found)


def devices(
    client: redis.Redis, namespace: str, now: float | None = None
) -> tuple[DeviceInfo, ...]:
    """Every device that a worker told of within a day, with its circuit, at ``now`` or at present.

    Raises redis.RedisError.
    """
    now = time.time() if now is None else now
    keys = Keys(namespace)
    found = cast("dict[bytes, bytes]", client.hgetall(keys.devices))
    told = {name.decode(): json.loads(text) for name, text in found.items()}
    gone = [name for name, fields in told.items() if fields["seen_at"] < now - _SHOWN]
    if gone:
        client.hdel(keys.devices, *gone)
    there = {name: fields for name, fields in sorted(told.items()) if name not in gone}
    return tuple(_with_circuits(client, keys, there, now))


def live(infos: tuple[DeviceInfo, ...], now: float) -> tuple[DeviceInfo, ...]:
    """Those whose workers are there."""
    return tuple(each for each in infos if each.seen_at >= now - LIVE)


_ANNOUNCED: Final = frozenset({"host", "device", "encoder", "codecs", "found"})


@dataclass(frozen=True, slots=True)
class _Opened:
    """An open circuit; ``pause`` is how long it was opened for last."""

    at: float
    until: float
    pause: float
    why: str

    @property
    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: bytes) -> _Opened:
        fields: dict[str, Any] = json.loads(text)
        return cls(**{name: fields[name] for name in ("at", "until", "pause", "why")})


def _state(opened: _Opened | None, now: float) -> CircuitState:
    if opened is None:
        return "closed"
    return "open" if now < opened.until else "half-open"


def _with_circuits(
    client: redis.Redis, keys: Keys, told: dict[str, dict[str, Any]], now: float
) -> Iterator[DeviceInfo]:
    pipeline = client.pipeline(transaction=False)
    for name in told:
        pipeline.get(keys.device_open(name))
        pipeline.zcard(keys.device_failures(name))
    answers = pipeline.execute()
    pairs = zip(told.values(), answers[::2], answers[1::2], strict=True)
    for fields, found, failures in pairs:
        opened = None if found is None else _Opened.parse(found)
        known = {key: fields[key] for key in (*_ANNOUNCED, "seen_at") if key in fields}
        yield DeviceInfo(
            **known | {"codecs": tuple(fields.get("codecs", ()))},
            circuit=_state(opened, now),
            failures=failures,
            opened_at=opened.at if opened else None,
            until=opened.until if opened else None,
            reason=opened.why if opened else "",
        )

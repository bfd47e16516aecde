"""Ports to storage and Redis that fail at a call of one's choice, in four ways.

A process is *killed* before the call, which is to say after the one before it, and makes no other;
it is killed, and Redis is *emptied* with it, so that only what stands in storage is left; a call is
*refused*, with an error and without effect; or it stays *unanswered*: the effect is there, and the
caller sees an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Final, Literal, get_args

import redis

from storage.errors import UnavailableError

Fault = Literal["killed", "emptied", "refused", "unanswered"]
FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)

#: After these the process makes no other call.
DEADLY: Final = frozenset({"killed", "emptied"})


class KilledError(BaseException):
    """The process is no more; nobody catches this."""


def every(call: str) -> bool:
    """Count each call."""
    return bool(call)


@dataclass
class Fuse:
    """Writes calls down, and blows at the one of the number ``at``; never where that is 0."""

    fault: Fault = "killed"
    at: int = 0
    #: Which calls the number counts; asked once for each, in their order.
    counts: Callable[[str], bool] = every
    #: What was called, and for which key.
    calls: list[str] = field(default_factory=list, repr=False)
    #: The call that it blew at.
    blown: str = ""
    _counted: int = field(default=0, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def through(self, name: str, call: Callable[[], Any], error: Exception) -> Any:
        """What the call answers, unless the fuse has it fail; whoever is dead calls no more."""
        with self._lock:
            self.calls.append(name)
            if self._is_it(name):
                self.blown = name
            elif not self.blown or self.fault not in DEADLY:
                name = ""
        if name and self.fault in DEADLY:
            raise KilledError(name)
        if name and self.fault == "refused":
            raise error
        answer = call()
        if name:
            raise error
        return answer

    def _is_it(self, name: str) -> bool:
        counts = self.counts(name)
        self._counted += counts
        return counts and self._counted == self.at


class FaultyPort:
    """An object store, or a multipart upload of one, behind a fuse."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if not callable(method) or name == "presign":
            return method
        error = UnavailableError(name, "bucket", "key", "Injected", "the test had it fail.")

        def call(*args: Any, **options: Any) -> Any:
            def through() -> Any:
                answer = method(*args, **options)
                return list(answer) if isinstance(answer, Iterator) else answer

            answer = self._fuse.through(f"{name} {_subject(args)}", through, error)
            if name == "multipart":
                return FaultyPort(answer, self._fuse)
            return iter(answer) if isinstance(answer, list) else answer

        return call


class FaultyRedis(redis.Redis):
    """A client behind a fuse."""

    fuse: Fuse

    def execute_command(self, *args: Any, **options: Any) -> Any:
        execute = super().execute_command
        error = redis.ConnectionError("the test had it fail")
        name = " ".join(str(word) for word in args[:2])
        return self.fuse.through(name, lambda: execute(*args, **options), error)


def _subject(args: tuple[Any, ...]) -> str:
    """The key, or the first of the keys, that a call is about."""
    first = args[0] if args else ""
    return str(next(iter(first), "") if isinstance(first, list) else first)

"""What the steps say to whoever collects traces; by default nobody does, and it costs nothing.

The steps know spans, their parents and a few facts. How they are sampled, kept and sent is the
matter of :mod:`farm.otel`, which is not even imported where no collector is set.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Literal, Protocol

from jobs.traceparent import TraceContext

#: What a span stands for: work of this process, a request, a message sent or one worked on.
Kind = Literal["internal", "server", "producer", "consumer"]

#: Facts of a span by name. A plain name is one of ours; None says nothing.
Facts = Mapping[str, str | int | float | bool | None]


class Span(Protocol):
    """Something that takes time and is not over yet. No call fails."""

    @property
    def context(self) -> TraceContext | None:
        """What its consequences hang on; None where nothing is recorded."""
        ...

    def tell(self, facts: Facts) -> None:
        """Add facts."""
        ...

    def rename(self, name: str) -> None:
        """Call it what it turned out to be."""
        ...

    def fail(self, why: str) -> None:
        """Say that it went wrong."""
        ...

    def event(self, name: str, facts: Facts) -> None:
        """Add something that happens now; may be called from any thread."""
        ...


class Tracer(Protocol):
    """Takes spans. Times are seconds since 1970."""

    @property
    def on(self) -> bool:
        """Whether anybody collects them."""
        ...

    def span(
        self,
        name: str,
        *,
        kind: Kind = "internal",
        parent: TraceContext | None = None,
        trace: TraceContext | None = None,
        facts: Facts | None = None,
    ) -> AbstractContextManager[Span]:
        """A span for the time of the block, an exception that leaves it noted.

        It hangs on ``parent``; without one on the span around it, which has to be of ``trace`` if
        that is given, else on ``trace`` itself; without any of them it begins a trace.
        """
        ...

    def past(
        self,
        name: str,
        began: float,
        ended: float,
        *,
        parent: TraceContext | None = None,
        facts: Facts | None = None,
        error: str | None = None,
    ) -> None:
        """A span that is over, below ``parent`` or the span around."""
        ...

    def current(self) -> Span:
        """The span around, for use from other threads, too."""
        ...


class _NoSpan:
    context: None = None

    def tell(self, facts: Facts) -> None:
        """Nobody listens."""

    def rename(self, name: str) -> None:
        """Nobody listens."""

    def fail(self, why: str) -> None:
        """Nobody listens."""

    def event(self, name: str, facts: Facts) -> None:
        """Nobody listens."""


#: What there is where nothing is collected.
NO_SPAN: Final[Span] = _NoSpan()


class _Off:
    on = False
    _span: AbstractContextManager[Span] = nullcontext(NO_SPAN)

    def span(
        self,
        name: str,  # noqa: ARG002
        *,
        kind: Kind = "internal",  # noqa: ARG002
        parent: TraceContext | None = None,  # noqa: ARG002
        trace: TraceContext | None = None,  # noqa: ARG002
        facts: Facts | None = None,  # noqa: ARG002
    ) -> AbstractContextManager[Span]:
        return self._span

    def past(
        self,
        name: str,
        began: float,
        ended: float,
        *,
        parent: TraceContext | None = None,
        facts: Facts | None = None,
        error: str | None = None,
    ) -> None:
        pass

    def current(self) -> Span:
        return NO_SPAN


#: Collects nothing.
OFF: Final[Tracer] = _Off()

"""A request's body as it flows: watched, counted, and cut into parts for storage.

Each stage asks the one before it for bytes only when it needs them, so a slow storage slows the
client down (TCP's own back-pressure) in place of filling memory.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from anyio import fail_after
from starlette.requests import ClientDisconnect

from ingest.problems import BROKEN_OFF, TOO_LARGE, UPLOAD_STALLED, RefusedError
from storage.multipart import MAX_PARTS

#: Bytes of a part, unless a body is so large that S3's count of parts would not do.
PART: Final = 8 * 1024**2
_MIB: Final = 1024**2


def part_size(total: int) -> int:
    """Bytes of each part of a body of at most ``total`` bytes: whole MiB, within S3's count."""
    needed = -(-total // MAX_PARTS)
    return max(PART, -(-needed // _MIB) * _MIB)


async def watched(body: AsyncIterator[bytes], patience: float) -> AsyncGenerator[bytes, None]:
    """The body's chunks. Raises RefusedError where it breaks off, or pauses for ``patience`` s."""
    while True:
        try:
            with fail_after(patience):
                chunk = await anext(body)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise RefusedError(UPLOAD_STALLED, f"No byte came for {patience:g} s.") from None
        except ClientDisconnect:
            raise RefusedError(BROKEN_OFF, "The connection was closed half-way.") from None
        yield chunk


async def bounded(
    body: AsyncIterator[bytes], limit: int, stated: int | None = None
) -> AsyncGenerator[bytes, None]:
    """The body's chunks. Raises RefusedError with the first byte beyond ``limit``.

    ``stated`` is the limit that the refusal names, where it is not the same.
    """
    size = 0
    async for chunk in body:
        size += len(chunk)
        if size > limit:
            raise too_large(stated or limit)
        yield chunk


def too_large(limit: int) -> RefusedError:
    """The refusal of a body over the limit."""
    return RefusedError(TOO_LARGE, f"This farm takes at most {limit} bytes.")


async def regroup(body: AsyncIterator[bytes], size: int) -> AsyncGenerator[bytes, None]:
    """The same bytes in parts of exactly ``size``, but for the last, which is never empty."""
    part = bytearray()
    async for chunk in body:
        rest = memoryview(chunk)
        while len(part) + len(rest) >= size:
            room = size - len(part)
            part += rest[:room]
            rest = rest[room:]
            full = bytes(part)
            part = bytearray()
            yield full
            del full
        part += rest
    if part:
        yield bytes(part)


async def chained(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """``first``, which is emptied so that nothing keeps its parts in memory, then ``rest``."""
    while first:
        yield first.pop(0)
    async for part in rest:
        yield part

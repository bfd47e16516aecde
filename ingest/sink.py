"""Parts of a body, on their way into storage: two at a time, so that neither side waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from anyio import CancelScope, CapacityLimiter, Semaphore, create_task_group

from ingest.streams import chained
from ingest.threads import blocking
from storage.multipart import MultipartUpload
from storage.objects import ObjectStore

#: Parts of one upload that are being sent to storage at once.
IN_FLIGHT: Final = 2


async def store_parts(
    store: ObjectStore, key: str, parts: AsyncIterator[bytes], threads: CapacityLimiter
) -> int:
    """Write ``parts``, of which there is at least one, as one object. Returns its size in bytes.

    A body of a single part is written with one call. Raises whatever the parts or the storage
    raise; then there is no object, and no open upload unless the storage stopped answering.
    """
    first, second = await anext(parts), await anext(parts, None)
    if second is None:
        await blocking(threads, store.put, key, first)
        return len(first)
    parts = chained([first, second], parts)
    del first, second
    upload = await blocking(threads, store.multipart, key)
    try:
        size = await _send(upload, parts, threads)
        await blocking(threads, upload.complete)
    except BaseException:
        with CancelScope(shield=True):
            await blocking(threads, upload.abort)
        raise
    return size


async def _send(
    upload: MultipartUpload, parts: AsyncIterator[bytes], threads: CapacityLimiter
) -> int:
    size = number = 0
    free = Semaphore(IN_FLIGHT)

    async def send(number: int, part: bytes) -> None:
        try:
            await blocking(threads, upload.upload_part, number, part)
        finally:
            free.release()

    try:
        async with create_task_group() as group:
            async for part in parts:
                await free.acquire()
                number, size = number + 1, size + len(part)
                group.start_soon(send, number, part)
                del part
    except BaseExceptionGroup as failed:
        raise _first(failed) from None
    return size


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

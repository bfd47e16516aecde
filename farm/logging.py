"""One shape for every line that the farm and its libraries log.

JSON lines for machines, readable ones on a terminal. What is bound with
``structlog.contextvars`` (``video_id``, ``part``, ``run``) stands in each, also in those that
come from a library's standard logger.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import Processor

Format = Literal["auto", "json", "text"]

#: Loggers that talk about every request at ``info``.
_CHATTY: Final = (
    *("botocore", "boto3", "s3transfer", "urllib3", "httpx", "httpcore", "asyncio"),
    *("uvicorn.error", "dramatiq"),
)

_SHARED: Final[tuple[Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)


def configure(format: Format, level: str, stream: TextIO = sys.stderr) -> None:  # noqa: A002
    """Send everything logged in this process to ``stream``.

    ``auto`` means text on a terminal and JSON elsewhere; ``level`` is a name such as ``info``.
    """
    text = stream.isatty() if format == "auto" else format == "text"
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_last(text)],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _last(text: bool) -> tuple[Processor, ...]:
    if text:
        # Not the library's own choice: it prints local variables, and with them secrets.
        plain = structlog.dev.plain_traceback
        return (structlog.dev.ConsoleRenderer(exception_formatter=plain),)
    return (
        structlog.processors.format_exc_info,
        _event_first,
        structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
    )


def _event_first(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Time, level and event before the rest, where the eye looks for them; nothing twice."""
    event.pop("color_message", None)  # uvicorn's, the message once more
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **event}

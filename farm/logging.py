"""One shape for every line that the farm and its libraries log.

JSON lines for machines, readable ones on a terminal; JSON lines in any case in the files of the
host. What is bound with ``structlog.contextvars`` (``video_id``, ``part``, ``run``) stands in each,
also in those that come from a library's standard logger, and so does the trace of the video.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from functools import partial
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import Processor

from farm.log_files import LogFile, LogFileHandler, folder_of
from farm.settings import Settings
from jobs.traceparent import TRACE_IDS

#: The process that is one for a host, and speaks for it.
SUPERVISOR: Final = "supervisor"

Format = Literal["auto", "json", "text"]

#: Loggers that talk about every request at ``info``.
_CHATTY: Final = (
    *("botocore", "boto3", "s3transfer", "urllib3", "httpx", "httpcore", "asyncio"),
    *("uvicorn.error", "dramatiq"),
)


def _with_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Say to which trace the video belongs that a line tells of."""
    video = event.get("video_id")
    if isinstance(video, str) and "trace_id" not in event:
        trace_id = TRACE_IDS.get(video)
        if trace_id is not None:
            event["trace_id"] = trace_id
    return event


_SHARED: Final[tuple[Processor, ...]] = (
    structlog.contextvars.merge_contextvars,
    _with_trace,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)


def configure(
    format: Format,  # noqa: A002
    level: str,
    stream: TextIO = sys.stderr,
    *,
    process: str | None = None,
    file: LogFile | None = None,
) -> None:
    """Send everything logged in this process to ``stream``, and to ``file`` if there is one.

    ``auto`` means text on a terminal and JSON elsewhere; ``level`` is a name such as ``info``.
    JSON lines say that they are of this ``process``, such as ``worker``, if it is named.
    """
    text = stream.isatty() if format == "auto" else format == "text"
    handlers: list[logging.Handler] = [logging.StreamHandler(stream)]
    handlers[0].setFormatter(_formatter(_last(text, process)))
    if file is not None:
        handlers.append(LogFileHandler(file))
        handlers[1].setFormatter(_formatter(_last(False, process)))
    logging.basicConfig(handlers=handlers, level=level.upper(), force=True)
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


def configure_process(settings: Settings, process: str) -> None:
    """As the settings have it: where the process's errors go, and to the files of the host."""
    limit = settings.log_files
    file = LogFile(folder_of(settings.data_dir), limit) if limit else None
    configure(settings.log_format, settings.log_level, process=process, file=file)
    trouble = file.trouble() if file else None
    if trouble and process == SUPERVISOR:
        hint = "REELFARM_LOG_FILES=0 says that none are wanted"
        structlog.get_logger(__name__).warning("no_log_files", error=trouble, hint=hint)


def _formatter(last: tuple[Processor, ...]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_SHARED, structlog.stdlib.ExtraAdder()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _last(text: bool, process: str | None) -> tuple[Processor, ...]:
    if text:
        # Not the library's own choice: it prints local variables, and with them secrets.
        plain = structlog.dev.plain_traceback
        return (structlog.dev.ConsoleRenderer(exception_formatter=plain),)
    return (
        structlog.processors.format_exc_info,
        partial(_event_first, {"process": process, "process_id": os.getpid()} if process else {}),
        structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
    )


def _event_first(
    about: Mapping[str, Any], _: Any, __: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Time, level and event before the rest, where the eye looks for them; nothing twice."""
    event.pop("color_message", None)  # uvicorn's, the message once more
    first = {key: event.pop(key) for key in ("timestamp", "level", "event") if key in event}
    return {**first, **about, **event}

"""Runs an ffmpeg command: its outputs into sinks, its progress to a callback."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from media.binaries import Tools
from media.command import SINK, Command
from media.execute import Finished, Job, execute
from media.limits import Limits
from media.pipes import Sink
from media.progress import Progress, ProgressReader

__all__ = ["Finished", "Limits", "Progress", "Sink", "run"]

_PROGRESS: Final = "progress"

#: ``repeat`` because a line that is swallowed as a repetition may be the one that tells.
_QUIET: Final = ("-hide_banner", "-nostdin", "-nostats", "-v", "repeat+warning")

#: Were more than two thirds of a run's packets damaged, ffmpeg would end with status 69 for that
#: alone; whether what came out will do is for those to say who asked for it.
_LENIENT: Final = ("-max_error_rate", "1")


def run(
    tools: Tools,
    command: Command,
    *,
    sinks: Mapping[str, Sink],
    on_progress: Callable[[Progress], None] | None = None,
    cancel: threading.Event | None = None,
    stall: float = 30.0,
    limits: Limits | None = None,
    scratch: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Finished:
    """Run ``command`` to its end; each ``sink:NAME`` in it writes to ``sinks[NAME]``.

    Sinks and ``on_progress`` are called from threads of their own, and never after this has
    returned or raised. A sink that is slow holds ffmpeg back; one that raises ends it.
    ``stall`` seconds without a frame, a byte or a moment of output time end the run, and so do
    ``command.deadline`` and ``cancel``. ``scratch`` is the working directory and the only place
    where files can be written; without it there is none.

    Raises a :class:`media.errors.RunError`: see there for which of them are worth another try.
    The thread that calls this must live until it returns.
    """
    progress = ProgressReader(on_progress)
    reports = ("-progress", SINK + _PROGRESS, "-stats_period", "0.25")
    return execute(
        Job(
            program=tools.ffmpeg,
            arguments=(*_QUIET, *_LENIENT, *reports, *command.arguments),
            sinks={**sinks, _PROGRESS: progress.feed},
            deadline=command.deadline,
            niceness=command.niceness,
            stall=stall,
            position=lambda: progress.position,
            chatter=frozenset({_PROGRESS, "stderr"}),
            limits=limits or Limits(),
            scratch=scratch,
            device=command.device,
            cancel=cancel,
            clock=clock,
        )
    )

"""How long a film waits for its pictures before it goes without."""

from __future__ import annotations

from typing import Any, cast

import pytest

from jobs.leases import Attempts
from jobs.parts import PartRef
from media.errors import Evidence, FfmpegFailedError, MediaError, SourceUnreadableError
from pipeline import pictures
from pipeline.runs import Run

#: Neither is looked at before the pictures are made.
NOTHING = cast("Any", None)


def made(monkeypatch: pytest.MonkeyPatch, error: MediaError, errors: int) -> None:
    """Fail to make the pictures after so many errors; raises AttributeError if that was the end."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(pictures, "_made", fail)
    run = Run(PartRef("v", 1, "pictures"), "run", Attempts(starts=errors + 1, errors=errors))
    pictures.picture(NOTHING, run, NOTHING, NOTHING)


def test_an_outage_of_the_storage_is_no_reason_to_go_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    error = SourceUnreadableError("the source's server answered 500", Evidence(()))
    with pytest.raises(SourceUnreadableError):
        made(monkeypatch, error, errors=5)


def test_a_film_that_ffmpeg_cannot_show_goes_without_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    error = FfmpegFailedError("ffmpeg", Evidence((), exit_code=183))
    with pytest.raises(FfmpegFailedError):
        made(monkeypatch, error, errors=0)
    with pytest.raises(AttributeError):
        made(monkeypatch, error, errors=1)

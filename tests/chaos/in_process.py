"""Fixtures of the tests that run the farm's code in their own process, on real servers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from secrets import token_hex

import pytest
import structlog

from farm.embedded import SeaweedFS
from jobs.broker import connect_redis
from storage.objects import connect
from tests.chaos.scenarios import Archive
from tests.chaos.studio import Studio
from tests.chaos.world import World


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The pipeline, with ffmpeg runs that are remembered, and without pauses for the impatient.

    Segments are stored one after the other, so that a scenario has the same writes each time.
    """
    made = Studio(tmp_path_factory.mktemp("films"))
    quiet = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=quiet)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.encode.run_ffmpeg", made.run)
        patch.setattr("pipeline.pictures.run_ffmpeg", made.run)
        patch.setattr("pipeline.inspect.probe", made.probe)
        patch.setattr("pipeline.runner._REDIS_PAUSE", 0.0)
        patch.setattr("pipeline.recorder._UPLOADERS", 1)
        yield made
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def archive(seaweedfs: SeaweedFS, redis_url: str, studio: Studio) -> Iterator[Archive]:
    """Begins every scenario in the same storage and Redis."""
    store = connect(seaweedfs.config(prefix=f"test-{token_hex(6)}/"))
    with connect_redis(redis_url) as client:
        yield Archive(lambda: World(store, client, studio))
        World(store, client, studio).clear()
    store.close()

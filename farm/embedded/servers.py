"""The embedded servers a farm needs, up together and down together."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from farm.embedded.seaweedfs import SeaweedFS
from farm.embedded.server import Server
from farm.embedded.valkey import Valkey


class EmbeddedServers:
    """SeaweedFS and Valkey below one directory; either is None where it is not wanted."""

    def __init__(self, directory: Path, *, s3: bool = True, redis: bool = True) -> None:
        self.seaweedfs = SeaweedFS(directory / "seaweedfs") if s3 else None
        self.valkey = Valkey(directory / "valkey") if redis else None

    @property
    def servers(self) -> tuple[Server, ...]:
        """Those that are wanted."""
        return tuple(s for s in (self.valkey, self.seaweedfs) if s is not None)

    def start(self) -> None:
        """Start them side by side; returns once all answer. Raises EmbeddedError, none left up."""
        with ExitStack() as undo:
            for server in self.servers:
                undo.callback(server.stop)
                server.spawn()
            for server in self.servers:
                server.wait_ready()
            undo.pop_all()

    def check(self) -> None:
        """Raises EmbeddedError if one of them has died."""
        for server in self.servers:
            server.check()

    def stop(self) -> None:
        """Stop them, storage last."""
        for server in self.servers:
            server.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

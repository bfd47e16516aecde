"""What both embedded servers do alike: claim the directory, pick ports, start, answer, stop."""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Self

from farm.embedded.errors import EmbeddedError
from farm.embedded.ports import all_free, free_ports
from farm.embedded.process import ServerProcess
from farm.embedded.state import ServerState, load, save

#: Seconds from start to ready on a slow, busy machine.
START_TIMEOUT = 90.0
#: Starts on other ports when another process was faster to bind one.
PORT_TRIES = 3


class Server(ABC):
    """A server in a directory. ``start``, use, ``stop``; or ``with``.

    ``spawn`` and ``wait_ready`` are the two halves of ``start``, so that several servers come up
    side by side. Call them in a thread that outlives the server (see :mod:`farm.embedded.process`).
    """

    name: ClassVar[str]
    port_count: ClassVar[int]
    #: Seconds from TERM to KILL.
    stop_timeout: ClassVar[float] = 10.0
    #: All it gets of an environment beside a HOME and a PATH of the farm's making.
    environment: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        directory: Path,
        *,
        start_timeout: float = START_TIMEOUT,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = directory.absolute()
        self._start_timeout = start_timeout
        self._process = ServerProcess(self.name, self.directory, self.environment, monotonic)
        self._state: ServerState | None = None

    @property
    def pid(self) -> int | None:
        """The running process, or None."""
        return self._process.pid

    @property
    def state(self) -> ServerState:
        """Ports and secret. Raises EmbeddedError before the first ``spawn``."""
        if self._state is None:
            raise EmbeddedError(f"{self.name} was not started, so it has no address yet.")
        return self._state

    def start(self) -> None:
        """Start, and return once it answers. Raises EmbeddedError."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Begin to start. Raises EmbeddedError if the directory is in use or unusable."""
        try:
            for folder in (self.directory.parent, self.directory):  # the mode is the last one's
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._process.lock()
            self._launch(self._previous() or self._fresh(secrets.token_hex(24)))
        except OSError as error:
            self.stop()
            raise EmbeddedError(
                f"{self.name} cannot start in {self.directory}: {error}. Check the directory's "
                "permissions and free space, or give the farm another data directory."
            ) from error
        except BaseException:
            self.stop()
            raise

    def wait_ready(self) -> None:
        """Return once it answers. Stops it and raises EmbeddedError, with the log's end, if not."""
        try:
            for _ in range(PORT_TRIES - 1):
                if self._came_up():
                    return
                self._launch(self._fresh(self.state.secret))
            self._process.wait_ready(self._is_ready, self._start_timeout)
        except BaseException:
            self.stop()
            raise

    def check(self) -> None:
        """Raises EmbeddedError, with the log's last lines, if it has died."""
        self._process.check()

    def is_stuck(self) -> bool:
        """Whether it runs, and only a restart makes it work again; to be asked every second."""
        return False

    def stop(self) -> None:
        """Stop it, kindly and then not, and wait for its end. May be called again."""
        self._process.stop(self.stop_timeout)
        if self._state is not None:
            self._clean_up()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def _argv(self) -> list[str]:
        """The command line; writes the configuration files it names."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether it serves a real request."""

    def _clean_up(self) -> None:  # noqa: B027 - most servers leave nothing
        """Remove what the server leaves outside its directory."""

    def _came_up(self) -> bool:
        try:
            self._process.wait_ready(self._is_ready, self._start_timeout)
        except EmbeddedError:
            if "address already in use" not in self._process.last_lines().lower():
                raise
            self._process.end(self.stop_timeout)
            self._clean_up()
            return False
        return True

    def _launch(self, state: ServerState) -> None:
        self._state = state
        save(self.directory / "state.json", state)
        self._process.start(self._argv())

    def _previous(self) -> ServerState | None:
        state = load(self.directory / "state.json")
        if state is None or len(state.ports) != self.port_count:
            return None
        return state if all_free(state.ports) else self._fresh(state.secret)

    def _fresh(self, secret: str) -> ServerState:
        return ServerState(tuple(free_ports(self.port_count)), secret)

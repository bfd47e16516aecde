"""Takes what a process writes into its pipes, one thread for each.

A sink is called in its pipe's own thread; while it works nobody reads, the pipe fills up and
the writer waits. So a slow sink slows the process down and nothing is buffered beyond a pipe.

A pipe ends when nobody holds its other end; a process that left its own group could do so for
ever. So once the process that was started has ended, only what is in the pipe already counts.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress

#: Called with each piece of output, in order, from one thread; never after the run is over.
Sink = Callable[[bytes], None]

_READ = 256 * 1024
#: Milliseconds between two looks at whether there is anything to wait for, where the writer has
#: ended and somebody else holds on to its pipe.
_GLANCE = 500


class Reader:
    """Delivers one pipe to one sink."""

    def __init__(self, name: str, sink: Sink, wake: threading.Event) -> None:
        self.name = name
        self._sink = sink
        self._wake = wake
        self._read_fd, self.write_fd = os.pipe()
        self._write_open = True
        self._thread: threading.Thread | None = None
        self._discard = False
        self._hung_up = False
        #: Bytes taken from the pipe, and whether the sink is at work.
        self.received = 0
        self.busy = False
        self.failure: Exception | None = None

    def start(self) -> None:
        """Begin reading; the write end now belongs to the child alone."""
        self.close_write_end()
        thread = threading.Thread(target=self._read, name=f"sink-{self.name}", daemon=True)
        thread.start()
        self._thread = thread

    @property
    def running(self) -> bool:
        """Whether there may be more to deliver."""
        return self._thread is not None and self._read_fd >= 0

    def discard(self) -> None:
        """Deliver nothing more, but keep the pipe empty so that the writer can end."""
        self._discard = True

    def hang_up(self) -> None:
        """Deliver what is in the pipe, and wait for no more: the writer has ended."""
        self._hung_up = True

    def close(self) -> None:
        """Wait for the thread, and for a sink at work, and close what is open."""
        self.discard()
        self.hang_up()
        self.close_write_end()
        if self._thread is not None:
            self._thread.join()
        elif self._read_fd >= 0:
            self._close_read_end()

    def close_write_end(self) -> None:
        """Close our copy of the end that the child writes to."""
        if self._write_open:
            self._write_open = False
            os.close(self.write_fd)

    def _close_read_end(self) -> None:
        fd, self._read_fd = self._read_fd, -1
        os.close(fd)

    def _read(self) -> None:
        try:
            while data := self._next():
                self.received += len(data)
                self._deliver(data)
        finally:
            self._close_read_end()
            self._wake.set()

    def _next(self) -> bytes:
        """The next bytes; none at the end."""
        pipe = select.poll()
        pipe.register(self._read_fd, select.POLLIN)
        # Asked before the look: what was written until then is in the pipe, and will be seen.
        while (hung_up := self._hung_up) is False and not pipe.poll(_GLANCE):
            pass
        if hung_up and not pipe.poll(0):
            return b""
        ended = self._hung_up and self._discard
        return b"" if ended else os.read(self._read_fd, _READ)

    def _deliver(self, data: bytes) -> None:
        if self._discard:
            return
        self.busy = True
        try:
            self._sink(data)
        except Exception as error:  # noqa: BLE001 - it is raised again in the run's own thread
            self.failure = error
            self._discard = True
            self._wake.set()
        finally:
            self.busy = False


def close_all(readers: tuple[Reader, ...]) -> None:
    """Close every reader, whatever becomes of the others."""
    for reader in readers:
        with suppress(OSError):
            reader.close()

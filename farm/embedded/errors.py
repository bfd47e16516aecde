"""Why an embedded server is not there."""

from __future__ import annotations


class EmbeddedError(Exception):
    """An embedded server could not be found, started or kept running; the message says why."""

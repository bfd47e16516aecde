"""Loopback ports that are free, and stay so until a server has bound them.

The kernel's own choice (port 0) would come from the range that outgoing connections use, so
another process could take it in the seconds until the server listens. These lie below that
range, on Linux (32768 and up) as on macOS (49152 and up).
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterable

LOOPBACK = "127.0.0.1"
FIRST, LAST = 20_000, 32_000


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def is_listening(port: int) -> bool:
    """Whether something accepts connections on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def all_free(ports: Iterable[int]) -> bool:
    """Whether every one of them is free now."""
    return all(is_free(port) for port in ports)


def free_ports(count: int, choice: random.Random | None = None) -> list[int]:
    """That many free ports, picked at random so that farms starting together do not collide."""
    candidates = (choice or random.SystemRandom()).sample(range(FIRST, LAST), k=count * 50 + 50)
    found = [port for port in candidates if is_free(port)][:count]
    if len(found) < count:
        raise OSError(f"fewer than {count} free ports between {FIRST} and {LAST}")
    return found

"""What every test may ask for. The servers are real, and start once per test process.

A server that does not start fails the tests: both come from wheels, so there is no excuse.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from farm.embedded import EmbeddedServers, SeaweedFS, Valkey
from storage.objects import ObjectStore, connect

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServers]:
    """Both servers, started side by side."""
    with EmbeddedServers(tmp_path_factory.mktemp("servers")) as servers:
        yield servers


@pytest.fixture(scope="session")
def seaweedfs(embedded: EmbeddedServers) -> SeaweedFS:
    """A running SeaweedFS; ``.config(prefix=…)`` to connect to it."""
    assert embedded.seaweedfs is not None
    return embedded.seaweedfs


@pytest.fixture(scope="session")
def valkey(embedded: EmbeddedServers) -> Valkey:
    """A running Valkey; ``.url`` to connect to it."""
    assert embedded.valkey is not None
    return embedded.valkey


@pytest.fixture
def object_store(seaweedfs: SeaweedFS) -> Iterator[ObjectStore]:
    """A store with a prefix of its own, emptied after the test."""
    store = connect(seaweedfs.config(prefix=f"test-{secrets.token_hex(6)}/"))
    yield store
    for key, upload_id in list(store.uploads("")):
        store.abort_upload(key, upload_id)
    store.delete([item.key for item in store.list("")])
    store.close()


@pytest.fixture(scope="session")
def redis_url(valkey: Valkey) -> str:
    """The running Valkey's URL, with its password."""
    return valkey.url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the emptied server; bytes in, bytes out."""
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield client
        client.flushall()


@pytest.fixture
def namespace() -> str:
    """A prefix for Redis keys that no other test uses."""
    return f"test-{secrets.token_hex(6)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tables that tests leave as the property ``table``."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, table in getattr(report, "user_properties", ()):
                if name == "table":
                    terminalreporter.section(report.nodeid)
                    terminalreporter.write_line(str(table))


@pytest.fixture(scope="session")
def media_dir() -> Path:
    """The shared real media; a test that needs them skips where they are missing."""
    directory = Path(os.environ.get("REELFARM_TEST_MEDIA") or ROOT.parent / "shared" / "media")
    if not directory.is_dir():
        pytest.skip(f"no test media at {directory}; set REELFARM_TEST_MEDIA to have them used")
    return directory

"""However large the upload, the API's memory stays what it was."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator

import httpx
import psutil
import pytest

from farm.embedded import SeaweedFS
from storage import layout
from storage.objects import connect

MIB = 1024**2
SIZE = 300 * MIB
BLOCK = secrets.token_bytes(MIB)


@pytest.fixture
def prefix() -> str:
    return f"test-{secrets.token_hex(6)}/"


@pytest.fixture
def api(seaweedfs: SeaweedFS, prefix: str) -> Iterator[tuple[str, psutil.Process]]:
    """The API in a process of its own: its URL, and the process."""
    config = seaweedfs.config()
    assert config.secret_key is not None
    module = "tests.integration.api_server"
    process = subprocess.Popen(
        [sys.executable, "-m", module, seaweedfs.endpoint, config.secret_key, prefix],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        process.communicate(timeout=20)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def test_an_upload_of_300_mib_moves_it_by_less_than_100(
    api: tuple[str, psutil.Process], seaweedfs: SeaweedFS, prefix: str
) -> None:
    url, process = api
    peak = 0

    def body() -> Iterator[bytes]:
        nonlocal peak
        for _ in range(SIZE // MIB):
            yield BLOCK
            peak = max(peak, process.memory_info().rss)

    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        client.post("/v1/videos", content=b"warm-up")
        before = process.memory_info().rss
        answer = client.post("/v1/videos", content=body())

    assert answer.status_code == 202
    assert answer.json()["size"] == SIZE
    store = connect(seaweedfs.config(prefix=prefix))
    assert store.head(layout.source(answer.json()["id"])).size == SIZE
    store.delete([info.key for info in store.list("")])
    store.close()
    assert peak - before < 100 * MIB

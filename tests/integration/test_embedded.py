"""The embedded servers: private, restartable, and gone when their parent is."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from farm import running
from farm.embedded import EmbeddedError, EmbeddedServers, SeaweedFS, Valkey, valkey
from farm.embedded.ports import LOOPBACK, free_ports
from storage.objects import ObjectStore, connect


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_both_serve_on_loopback_only(embedded: EmbeddedServers) -> None:
    embedded.check()
    for server in embedded.servers:
        assert server.pid is not None
        process = psutil.Process(server.pid)
        listening = [c.laddr for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
        assert {address.ip for address in listening} == {LOOPBACK}
        assert {address.port for address in listening} == set(server.state.ports)


def test_secrets_are_for_the_owner_alone(embedded: EmbeddedServers) -> None:
    for server in embedded.servers:
        assert server.directory.stat().st_mode & 0o077 == 0
        holders = [
            path
            for path in server.directory.iterdir()
            if path.suffix in (".json", ".conf", ".toml")
        ]
        assert len(holders) >= 2
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in holders)
        assert server.pid is not None
        assert server.state.secret not in " ".join(psutil.Process(server.pid).cmdline())


def test_the_farms_directory_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask: it holds the films, and the keys to them."""
    data, before = tmp_path / "new" / ".reelfarm", os.umask(0)
    try:
        with Valkey(data / "valkey") as server:
            assert stat.S_IMODE(data.stat().st_mode) == 0o700
            assert stat.S_IMODE(server.directory.stat().st_mode) == 0o700
        announced = tmp_path / "other" / ".reelfarm"
        running.announce(announced, running.here("http://127.0.0.1:1", {"redis_url": "secret"}))
    finally:
        os.umask(before)
    assert stat.S_IMODE(announced.stat().st_mode) == 0o700
    assert stat.S_IMODE(running.path(announced).stat().st_mode) == 0o600


@pytest.mark.parametrize("origin", [{}, {"origin": "http://evil.example"}])
def test_the_filer_gives_and_takes_nothing(seaweedfs: SeaweedFS, origin: dict[str, str]) -> None:
    filer = seaweedfs.state.ports[6]
    for method in ("GET", "POST", "DELETE"):
        url = f"http://{LOOPBACK}:{filer}/buckets/reelfarm/"
        answer = httpx.request(method, url, headers=origin, trust_env=False)
        assert answer.status_code in (401, 403, 404)
        assert "access-control-allow-origin" not in answer.headers


#: What a master does for anybody who asks by HTTP, unless it is told not to.
MASTER = (
    "/col/delete?collection=reelfarm",
    "/dir/assign?collection=reelfarm",
    "/dir/lookup?volumeId=1",
    "/dir/status",
    "/vol/grow?count=1",
    "/vol/status",
    "/vol/vacuum",
    "/submit",
    "/1,0",
)


def test_the_master_deletes_nothing_for_strangers(
    seaweedfs: SeaweedFS, object_store: ObjectStore
) -> None:
    """A page could have a browser ask for it: such a GET deleted every object."""
    object_store.put("kept", b"bytes" * 1000)
    for port in seaweedfs.state.ports[::2]:
        for path in MASTER:
            for method in ("GET", "POST"):
                url = f"http://{LOOPBACK}:{port}{path}"
                answer = httpx.request(method, url, trust_env=False)
                assert answer.status_code >= 400, url
    assert object_store.get("kept").body == b"bytes" * 1000


def test_valkey_wants_its_password_and_keeps_what_it_is_given(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        settings = client.config_get("*")
        assert settings["appendonly"] == "yes"
        assert settings["maxmemory-policy"] == "noeviction"
    port = int(redis_url.rsplit(":", 1)[1].split("/")[0])
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_killed_servers_come_back_with_data_ports_and_secrets(tmp_path: Path) -> None:
    with EmbeddedServers(tmp_path) as servers:
        assert servers.seaweedfs is not None
        assert servers.valkey is not None
        before = [server.state for server in servers.servers]
        with closing(connect(servers.seaweedfs.config())) as store:
            for n in range(50):
                store.put(f"kept/{n:02}", str(n).encode() * 100)
            store.put("kept/large", b"x" * 9_000_000)
        with redis.Redis.from_url(servers.valkey.url) as client:
            client.set("kept", "yes")
        for server in servers.servers:
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)

    again = EmbeddedServers(tmp_path)
    with again:
        assert again.seaweedfs is not None
        assert again.valkey is not None
        assert [server.state for server in again.servers] == before
        with closing(connect(again.seaweedfs.config())) as store:
            assert len(list(store.list("kept/"))) == 51
            assert all(store.get(f"kept/{n:02}").body == str(n).encode() * 100 for n in range(50))
            assert store.get("kept/large").body == b"x" * 9_000_000
        with redis.Redis.from_url(again.valkey.url) as client:
            assert client.get("kept") == b"yes"


def test_taken_ports_are_replaced(tmp_path: Path) -> None:
    with Valkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
    [before] = server.state.ports
    with socket.create_server((LOOPBACK, before)), Valkey(tmp_path) as again:
        assert again.state.ports != (before,)
        assert again.state.secret == server.state.secret
        with redis.Redis.from_url(again.url) as client:
            assert client.get("kept") == b"yes"


def test_a_port_lost_at_the_last_moment_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port was free when it was chosen, and is not when weed binds it, seconds later."""
    before = set(Path("/tmp").glob("seaweedfs-*-grpc-*.sock"))
    with socket.create_server((LOOPBACK, 0)) as thief:
        stolen = thief.getsockname()[1]
        first = [stolen, *free_ports(SeaweedFS.port_count - 1)]
        picks = iter([first])
        monkeypatch.setattr(
            "farm.embedded.server.free_ports", lambda count: next(picks, None) or free_ports(count)
        )
        with SeaweedFS(tmp_path) as server, closing(connect(server.config())) as store:
            assert not set(server.state.ports) & set(first)
            store.put("key", b"bytes")
    left = {path.name for path in set(Path("/tmp").glob("seaweedfs-*-grpc-*.sock")) - before}
    assert not [port for port in (*first, *server.state.ports) if any(str(port) in n for n in left)]


def test_a_directory_serves_one_farm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("farm.embedded.process.LOCK_TIMEOUT", 0.2)
    with Valkey(tmp_path) as first:
        with pytest.raises(EmbeddedError, match=rf"in use by another farm.*process {first.pid}"):
            Valkey(tmp_path).start()
        first.check()
    with Valkey(tmp_path):
        pass


def test_an_unusable_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the directory should be")
    for server in (Valkey(tmp_path), SeaweedFS(tmp_path / "data" / "below")):
        with pytest.raises(EmbeddedError, match=rf"cannot start in {tmp_path}.*exists|Not a dir"):
            server.start()
        assert server.pid is None


def test_a_damaged_log_is_reported_with_the_servers_own_words(tmp_path: Path) -> None:
    with Valkey(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.set("key", "value")
    [manifest] = (tmp_path / "data" / "appendonlydir").glob("*.manifest")
    manifest.write_text("no manifest\n")
    broken = Valkey(tmp_path)
    with pytest.raises(EmbeddedError, match=r"(?s)Valkey ended with status 1.*manifest"):
        broken.start()
    assert broken.pid is None


def test_a_server_that_dies_is_missed(tmp_path: Path) -> None:
    with Valkey(tmp_path) as server:
        server.check()
        assert server.pid is not None
        os.kill(server.pid, signal.SIGKILL)
        assert eventually(lambda: server.pid is None)
        with pytest.raises(EmbeddedError, match=r"(?s)not running.*-9.*Ready to accept"):
            server.check()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_servers_end_with_a_killed_parent(tmp_path: Path) -> None:
    program = (
        "import json, sys, time; from pathlib import Path; from farm.embedded import *\n"
        "servers = EmbeddedServers(Path(sys.argv[1])).servers\n"
        "for server in servers: server.spawn()\n"
        "print(json.dumps([server.pid for server in servers]), flush=True); time.sleep(60)"
    )
    root = Path(__file__).resolve().parents[2]
    argv = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(argv, cwd=root, stdout=subprocess.PIPE) as parent:
        try:
            assert parent.stdout is not None
            pids = json.loads(parent.stdout.readline())
            servers = [psutil.Process(pid) for pid in pids]
            assert {os.getsid(pid) for pid in pids} == set(pids), "Ctrl-C must not reach them"
            log = tmp_path / "seaweedfs" / "server.log"
            assert eventually(lambda: "Start Seaweed Master" in log.read_text())
        finally:
            parent.kill()
    assert eventually(lambda: not any(server.is_running() for server in servers))
    with EmbeddedServers(tmp_path):
        pass  # on the same ports, of which the killed servers left sockets that the stop removes


def test_a_stand_in_for_valkey_is_looked_for_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = valkey.find_server()
    assert valkey.stand_in() is None
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedError, match=r"riscv64.*redis-server.*redis_url"):
        valkey.find_server()
    (tmp_path / "redis-server").symlink_to(real)
    assert valkey.find_server() == valkey.stand_in() == tmp_path / "redis-server"
    with Valkey(tmp_path / "run") as server:
        server.check()

"""What a decoder that was taken over can do, tried by one that was.

Each attempt is also made with one box alone and with none: so it is known which box stops it,
and that it would succeed without.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from media import landlock
from media.binaries import Tools
from media.boxes import boxes, check_program
from media.command import Command
from media.errors import FfmpegFailedError, NotStartedError, RunError
from media.execute import Job, execute
from media.limits import Limits
from media.probe import probe
from media.process import run
from media.safety import input_options
from storage.objects import ObjectStore
from tests.range_server import serve

MakeClip = Callable[..., Path]

pytestmark = pytest.mark.skipif(
    landlock.abi() < landlock.SCOPES_SINCE,
    reason="this kernel has no Landlock, or one without scopes (6.12)",
)

ATTACKER = Path(__file__).resolve().parents[1] / "attacker.py"
PYTHON = Path(sys.executable).resolve()
#: The interpreter's own files, which the attacker may read since it has to start.
INTERPRETER = (Path(sys.base_prefix) / "lib", Path(sys.base_prefix) / "bin")

IS_ROOT = os.geteuid() == 0
#: What each box stops with no other wall standing.
LANDLOCK = {
    "read a file",
    "list a folder",
    "read the worker's environment",
    "write a file",
    "make an empty file",
    "empty a file",
    "make a folder",
    "rename a file",
    "connect to another port",
    "bind a port",
    "open an abstract socket",
    "signal the worker",
    "signal its threads",
    "trace a process",
}
SECCOMP = {
    "write a file",
    "make an empty file",
    "empty a file",
    "make a folder",
    "rename a file",
    "change rights",
    "change times",
    "connect by fast open",
    "connect by multipath",
    "bind a port",
    "listen without bind",
    "send a datagram",
    "open a unix socket",
    "open an abstract socket",
    "open netlink",
    "open a raw socket",
    "signal the worker",
    "signal its threads",
    "trace a process",
    "limit the worker",
    "signal through a pipe",
    "signal a thread through a pipe",
    "choose a pipe's signal",
    "signal through a socket",
    "slow the worker down",
    "tie the worker to a processor",
    "outlive the worker",
    "start a process",
    "share memory",
    "reach others' shared memory",
    "reach others' messages",
    "reach others' semaphores",
    "remove a message queue",
    "use a keyring",
    "use io_uring",
    "make a namespace",
}
CAPABILITIES = {
    "tie the worker to a processor",
    "open a raw socket",
    "read the worker's environment",
    "slow the worker down",
    "trace a process",
}
LIMITS = {"write a file"}
WALLS = {"landlock": LANDLOCK, "seccomp": SECCOMP, "limits": LIMITS}
if IS_ROOT:
    WALLS["capabilities"] = CAPABILITIES

#: What a machine, a container or a later Landlock may forbid to everybody.
NOT_EVERYWHERE = {
    "connect by fast open",
    "connect by multipath",
    "listen without bind",
    "make a namespace",
    "open a unix socket",
    "trace a process",
    "use a keyring",
    "use io_uring",
}
if not IS_ROOT:
    NOT_EVERYWHERE |= {"open a raw socket"}


@dataclass(frozen=True)
class Targets:
    """What there is to attack."""

    source: int
    other: int
    canary: str
    spare: str
    folder: str
    unix: str
    abstract: str
    victim: int


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[Targets]:
    (tmp_path / "canary").write_text("secret")
    (tmp_path / "spare").write_text("secret")
    with ExitStack() as stack:
        source, other = (socket.create_server(("127.0.0.1", 0)) for _ in range(2))
        unix, abstract = (socket.socket(socket.AF_UNIX) for _ in range(2))
        for server, address in ((unix, str(tmp_path / "sock")), (abstract, f"\0{tmp_path}")):
            server.bind(address)
            server.listen()
        for server in (source, other, unix, abstract):
            stack.enter_context(server)
        victim = stack.enter_context(subprocess.Popen(["sleep", "60"]))
        stack.callback(victim.kill)
        yield Targets(
            source=source.getsockname()[1],
            other=other.getsockname()[1],
            canary=str(tmp_path / "canary"),
            spare=str(tmp_path / "spare"),
            folder=str(tmp_path),
            unix=str(tmp_path / "sock"),
            abstract=str(tmp_path),
            victim=victim.pid,
        )


def attack(targets: Targets, host: str = "127.0.0.1") -> dict[str, Any]:
    """What became of each attempt, and what was inherited."""
    answer = bytearray()
    url = f"http://{host}:{targets.source}/film"
    script = ("-I", "-S", str(ATTACKER), "sink:answer", json.dumps(asdict(targets)), "-i", url)
    execute(
        Job(
            program=PYTHON,
            arguments=script,
            sinks={"answer": answer.extend},
            deadline=30.0,
            reads=(ATTACKER, *INTERPRETER),
        )
    )
    found: dict[str, Any] = json.loads(answer)
    return found


def succeeded(found: dict[str, Any]) -> set[str]:
    return {name for name, error in found["attempts"].items() if error is None}


@pytest.fixture
def launcher(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has a statement run in the child before it goes into its boxes."""

    def change(statement: str) -> None:
        import media.spawn as module

        begin, end = module._LAUNCH.rsplit("; ", 1)
        changed = f"{begin}\nfrom media import landlock\n{statement}\n{end}"
        monkeypatch.setattr(module, "_LAUNCH", changed)

    return change


def only(*names: str) -> str:
    kept = {"parent", "no_new_privs", *names}
    return f"launch.BOXES = {{n: b for n, b in launch.BOXES.items() if n in {kept!r}}}"


def test_nothing_but_the_source_is_to_be_had(
    targets: Targets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cr3t")
    found = attack(targets)
    assert succeeded(found) == {"connect to the source"}
    assert set(found["seen"]["environment"]) <= {"LC_ALL", "LC_CTYPE", "AV_LOG_FORCE_NOCOLOR"}
    assert len(found["seen"]["descriptors"]) == 4, "three of every program, and the answer's"
    assert Path(targets.canary).read_text() == "secret"
    names = {"canary", "spare", "sock"}
    assert {path.name for path in Path(targets.folder).iterdir()} == names


def test_everything_is_to_be_had_without_boxes(
    targets: Targets, launcher: Callable[[str], None]
) -> None:
    """So that an attempt that fails in a box fails because of it."""
    launcher(only())
    found = attack(targets)
    attempts = set(found["attempts"])
    assert attempts - succeeded(found) <= NOT_EVERYWHERE
    assert attempts == {"connect to the source"} | set().union(*WALLS.values())


@pytest.mark.parametrize("wall", WALLS)
def test_each_box_alone(targets: Targets, launcher: Callable[[str], None], wall: str) -> None:
    launcher(only(wall))
    found = attack(targets)
    stopped = set(found["attempts"]) - succeeded(found)
    assert WALLS[wall] <= stopped
    assert stopped <= WALLS[wall] | NOT_EVERYWHERE


def test_names_are_looked_up_and_nothing_else(targets: Targets) -> None:
    """A host's name needs UDP: the one thing more."""
    allowed = {"connect to the source", "send a datagram"}
    assert succeeded(attack(targets, host="localhost")) == allowed


@pytest.mark.parametrize("version", range(1, 7))
def test_older_kernels_have_what_they_have(
    tools: Tools, targets: Targets, launcher: Callable[[str], None], version: int
) -> None:
    launcher(f"landlock.abi = lambda: {version}")
    beyond = {"connect to another port"} if version < 4 else set()
    assert succeeded(attack(targets)) == {"connect to the source"} | beyond
    check_program(tools.ffmpeg)


def test_a_kernel_without_landlock_has_the_other_boxes(
    targets: Targets, launcher: Callable[[str], None]
) -> None:
    launcher("landlock.abi = lambda: 0")
    allowed = {"connect to the source", "read a file", "list a folder", "connect to another port"}
    assert succeeded(attack(targets)) - {"read the worker's environment"} == allowed


def test_no_other_program_is_started(
    tools: Tools, tmp_path: Path, launcher: Callable[[str], None]
) -> None:
    code = "import os, sys; os.execv('/bin/sh', ['sh', '-c', 'exit 7'])"

    def start() -> RunError:
        with pytest.raises(FfmpegFailedError) as caught:
            reads = (*INTERPRETER, Path("/bin"))
            execute(Job(PYTHON, ("-I", "-S", "-c", code), {}, deadline=20.0, reads=reads))
        return caught.value

    assert "Permission denied" in str(start())
    script = tmp_path / "ffmpeg"
    script.write_text("#!/bin/sh\nexit 7\n")
    script.chmod(0o755)
    with pytest.raises(NotStartedError, match="cannot be started: Permission denied"):
        check_program(script)
    launcher(only("seccomp"))
    assert start().evidence.exit_code == 7
    with pytest.raises(FfmpegFailedError, match="exit status 7"):
        check_program(script)


WRITER = """
import os, sys
open('in', 'w').write('here')
for n in range(int(sys.argv[1])):
    with open(f'{n:04}', 'wb') as file:
        file.write(b'x' * 100_000)
try:
    open('../out', 'w')
except PermissionError:
    sys.exit(0)
sys.exit(9)
"""


def write(scratch: Path, files: int) -> None:
    arguments = ("-I", "-S", "-c", WRITER, str(files))
    limits = Limits(scratch=20_000_000)
    execute(
        Job(PYTHON, arguments, {}, deadline=60.0, scratch=scratch, reads=INTERPRETER, limits=limits)
    )


def test_scratch_is_the_only_place_to_write_in(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    write(scratch, 2)
    assert (scratch / "in").read_text() == "here"
    assert not (tmp_path / "out").exists()


def test_scratch_is_bounded_over_all_files(tmp_path: Path) -> None:
    with pytest.raises(FfmpegFailedError, match="scratch"):
        write(tmp_path, 20_000)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 1_000_000_000


def test_boxes_are_on(launcher: Callable[[str], None]) -> None:
    assert {box.name: box.on for box in boxes() if not box.on} == {}


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        ("landlock", {"landlock", "network", "signals"}),
        ("seccomp", {"seccomp"}),
        ("limits", {"limits"}),
        ("parent", {"parent"}),
        ("capabilities", {"capabilities"} if IS_ROOT else set()),
    ],
)
def test_a_missing_box_is_told(
    launcher: Callable[[str], None], missing: str, named: set[str]
) -> None:
    launcher(f"del launch.BOXES[{missing!r}]")
    assert {box.name for box in boxes() if not box.on} == named
    assert all(box.on or box.fix for box in boxes())


#: What systemd's AmbientCapabilities and older container engines leave to every program.
INHERITABLE = """
import ctypes, struct
header, sets = struct.pack("Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
launch._LIBC.capget(header, sets)
e, p, _, f, q, _ = struct.unpack("6I", sets.raw)
assert launch._LIBC.capset(header, struct.pack("6I", e, p, p, f, q, q)) == 0
for n in range(64):
    launch._LIBC.prctl(47, *map(ctypes.c_ulong, (2, n, 0, 0)))
"""


@pytest.mark.skipif(not IS_ROOT, reason="only root has capabilities to leave")
@pytest.mark.parametrize("bounding", ["", "launch._PR_CAPBSET_DROP = 9999"])
def test_no_capability_is_left_by_inheritance(
    launcher: Callable[[str], None], bounding: str
) -> None:
    """Nor where the bounding set is not to be emptied, since that takes a capability, too."""
    launcher(f"{INHERITABLE}\n{bounding}")
    assert [box.name for box in boxes() if not box.on] == []


@pytest.mark.skipif(not IS_ROOT, reason="only root has capabilities to leave")
def test_capabilities_that_are_there_are_told(launcher: Callable[[str], None]) -> None:
    """The bounding set is empty, and says nothing of them."""
    drop = "[launch._prctl(launch._PR_CAPBSET_DROP, n) for n in range(64)]"
    launcher(f"{INHERITABLE}\n{drop}\ndel launch.BOXES['capabilities']")
    assert [box.name for box in boxes() if not box.on] == ["capabilities"]


@pytest.mark.skipif(not IS_ROOT, reason="only root reads what others may not")
def test_what_root_reads_by_its_rights_is_not_read(tools: Tools, tmp_path: Path) -> None:
    file = tmp_path / "private" / "authorities.pem"
    file.parent.mkdir()
    file.write_text("certificates")
    read(tools.ffmpeg, file)
    file.parent.chmod(0o700)
    os.chown(file.parent, 65534, 65534)
    assert file.read_text() == "certificates"
    with pytest.raises(FfmpegFailedError, match="Permission denied"):
        read(tools.ffmpeg, file)


def read(ffmpeg: Path, file: Path) -> None:
    copied = ("-map", "0", "-c", "copy", "-f", "null", "-")
    arguments = ("-v", "error", "-nostdin", "-f", "data", "-i", str(file), *copied)
    execute(Job(program=ffmpeg, arguments=arguments, sinks={}, deadline=20.0))


@pytest.fixture(scope="module")
def film(make_clip: MakeClip) -> Path:
    return make_clip("boxed.mp4", seconds=2, sound=True, output=("-shortest",))


def encode(tools: Tools, url: str) -> int:
    arguments = (
        *(*input_options(url), "-i", url, "-map", "0:v", "-c:v", "libx264"),
        *("-f", "mp4", "-movflags", "+frag_keyframe+empty_moov", "sink:film"),
    )
    made = bytearray()
    run(tools, Command(arguments, 60.0), sinks={"film": made.extend})
    return made.count(b"moof")


def test_real_programs_read_their_source_by_number_and_by_name(tools: Tools, film: Path) -> None:
    with serve(film.parent) as server:
        for host in ("127.0.0.1", "localhost"):
            url = server.url(film.name).replace("127.0.0.1", host)
            assert probe(tools, url).container == "mov"
            assert encode(tools, url) > 0
    assert probe(tools, str(film)).container == "mov"
    assert encode(tools, str(film)) > 0


def test_real_programs_read_the_real_storage(
    tools: Tools, film: Path, object_store: ObjectStore
) -> None:
    object_store.put_file("film", film)
    url = object_store.presign("film", 60)
    assert probe(tools, url).container == "mov"
    assert encode(tools, url) > 0

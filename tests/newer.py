"""A stand-in for a process of a later version: the same, but it knows a later schema.

``python -m tests.newer SCHEMA PROGRAM ARGUMENT…`` runs the program, a module or a file, so.
"""

from __future__ import annotations

import runpy
import sys

import jobs.schema


def python_of(schema: int) -> tuple[str, ...]:
    """What to put before a module or file so that it knows ``schema``."""
    return (sys.executable, "-m", "tests.newer", str(schema))


def main(schema: str, program: str, *arguments: str) -> None:
    # Before anything else asks for it.
    jobs.schema.SCHEMA = int(schema)  # type: ignore[misc]
    sys.argv = [program, *arguments]
    run = runpy.run_path if program.endswith(".py") else runpy.run_module
    run(program, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Programs in processes of their own, which import the project from this tree."""

import os
import subprocess
import sys
from pathlib import Path

from helpers.paths import ROOT


def process_environment(without: tuple[str, ...] = (), **variables: str) -> dict[str, str]:
    """This process's environment, with the project on Python's path.

    Args:
        without: beginnings of the names of variables that are left out.
        variables: what is added, or takes another's place.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(without)}
    return {**inherited, "PYTHONPATH": str(ROOT), **variables}


def run_code(code: str, *arguments: object, cwd: Path | None = None, **variables: str) -> str:
    """What `python -c code arguments` prints to standard output; it must succeed."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    env = process_environment(**{"TF_CPP_MIN_LOG_LEVEL": "3"} | variables)
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


def git(folder: Path, *arguments: str) -> str:
    """What git says in `folder`, with an author of its own."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

"""A SLURM of four scripts, for submitit's own code to talk to: `sbatch` keeps what it is given, `srun` runs it here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

JOB = "4711"
SRUN = f"""#!{sys.executable}
import os, sys
arguments = sys.argv[1:]
names = {{"%A": os.environ["SLURM_ARRAY_JOB_ID"], "%a": os.environ["SLURM_ARRAY_TASK_ID"], "%t": "0"}}
while arguments[0].startswith("-"):
    flag = arguments.pop(0)
    if flag in ("--output", "--error"):
        path = arguments.pop(0)
        for mark, value in names.items():
            path = path.replace(mark, value)
        os.dup2(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY), 1 if flag == "--output" else 2)
os.execvp(arguments[0], arguments)
"""
SCRIPTS = {
    "sbatch": f'#!/bin/sh\ncp "$1" "$SLURM_STUB/script.part"\nmv "$SLURM_STUB/script.part" "$SLURM_STUB/script"\n'
    f'echo "Submitted batch job {JOB}"\n',
    "srun": SRUN,
    "scontrol": '#!/bin/sh\necho "$@" >> "$SLURM_STUB/scontrol"\n',
    "sacct": f'#!/bin/sh\necho "JobID|State"\nfor task in 0 1 2 3 4 5; do echo "{JOB}_$task|RUNNING"; done\n',
}


class Slurm:
    """The scripts in `folder`, and the environment of a program that finds them on its PATH."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        for name, text in SCRIPTS.items():
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)
        path = f"{folder / 'bin'}{os.pathsep}{environment['PATH']}"
        self.environment = environment | {"PATH": path, "SLURM_STUB": str(folder)}

    @property
    def submitted(self) -> bool:
        return (self.folder / "script").exists()

    @property
    def script(self) -> list[str]:
        """The lines of what was submitted."""
        return (self.folder / "script").read_text().splitlines()

    @property
    def asked(self) -> list[str]:
        """The commands that `scontrol` was given."""
        return (self.folder / "scontrol").read_text().splitlines() if (self.folder / "scontrol").exists() else []

    def start(self, task: int, cwd: Path, **variables: str) -> "subprocess.Popen[str]":
        """One task of the array as a node runs it; with SLURM_RESTART_COUNT=1 as it runs it again."""
        numbers = {"SLURM_JOB_ID": str(int(JOB) + task), "SLURM_ARRAY_JOB_ID": JOB, "SLURM_ARRAY_TASK_ID": str(task)}
        shell = shutil.which("bash") or "/bin/sh"
        return subprocess.Popen(
            [shell, str(self.folder / "script")],
            env=self.environment | numbers | variables,
            cwd=cwd,
            text=True,
        )

"""The parent's end of the workers in this folder: `zoo.benchmarking.processes`, told which file each has."""

from collections.abc import Mapping
from pathlib import Path

import this_copy  # noqa: F401

from zoo.benchmarking import processes
from zoo.benchmarking.processes import KEEPS_MEMORY, ContenderError, RequestError

__all__ = ["KEEPS_MEMORY", "ON_CPU", "ContenderError", "Contenders", "RequestError"]

HERE = Path(__file__).resolve().parent
ON_CPU = {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}  # for a worker that must not see a GPU


class Contenders(processes.Contenders):
    """Workers of this folder."""

    def start(self, name: str, script: str, python: str, environment: Mapping[str, str] | None = None) -> None:
        """Start the worker whose file is `script`, in the interpreter `python`, which has its framework."""
        super().start(name, [python, str(HERE / script)], environment)

    def start_alone(self, name: str, script: str, python: str) -> None:
        """Start the only worker, and wait for it; SystemExit with the reason where it cannot start."""
        self.start(name, script, python)
        self.wait()
        if self.failures:
            raise SystemExit(self.failures[name])

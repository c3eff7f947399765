"""A run in a process of its own, as the runs of a sweep have.

TensorFlow's CPU allocator gives no memory back, and Keras keeps part of every network that was fitted: in one process
a small network after a large one would be recorded with the memory of both, and a long sweep would end for lack of it.
"""

import json
import logging.config
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from zoo.errors import UserError
from zoo.training.checkpoints.resume import finished
from zoo.training.files import write_text
from zoo.training.settings import as_dict
from zoo.training.signals import complete, interrupt, signal_of, stop_on_signals
from zoo.training.start import checked, start, with_weights

PACKAGES = Path(__file__).resolve().parents[2]  # where `zoo` and `blocks` lie, installed or not


def start_apart(
    cfg: DictConfig,
    directory: Path,
    sweep_id: str | None = None,
    swept: Collection[str] = (),
    logs: Mapping[str, Any] | None = None,
    composition: Mapping[str, str] | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """As `start`, in another process: Ctrl-C, SIGTERM and SIGHUP reach it once, and it ends if this one is killed.

    Args:
        logs: how that process logs, for `logging.config.dictConfig`; None leaves it as it is.
        threads: of each operation, where TF_NUM_INTRAOP_THREADS does not say; None leaves it all cores.

    Raises:
        UserError, KeyboardInterrupt: as `start`; UserError too where the process ended without a word.
    """
    cfg = with_weights(cfg)
    if result := finished(checked(cfg), directory):  # here, since it is quick
        return result
    with tempfile.TemporaryDirectory(prefix="zoo-run-") as folder:
        outcome = Path(folder, "outcome.json")
        request = {
            "config": as_dict(cfg),
            "directory": str(Path(directory).resolve()),
            "sweep_id": sweep_id,
            "swept": list(swept),
            "logs": logs,
            "composition": dict(composition or {}),
            "outcome": str(outcome),
        }
        variables = {"PYTHONPATH": python_path()}
        if threads is not None:
            variables |= {"TF_NUM_INTRAOP_THREADS": os.environ.get("TF_NUM_INTRAOP_THREADS", str(threads))}
        process = subprocess.Popen(
            [sys.executable, "-m", "zoo.training.subprocess_run"],
            stdin=subprocess.PIPE,
            text=True,
            env=os.environ | variables,
            process_group=0 if os.name == "posix" else None,  # the terminal's Ctrl-C comes here alone
        )
        stopped = _wait(process, json.dumps(request))
        answer = json.loads(outcome.read_text(encoding="utf-8")) if outcome.exists() else {}
    if "result" in answer and not stopped:
        return answer["result"]
    if stopped or "interrupted" in answer:
        raise stopped or interrupt(answer["interrupted"])
    raise UserError(answer.get("error") or f"The process of the run in {directory} ended {_how(process.returncode)}.")


def python_path() -> str:
    """PYTHONPATH of a process that imports `zoo` as this one does."""
    others = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path != str(PACKAGES)]
    return os.pathsep.join([str(PACKAGES), *others])


def _wait(process: subprocess.Popen[Any], line: str) -> KeyboardInterrupt | None:
    """Tell the process what to do, and wait for its end; what the user stopped it with, if that happened.

    What else a signal raises here, as submitit does when a job's time is over, stops the process and is raised again
    when its model is saved: SLURM kills what a job that has ended leaves behind.
    """
    stopped = None
    assert process.stdin is not None  # a pipe
    while True:
        try:
            if line:
                with suppress(BrokenPipeError):  # it has ended already, and its return code says how
                    process.stdin.write(line + "\n")
                    process.stdin.flush()
                line = ""
            process.wait()
            break
        except KeyboardInterrupt as error:
            stopped = stopped or error
            with suppress(ProcessLookupError):
                process.send_signal(signal_of(error))
        except BaseException:
            with suppress(ProcessLookupError):
                process.terminate()
            process.wait()
            raise
    with suppress(BrokenPipeError):
        process.stdin.close()
    return stopped


def _how(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        more = ", which the system sends where memory is short" if -code == getattr(signal, "SIGKILL", 9) else ""
        return f"by {name}{more}"
    return f"with exit code {code}; what it printed says why"


def main() -> None:
    """The other process: takes one line of JSON, leaves its outcome in the file that the line names."""
    stop_on_signals()
    request = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    if request["logs"]:
        logging.config.dictConfig(request["logs"])
    cfg = OmegaConf.create(request["config"])
    try:
        directory = Path(request["directory"])
        outcome: dict[str, Any] = {
            "result": start(cfg, directory, request["sweep_id"], request["swept"], request["composition"])
        }
    except UserError as error:
        outcome = {"error": str(error)}
    except KeyboardInterrupt as error:
        outcome = {"interrupted": signal_of(error)}
    complete("Ending the run", lambda: write_text(Path(request["outcome"]), json.dumps(outcome)))


def _end_with_the_parent() -> None:
    """Stop the run, as Ctrl-C does, once standard input ends: the process that sweeps is gone."""
    os.read(sys.stdin.fileno(), 1)  # nothing comes but the end; a read of sys.stdin would hold its lock at the exit
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()

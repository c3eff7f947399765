"""A full disk ends a run in one sentence; the last checkpoint stays whole, and nothing half-written is left."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from helpers.processes import process_environment
from helpers.training import QUICK, command
from zoo.datasets.availability import DataUnavailableError
from zoo.datasets.config import DatasetConfig
from zoo.datasets.prepare import prepared_builder
from zoo.weights.readers.training import open_checkpoint


@pytest.fixture
def disk(tmp_path):
    """Mounts a disk of its own of that many bytes, where that is permitted."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size):
        if shutil.which("mount") is None or os.geteuid() != 0:
            pytest.skip("only root may mount a small disk")
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
        if done.returncode:
            pytest.skip(f"a small disk cannot be mounted: {done.stderr.decode().strip()}")
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True)


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def own_lines(err):
    """What the program says itself: TensorFlow's first lines cannot be turned off."""
    lines = [line for line in err.splitlines() if line and not line.startswith(("I0000", "WARNING: All log", "E0000"))]
    return [line for line in lines if "To enable the following instructions" not in line]


@pytest.mark.heavy
@pytest.mark.parametrize("size, checkpoints", [("1m", 0), ("5m", 1)])
def test_as_the_run_folder(size, checkpoints, disk, data_dir):
    folder = disk(size)
    options = [*QUICK, "recipe.epochs=20", f"hydra.run.dir={folder / 'run'}"]
    done = subprocess.run(command(data_dir, *options), capture_output=True, text=True, env=process_environment())
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = own_lines(done.stderr)[-1]
    assert last.startswith(f"Cannot write {folder / 'run'}") and "No space left on device" in last
    assert done.stderr.count("No space left on device") == 1
    left = files(folder)
    assert not any("part." in name for name in left)
    whole = [open_checkpoint(path) for path in folder.rglob("epoch-*.safetensors")]
    assert len(whole) == checkpoints
    result = json.loads((folder / "run" / "result.json").read_text())
    assert result["status"] == "failed" and "No space left on device" in result["error"]
    rows = (folder / "run" / "metrics.csv").read_text().splitlines()
    assert len({len(row.split(",")) for row in rows}) == 1
    if checkpoints:
        subprocess.run(["mount", "-o", "remount,size=50m", folder], check=True)
        options = [*options[:-2], "recipe.epochs=20", options[-1], "resume=auto"]
        done = subprocess.run(command(data_dir, *options), capture_output=True, text=True, env=process_environment())
        assert done.returncode == 0 and "Goes on from" in done.stderr, done.stderr


@pytest.mark.heavy
@pytest.mark.parametrize("size", ["100k", "250k", "1m"])
def test_as_the_data_folder(size, disk, tmp_path):
    folder = disk(size)
    if size == "1m":
        (folder / "else").write_bytes(bytes(900_000))
    options = [*QUICK, f"hydra.run.dir={tmp_path / 'run'}"]
    run = command(folder / "data", *options)
    done = subprocess.run(run, capture_output=True, text=True, env=process_environment())
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert own_lines(done.stderr)[-1] == (
        f"The data set digits/1.0.0 cannot be written to {folder / 'data' / 'digits' / '1.0.0'}: No space left on "
        "device; make room there, or choose another folder with dataset.data_dir=PATH."
    )
    assert files(folder) - {"else"} <= {"data/.digits.lock"}


@pytest.mark.skipif(not os.path.exists("/dev/full") or sys.platform == "win32", reason="Linux has a full device")
def test_a_data_set_that_finds_no_room_is_one_sentence(tmp_path, monkeypatch):
    """As TFDS reports it: an error of its own, with the system's words in it."""
    from zoo.datasets.digits import Digits

    def write(self, *arguments):
        with open("/dev/full", "w") as file:
            file.write("x" * 100_000)

    monkeypatch.setattr(Digits, "_generate_examples", write)
    with pytest.raises(DataUnavailableError, match=r"cannot be written to .*1.0.0: No space left on device; make room"):
        prepared_builder(DatasetConfig(data_dir=str(tmp_path)))
    assert files(tmp_path) <= {".digits.lock"}

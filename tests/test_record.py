"""The files a run leaves: `metrics.csv`, `result.json`, and what is noted about the machine."""

import csv
import json
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest

from helpers.processes import git, process_environment, run_code
from zoo import environment
from zoo.training.files import RecordError
from zoo.training.record import REQUIRED, Record

START = {"model": "resnext50_32x4d", "groups": 32, "dataset": "digits", "parameters": 25_028_904, "macs": 4e9}
END = {
    "val_top1": np.float32(0.5),
    "val_top5": 0.75,
    "train_images_per_second": 21.5,
    "peak_memory_bytes": np.int64(2**33),
    "seconds": 12.5,
}


def result(directory):
    def refuse(word):
        raise ValueError(f"{word} is no JSON")

    return json.loads((directory / "result.json").read_text(), parse_constant=refuse)


def rows(directory):
    with (directory / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_finished_run(tmp_path):
    with Record(tmp_path / "new" / "run", START) as record:
        assert result(record.directory) == {"status": "running", **START}
        record.epoch({"epoch": 0, "train/loss": np.float32(2.5), "val/top1": 0.25, "note": 'a "b", c'})
        assert rows(record.directory)[0]["train/loss"] == "2.5"  # readable while the run goes on
        record.epoch({"epoch": 1, "train/loss": 1e-7})
        returned = record.finish("finished", {**END, "test_top1": float("nan"), "test": {"loss": [np.inf, 1.0]}})
    written = result(record.directory)
    assert returned == written
    assert written == {"status": "finished", **START, **END, "test_top1": None, "test": {"loss": [None, 1.0]}}
    assert set(REQUIRED) <= written.keys()
    first, second = rows(record.directory)
    assert first["note"] == 'a "b", c'
    assert (second["epoch"], float(second["train/loss"]), second["val/top1"]) == ("1", 1e-7, "")
    assert sorted(path.name for path in record.directory.iterdir()) == ["metrics.csv", "result.json"]


def test_what_is_known_early_is_told_early_and_stays_whatever_happens(tmp_path):
    (tmp_path / "evaluation.json").write_text("an earlier run's")
    record = Record(tmp_path, {"model": "resnext50_32x4d"})
    assert not record.evaluation_path.exists()
    record.add({"macs": np.int64(7)})
    assert result(tmp_path) == {"status": "running", "model": "resnext50_32x4d", "macs": 7}
    classes = ["<b>", 'a,"b"\n', "broken \udcff", "é"]
    record.evaluation({"split": "validation", "classes": classes, "confusion": [[0, 1, np.int64(3)]]})
    with pytest.raises(ValueError), record:
        raise ValueError("no")
    assert (result(tmp_path)["status"], result(tmp_path)["macs"]) == ("failed", 7)
    evaluation = json.loads((tmp_path / "evaluation.json").read_text())
    assert evaluation == {"split": "validation", "classes": classes, "confusion": [[0, 1, 3]]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evaluation.json", "result.json"]


@pytest.mark.parametrize(
    "raised, status, text",
    [
        (KeyboardInterrupt(), "interrupted", "KeyboardInterrupt"),
        (ValueError("loss is nan"), "failed", "ValueError: loss is nan"),
    ],
)
def test_a_run_that_raises(tmp_path, raised, status, text):
    with pytest.raises(type(raised)), Record(tmp_path, START):
        raise raised
    written = result(tmp_path)
    assert (written["status"], written["error"], written["val_top1"], written["groups"]) == (status, text, None, 32)


def test_a_killed_run_is_still_running_and_keeps_its_epochs(tmp_path):
    code = f"""if True:
        import os, signal
        from pathlib import Path
        from zoo.training.record import Record
        record = Record(Path({str(tmp_path)!r}), {{"model": "resnext50_32x4d"}})
        record.epoch({{"epoch": 0, "val/top1": 0.5}})
        os.kill(os.getpid(), signal.SIGKILL)
    """
    killed = subprocess.run([sys.executable, "-c", code], env=process_environment())
    assert killed.returncode == -signal.SIGKILL
    assert result(tmp_path) == {"status": "running", "model": "resnext50_32x4d"}
    assert rows(tmp_path) == [{"epoch": "0", "val/top1": "0.5"}]


def test_a_resumed_run_keeps_the_epochs_before_it(tmp_path):
    record = Record(tmp_path, START)
    for epoch in range(4):
        record.epoch({"epoch": epoch, "val/top1": 0.5})
    with record.metrics_path.open("a") as file:
        file.write("4")  # killed within a row
    resumed = Record(tmp_path, START, rows=[{"epoch": epoch, "val/top1": 0.5} for epoch in range(2)])
    assert [row["epoch"] for row in rows(tmp_path)] == ["0", "1"]
    resumed.epoch({"epoch": 2, "val/top1": 0.75})
    assert [row["val/top1"] for row in rows(tmp_path)] == ["0.5", "0.5", "0.75"]
    with pytest.raises(ValueError, match="no column val/top5"):
        resumed.epoch({"epoch": 3, "val/top5": 1.0})
    Record(tmp_path, START)
    assert not record.metrics_path.exists()


def test_a_row_with_an_unknown_column_is_refused(tmp_path):
    record = Record(tmp_path)
    record.epoch({"epoch": 0, "val/loss": 1.0})
    with pytest.raises(ValueError, match=r"no column val/lost; its columns .* epoch, val/loss"):
        record.epoch({"epoch": 1, "val/lost": 1.0})
    assert len(rows(tmp_path)) == 1


def test_a_finished_run_must_tell_everything(tmp_path):
    record = Record(tmp_path, START)
    with pytest.raises(ValueError, match="lacks val_top1, val_top5, train_images_per_second"):
        record.finish("finished", {"peak_memory_bytes": 1, "seconds": 1})
    with pytest.raises(ValueError, match="'done' is not one of finished, interrupted, failed"):
        record.finish("done")
    assert result(tmp_path)["status"] == "running"


def test_a_disk_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match=r"^Cannot write .*file/run: Not a directory; .*run.dir=PATH.$"):
        Record(tmp_path / "file" / "run")


def test_a_full_disk_leaves_the_last_whole_result(tmp_path):
    record = Record(tmp_path, START)
    before = (tmp_path / "result.json").read_text()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))  # the kernel then refuses what is longer
    try:
        with pytest.raises(RecordError, match=r"metrics.csv: File too large"):
            record.epoch({f"metric{index}": 1.0 for index in range(20)})
        with pytest.raises(RecordError, match=r"result.json: File too large"):
            record.finish("finished", END)
        with pytest.raises(ValueError, match="the real reason"), record:
            raise ValueError("the real reason")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / "result.json").read_text() == before
    assert not list(tmp_path.glob("*.part"))


def test_the_api_key_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef" * 3)
    record = Record(tmp_path, START)
    record.finish("failed", error=f"ValueError: {os.environ['WANDB_API_KEY']} was refused")
    assert result(tmp_path)["error"] == "ValueError: *** was refused"


def test_the_commit_and_whether_it_was_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.git_commit(tmp_path) is None and environment.git_dirty(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert environment.git_commit(tmp_path) is None
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "a")
    assert environment.git_commit(tmp_path) == git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "untracked").write_text("")
    assert environment.git_dirty(tmp_path) is False
    (tmp_path / "a").write_text("2")
    assert environment.git_dirty(tmp_path) is True
    monkeypatch.setenv("PATH", "")
    assert environment.git_commit(tmp_path) is None


def test_peak_memory_is_in_bytes():
    code = "from zoo.environment import peak_memory_bytes as peak\n"
    code += "before = peak(); b'x' * 2**28; print(peak() - before)"
    assert 0.8 * 2**28 < int(run_code(code)) < 1.2 * 2**28


def test_versions_are_those_that_are_imported():
    versions = environment.versions()
    assert versions["numpy"] == np.__version__
    assert versions["python"] == sys.version.split()[0]
    assert versions.keys() == {"python", "tensorflow", "keras", "numpy"} and None not in versions.values()

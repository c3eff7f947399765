"""Run directories as they are found: whole, old, running, crashed and damaged in every way."""

import json
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from helpers import run_directories
from helpers.processes import run_code
from zoo.comparison import runs as runs_module
from zoo.comparison.process import has_crashed
from zoo.comparison.reading import read_runs
from zoo.comparison.runs import figure
from zoo.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """One whole run, which everything else must leave alone."""
    run_directories.write_run(tmp_path / "good", run_directories.result())
    return tmp_path


def read(folder):
    messages = []
    return {os.path.basename(run.path): run for run in read_runs([folder], messages.append)}, messages


def test_a_whole_run(folder):
    runs, messages = read(folder)
    (run,) = runs.values()
    assert messages == [] and run.status == "finished" and run.path == str(folder / "good")
    assert run.history["epoch"] == [1, 2, 3, 4, 5] and len(run.history["val/top1"]) == 5
    assert run.result["config"]["recipe"]["epochs"] == 5 and figure(run, "macs") == run.result["macs"]
    assert run.evaluation.classes == run_directories.CLASSES and run.evaluation.split == "validation"
    assert sum(images for _, _, images in run.evaluation.confusion) == 1000


DAMAGE = {  # what result.json holds -> what is said of it
    b"": "it is empty; this run is left out",
    b'{"status": "finished", "val_to': "it is cut off or no JSON (line 1); this run is left out",
    b"[1, 2]": "it holds [1, 2] where a run writes an object; this run is left out",
    b'{"status": "done"}': "status='done' is none of finished, interrupted, failed, running; this run is left out",
    b"{}": "status=None is none of finished, interrupted, failed, running; this run is left out",
    b"\x00\xff\xfe": "its byte 1 is no UTF-8 text; this run is left out",
    b"[" * 100_000: "it is no JSON that can be read; this run is left out",
    b'{"status": ' + b"9" * 5000 + b"}": "it is no JSON that can be read; this run is left out",
    b" " * (2**24 + 1): "it has 16,777,217 bytes, and at most 16,777,216 are read; this run is left out",
}


@pytest.mark.parametrize("content, sentence", DAMAGE.items(), ids=[text[:40] for text in DAMAGE.values()])
def test_a_result_that_is_none_is_named_once(folder, content, sentence):
    (folder / "bad").mkdir()
    (folder / "bad" / "result.json").write_bytes(content)
    runs, messages = read(folder)
    assert list(runs) == ["good"] and messages == [f"{folder}/bad/result.json: {sentence}."]


WRONG = {
    "val_top1": ["high", 1.5, -0.1, True, [0.9], 10**400],
    "macs": [0, -3, "4e9", {"a": 1}],
    "latency_seconds": [0.0, "fast"],
    "epochs": [1.5, -1, "3"],
    "groups": [0, [], [4, "x"], {"a": 1}, 2.5],
    "name": [3, ["x"]],
    "config": ["text", [1]],
    "seed": ["0", 1.0],
}


@pytest.mark.parametrize("key, value", [(key, value) for key, values in WRONG.items() for value in values], ids=repr)
def test_a_value_that_cannot_be_is_left_out_and_named(folder, key, value):
    (folder / "bad").mkdir()
    (folder / "bad" / "result.json").write_text(json.dumps(run_directories.result() | {key: value, "val_loss": 0.25}))
    runs, (sentence,) = read(folder)
    assert sentence.startswith(f"{folder}/bad/result.json: {key}={repr(value)[:30]}")
    assert sentence.endswith("is invalid and ignored.")
    assert key not in runs["bad"].result and runs["bad"].result["val_loss"] == 0.25


def test_figures_that_are_no_numbers(folder):
    text = json.dumps(run_directories.result() | {"val_top1": float("nan"), "macs": float("inf")})
    (folder / "bad").mkdir()
    (folder / "bad" / "result.json").write_text(text)
    runs, messages = read(folder)
    assert messages == [f"{folder}/bad/result.json: macs=inf, val_top1=nan are invalid and ignored."]
    assert figure(runs["bad"], "val_top1") is None and figure(runs["bad"], "macs") is None


HEADER = "epoch,train/loss,val/top1\n"
LINES = {  # rows of metrics.csv -> epochs that are read, what is said
    "1,2.5,0.5\n2,1.5,0.6\n3,1.2": ([1, 2], "line 4 is cut off; left out"),
    "1,2.5,0.5\n2,1.5,0.6\n3,1.2,0.7": ([1, 2], "line 4 is cut off; left out"),  # of 0.75, perhaps
    "1,2.5,0.5\n2,1.5\n3,1.2,0.7\n": ([1, 3], "line 3 has 2 of 3 values; left out"),
    "1,2.5,0.5\n2,oops,0.6\n": ([1], "line 3 has 'oops' for train/loss; left out"),
    "1,nan,0.5\n2,1.5,1.7\n": ([1, 2], "line 2 has 'nan' for train/loss; line 3 has '1.7' for val/top1; left out"),
    ",1.5,0.6\n2,1.5,0.6\n": ([2], "line 2 lacks its epoch; left out"),
    "1,2.5,0.5\n\n2,1.5,0.6\n": ([1, 2], "line 3 has 0 of 3 values; left out"),
    "x\n" * 9: (None, f"{'; '.join(f'line {line} has 1 of 3 values' for line in (2, 3, 4))}, and 6 more; left out"),
    "1,2.5,\n2,1.5,0.6\n": ([1, 2], None),  # a value that was not measured
}


@pytest.mark.parametrize("lines, expected, sentence", [(key, *value) for key, value in LINES.items()], ids=repr)
def test_rows_that_are_damaged_are_left_out_and_named(folder, lines, expected, sentence):
    run_directories.write_run(folder / "bad", run_directories.result())
    (folder / "bad" / "metrics.csv").write_text(HEADER + lines)
    runs, messages = read(folder)
    assert runs["bad"].history.get("epoch") == expected
    assert messages == ([f"{folder}/bad/metrics.csv: {sentence}."] if sentence else [])


FILES = {
    "metrics.csv": [
        (b"epoch,tr", "its first line is cut off"),
        (b"a,b\n1,2\n", "its first line does not name the columns, epoch and others, each once"),
        (b"epoch,epoch\n1,2\n", "its first line does not name the columns, epoch and others, each once"),
        (b"\xff\xfe\n", "its byte 0 is no UTF-8 text"),
        (b'epoch,"a\n', "it is no CSV (unexpected end of data)"),
    ],
    "evaluation.json": [
        (b'{"split": "val', "it is cut off or no JSON (line 1)"),
        (b"7", "it holds 7 where a run writes an object"),
        (b'{"split": 1}', "split=1 is no name"),
        (b'{"split": "validation", "classes": []}', "classes=[] is no list of names"),
        (b'{"split": "validation", "classes": ["a"], "confusion": {}}', "confusion={} is no list"),
        *(
            (b'{"split": "v", "classes": ["a"], "confusion": [[0, 0, 5], %s]}' % cell.encode(), f"confusion has {cell}")
            for cell in ("[0, 1, 2]", "[0, 0]", "[0, 0, -1]", "[0, 0, 1.5]", "7", '["0", 0, 1]')
        ),
    ],
}


CASES = [(name, *case) for name, cases in FILES.items() for case in cases]


@pytest.mark.parametrize("name, content, sentence", CASES, ids=repr)
def test_a_file_that_is_damaged_is_left_out_and_named(folder, name, content, sentence):
    run_directories.write_run(folder / "bad", run_directories.result())
    (folder / "bad" / name).write_bytes(content)
    runs, (message,) = read(folder)
    assert message.replace("'", '"').startswith(f"{folder}/bad/{name}: {sentence}".replace("'", '"'))
    assert message.endswith("its epochs." if name == "metrics.csv" else "its classes.")
    assert figure(runs["bad"], "val_top1") == run_directories.result()["val_top1"]


def test_what_is_no_regular_file_does_not_stop_the_reading(folder):
    for name in ("pipe", "folder", "nowhere"):
        (folder / name).mkdir()
    os.mkfifo(folder / "pipe" / "result.json")
    (folder / "folder" / "result.json").mkdir()
    (folder / "nowhere" / "result.json").symlink_to(folder / "missing")
    runs, messages = read(folder)
    assert list(runs) == ["good"] and len(messages) == 3
    assert [line.partition(": ")[2].partition(";")[0] for line in sorted(messages)] == [
        "it is no regular file",
        "No such file or directory",
        "it is no regular file",
    ]


def test_older_runs_lack_the_newer_keys(folder):
    result = run_directories.result("regnet", 8, model="regnety_008")
    for key in ("family", "latency_seconds", "config"):
        result.pop(key)
    run_directories.write_run(folder / "old", result, classes=None)
    lines = (folder / "old" / "metrics.csv").read_text().splitlines()
    (folder / "old" / "metrics.csv").write_text("".join(line.rpartition(",")[0] + "\n" for line in lines))
    runs, messages = read(folder)
    old = runs["old"]
    assert messages == [] and old.evaluation is None and "seconds" not in old.history
    assert runs_module.family(old) == "regnet" and figure(old, "latency_seconds") is None


def running(folder, name="run", **process):
    result = {key: run_directories.result()[key] for key in ("name", "model", "groups", "dataset", "seed", "macs")}
    run_directories.write_run(folder / name, result | {"status": "running", "process": process}, epochs=3, classes=None)
    with (folder / name / "metrics.csv").open("a") as file:
        file.write("4,0.01,0.9")
    return folder / name


def test_a_running_run_is_judged_by_its_process_and_read_to_its_last_whole_row(folder):
    now = datetime.now(UTC)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    here = {"host": socket.gethostname(), "started": now.isoformat()}
    running(folder, "alive", pid=os.getpid(), **here)
    running(folder, "gone", pid=ended.pid, **here)
    earlier = (now - timedelta(days=30)).isoformat()
    running(folder, "reused", pid=os.getpid(), host=here["host"], started=earlier)  # this process is younger
    running(folder, "elsewhere", pid=ended.pid, host="another-machine", started=here["started"])
    running(folder, "unknown")
    silent = running(folder, "silent")
    for file in silent.iterdir():
        os.utime(file, (time.time() - 3 * 86400,) * 2)
    runs, messages = read(folder)
    statuses = {name: run.status for name, run in runs.items() if name != "good"}
    assert statuses == {
        "alive": "running",
        "gone": "crashed",
        "reused": "crashed",
        "elsewhere": "running",
        "unknown": "running",
        "silent": "crashed",
    }
    assert len(messages) == 6 and all("metrics.csv: line 5 is cut off" in line for line in messages)
    alive = runs["alive"]
    assert figure(alive, "val_top1") == alive.history["val/top1"][2] == 0.9
    assert figure(alive, "seconds") == 100 and runs_module.epochs(alive) == 3


def test_folders_are_searched_and_links_in_a_circle_are_harmless(folder, monkeypatch):
    for name in ("10", "9", "deep/er/1", ".hydra", "wandb/x", "checkpoints/y", "good/inside"):
        run_directories.write_run(folder / name, run_directories.result(name=name))
    (folder / "deep" / "circle").symlink_to(folder, target_is_directory=True)
    (folder / "again").symlink_to(folder / "10", target_is_directory=True)
    runs, messages = read(folder)
    assert messages == [] and list(runs) == ["1", "good", "inside", "9", "10"]
    assert len(read_runs([folder, folder / "10", folder / "9" / "result.json"], pytest.fail)) == 5
    monkeypatch.chdir(folder)
    assert read_runs(["9"], pytest.fail)[0].path == "9"


def test_nothing_to_read_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"^There is no run to compare in .*empty \(a folder with a result.json\); "):
        (tmp_path / "empty").mkdir()
        read_runs([tmp_path / "empty"], pytest.fail)
    with pytest.raises(UserError, match=r"^There is no .*/emty: did you mean .*/empty\?$"):
        read_runs([tmp_path / "emty"], pytest.fail)
    with pytest.raises(UserError, match=r"is no folder: name a run directory"):
        (tmp_path / "file.txt").write_text("")
        read_runs([tmp_path / "file.txt"], pytest.fail)
    (tmp_path / "empty" / "result.json").write_text("{")
    with pytest.raises(UserError, match=r"empty: 1 cannot be read; `python train.py`"):
        read_runs([tmp_path / "empty"], lambda line: None)


@pytest.mark.skipif(sys.platform == "win32", reason="its processes do not wait for their parent")
def test_a_process_that_has_ended_and_is_not_yet_waited_for_has_crashed():
    ended = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    ended.stdout.read()
    known = {"pid": ended.pid, "host": socket.gethostname(), "started": datetime.now(UTC).isoformat()}
    deadline = time.monotonic() + 20
    while not has_crashed({"process": known}, 0.0, 1.0) and time.monotonic() < deadline:
        time.sleep(0.01)  # its output ends a moment before it does
    assert has_crashed({"process": known}, 0.0, 1.0)
    ended.wait()


def test_identities_of_processes_that_earlier_versions_wrote():
    here = {"pid": os.getpid(), "host": socket.gethostname()}
    for started in (None, "2019-01-01T00:00:00", "not a time", 5):  # missing, without a time zone, damaged
        assert not has_crashed({"process": here | {"started": started}}, 1e9, 1.0), started
    assert has_crashed({"process": here | {"started": "2019-01-01T00:00:00+00:00"}}, 0.0, 1.0)
    for pid in (True, 0, -1, 2**31, "5", None):  # no number of a process: the silence decides
        assert has_crashed({"process": here | {"pid": pid}}, 1e9, 1.0)
        assert not has_crashed({"process": here | {"pid": pid}}, 1.0, 1.0)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be another user")
def test_a_process_of_another_user_that_the_system_hides_runs():
    """As on shared machines, whose /proc shows each user his own processes."""
    code = "import os, socket, psutil\nfrom zoo.comparison.process import has_crashed\n"
    code += "psutil.PROCFS_PATH = '/nowhere'; parent = os.getppid(); os.setuid(65534)\n"
    code += "known = {'host': socket.gethostname(), 'started': '2019-01-01T00:00:00+00:00'}\n"
    code += "print([has_crashed({'process': known | {'pid': pid}}, 0, 1) for pid in (parent, 2**31 - 1)])"
    assert run_code(code) == "[False, True]\n"

"""`zoo doctor`: what it finds out about this machine, and about machines on which something is wrong."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from filelock import FileLock

from blocks.kernels import build, levels
from blocks.kernels.status import COMPILING, FAILED, IN_USE, NOT_COMPILED, OFF, kernel_status
from helpers.paths import ROOT
from helpers.processes import process_environment
from zoo import hardware
from zoo.__main__ import run
from zoo.commands.doctor import write
from zoo.doctor import computing, folders, machine, settings, tensorflow_answers
from zoo.doctor.asking import Answer, ask
from zoo.doctor.report import SECTIONS
from zoo.doctor.rows import NOTE, OK, PROBLEM, Row, guarded, shown, size_text
from zoo.weights.download import cache_folder

PAGE = (ROOT / "docs" / "doctor.md").read_text()
KEY = "0123456789abcdef0123456789abcdef01234567"
PARTS = tuple(tensorflow_answers.PARTS)


def doctor(capsys) -> tuple[int, dict]:
    """The exit code of `zoo doctor --json`, and its rows by key."""
    code = run(["doctor", "--json"])
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert err == "" and document["format"] == 1
    rows = {row["key"]: row for row in document["rows"]}
    assert len(rows) == len(document["rows"]) == document["ok"] + document["notes"] + document["problems"]
    assert (code == 1) == bool(document["problems"]), "a problem, and nothing else, is exit code 1"
    return code, rows


@pytest.fixture
def broken_tensorflow(tmp_path, monkeypatch):
    """Puts a package of that name, whose code is given, before the real one in processes that are started."""

    def install(code: str) -> None:
        (tmp_path / "broken" / "tensorflow").mkdir(parents=True)
        (tmp_path / "broken" / "tensorflow" / "__init__.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))

    return install


def test_this_machine(tmp_path):
    """As a program, which finds TensorFlow, Keras and W&B in processes of its own."""
    command = [sys.executable, "-m", "zoo", "doctor", "--json"]
    env = process_environment(without=("WANDB_", "BLOCKS_", "TF_", "KERAS_"))
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=240, cwd=tmp_path)
    rows = {row["key"]: row for row in json.loads(done.stdout)["rows"]}
    assert done.stderr == ""
    problems = {key for key, row in rows.items() if row["status"] == PROBLEM}
    assert done.returncode == bool(problems)
    for row in rows.values():
        assert row["status"] in (OK, NOTE, PROBLEM) and row["text"]
        assert row["status"] != PROBLEM or row["remedy"].endswith(".")
        assert row["key"].partition(".")[0] in SECTIONS
    assert rows["tensorflow.import"]["data"]["version"] == tf.__version__
    assert rows["keras.backend"]["data"]["backend"] == "tensorflow"
    assert rows["tensorflow.xla"]["data"] == {"works": True, "automatic": False}
    assert rows["machine.cores"]["data"]["usable"] == hardware.cores()
    assert rows["packages.numpy"]["status"] == OK
    assert rows["tracking.mode"]["data"]["mode"] in ("online", "offline")
    assert rows["runs.outputs"]["data"] == {"folder": None, "runs": 0}
    for key in rows:  # all keys are documented
        section = key.partition(".")[0]
        assert f"`{key if section not in ('packages', 'environment') else f'{section}.NAME'}`" in PAGE, key
    for key in set(re.findall(r"`((?:{})\.[a-z_]+)`".format("|".join(SECTIONS)), PAGE)):
        assert key in rows, key


def test_without_tensorflow(broken_tensorflow, capsys):
    broken_tensorflow("raise ImportError('[bold]libcudart.so.12[/bold]: cannot open\\x1b[31m shared object file')")
    status, rows = doctor(capsys)
    assert status == 1 and rows["tensorflow.import"]["status"] == PROBLEM and rows["tensorflow.import"]["remedy"]
    assert rows["tensorflow.import"]["text"].startswith("fails: ImportError: [bold]libcudart.so.12[/bold]")
    assert rows["kernels.state"]["text"] == rows["keras.backend"]["text"] == "unknown, since TensorFlow does not import"
    assert rows["machine.memory"]["data"]["total_bytes"] > 0 and rows["packages.tensorflow"]["status"] == OK
    write([Row(**row) for row in rows.values()])
    table = capsys.readouterr().out
    assert "\x1b" not in table and "ImportError: [bold]libcudart" in table, "what looks like markup is text"
    assert "\nproblem import" in table and re.search(r"\n1 problem, \d+ notes?, \d+ rows\.", table)


@pytest.mark.parametrize("code, reason", [
    ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "the process was ended by SIGILL"),
    ("import os; print('no', flush=True); os._exit(0)", "the process ended with exit code 0: no"),
], ids=["illegal instruction", "silent end"])  # fmt: skip
def test_tensorflow_that_ends_the_process(code, reason, broken_tensorflow):
    broken_tensorflow(code)
    with ask("zoo.doctor.tensorflow_answers", PARTS, 60) as question:
        rows = list(computing.rows(question.answers()))
    assert rows[0].status == PROBLEM and rows[0].text == f"fails: {reason}"
    assert {row.status for row in rows[1:]} == {NOTE}


def test_an_answer_that_never_comes(broken_tensorflow):
    broken_tensorflow("import sys, time; print('loading', file=sys.stderr, flush=True); time.sleep(600)")
    with ask("zoo.doctor.tensorflow_answers", PARTS, 2.0) as question:
        answers = question.answers()
    assert answers["tensorflow"].failure == "there was no answer within 2 s: loading"
    assert answers["xla"].failure.endswith("while it asked for tensorflow")
    assert question.process.returncode is not None


def test_a_crash_half_way_keeps_what_was_answered(tmp_path, monkeypatch):
    (tmp_path / "crashing.py").write_text(
        "import os\nfrom zoo.doctor.asking import answer\n"
        "def fail(): raise RuntimeError('at https://me:secret@example.org')\n"
        "answer({'a': lambda: {'b': 1}, 'c': fail, 'd': lambda: os.abort(), 'e': lambda: {}})\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with ask("crashing", ("a", "c", "d", "e"), 60) as question:
        answers = question.answers()
    assert answers["a"] == Answer({"b": 1})
    assert answers["c"].failure == "RuntimeError: at https://***@example.org"
    assert answers["d"].failure.startswith("the process was ended by SIGABRT")
    assert answers["e"].failure.endswith("while it asked for d")


def test_no_secret_is_shown(broken_tensorflow, tmp_path, monkeypatch, capsys):
    broken_tensorflow("raise ImportError")
    (tmp_path / "netrc").write_text(f"machine example.org login user password {KEY[::-1]}\n")
    secrets = {
        "WANDB_API_KEY": KEY,
        "WANDB_BASE_URL": "https://me:hidden1@example.org:8080/path",
        "HTTPS_PROXY": "http://me:hidden2@proxy:3128",
        "HF_TOKEN": "hidden3",
        "HF_ENDPOINT": f"https://hidden4@example.org/{KEY}",
        "AWS_SECRET_ACCESS_KEY": "hidden5",
        "NETRC": str(tmp_path / "netrc"),
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    rows = doctor(capsys)[1]
    text = json.dumps(rows)  # all that is shown is in it
    assert "hidden" not in text and KEY not in text and KEY[::-1] not in text and "AWS" not in text
    assert rows["tracking.mode"]["data"] == {
        "mode": "online", "why": None, "key_from": "WANDB_API_KEY", "base_url": "https://example.org:8080/path",
    }  # fmt: skip
    assert rows["environment.HF_TOKEN"] == {
        "key": "environment.HF_TOKEN", "status": OK, "text": "set (not shown)", "remedy": None, "data": {"set": True},
    }  # fmt: skip
    assert rows["environment.HF_ENDPOINT"]["text"] == "https://***@example.org/***"


def test_a_key_of_netrc_and_a_mode(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    (tmp_path / "netrc").write_text(f"machine wandb.example.org login user password {KEY}\n")
    (tmp_path / "netrc").chmod(0o600)

    def tracking():
        with ask("zoo.doctor.wandb_answers", ("tracking",), 60) as question:
            return settings.tracking(question.answers()["tracking"])

    assert tracking().text == "online; API key from netrc; https://wandb.example.org"
    monkeypatch.setenv("WANDB_MODE", "neither")
    row = tracking()
    assert row.status == PROBLEM and "WANDB_* variable" in row.text and KEY not in str(row)


def test_a_hostile_environment_costs_no_traceback(broken_tensorflow, tmp_path, monkeypatch):
    """No home, no locale, no PATH, variables that are not text, and a working directory that is gone."""
    broken_tensorflow("raise ImportError")
    env = {b"PYTHONPATH": os.fsencode(f"{ROOT}:{tmp_path / 'broken'}"), b"CXX": b"/none/\xff[red]\n\x1b[2J"}
    env |= {b"HOME": b"/dev/null/home", b"XDG_CACHE_HOME": b"/dev/null/cache", b"TFDS_DATA_DIR": b"/dev/null"}
    env |= {b"LC_ALL": b"C", b"PYTHONUTF8": b"0", b"PYTHONCOERCECLOCALE": b"0"}
    (tmp_path / "gone").mkdir()
    code = "import os, sys; os.chdir('gone'); os.rmdir('../gone'); os.execv(sys.executable, sys.argv[1:])"
    command = [sys.executable, "-c", code, sys.executable, "-P", "-m", "zoo", "doctor"]
    done = subprocess.run(command, capture_output=True, env=env, cwd=tmp_path, timeout=120)
    table = done.stdout.decode("ascii")
    assert done.returncode == 1 and done.stderr == b"" and "Traceback" not in table and "\x1b" not in table
    assert re.search(r"note +kernels +/dev/null/cache/.*cannot be written", table)
    assert re.search(r"note +encoding +.*\n +Set LANG=C.UTF-8", table)
    assert re.search(r"note +compiler +none .*\[red\]", table) and re.search(
        r"note +outputs +the working directory", table
    )


def test_shown_texts():
    home = os.path.expanduser("~")
    assert shown(f"{home}/x and {home}") == "~/x and ~" and shown(f"{home}folder") == f"{home}folder"
    assert shown("a\n b  https://user:pass@host/x") == "a b https://***@host/x"
    assert len(shown("x" * 1000)) == 400
    assert [size_text(count) for count in (0, 999, 1024, 3 * 2**30)] == ["0 B", "999 B", "1 KiB", "3 GiB"]

    def fails():
        raise KeyError("model name")

    (row,) = guarded("machine.processor", fails)
    assert (row.key, row.status) == ("machine.processor", PROBLEM) and "KeyError: 'model name'" in row.text


def test_the_time():
    assert [row.status for row in machine.clock()] == [OK]
    assert [row.status for row in machine.clock(now=0.0)] == [PROBLEM]


@pytest.mark.parametrize("files, quota, limit", [
    ({"cpu.max": "150000 100000\n", "memory.max": "1073741824\n"}, 1.5, 2**30),
    ({"cpu.max": "max 100000\n", "memory.max": "max\n"}, None, None),
    ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 0.5, None),
    ({"cpu/cpu.cfs_quota_us": "-1", "memory/memory.limit_in_bytes": "9223372036854771712"}, None, None),
    ({"memory/memory.limit_in_bytes": "4096"}, None, 4096),
    ({"cpu.max": "", "memory.max": "much"}, None, None),
    ({}, None, None),
], ids=["version 2", "no limit", "version 1", "version 1, no limit", "memory alone", "unreadable", "none"])  # fmt: skip
def test_control_groups(files, quota, limit, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert (hardware.processor_quota(tmp_path), hardware.memory_limit_bytes(tmp_path)) == (quota, limit)


@pytest.mark.parametrize("text, version", [
    ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n", "535.129.03"),
    ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\n", "570.86.15"),
    ("", None),
], ids=["closed", "open", "none"])  # fmt: skip
def test_the_driver_of_a_gpu(text, version, tmp_path):
    (tmp_path / "version").write_text(text)
    assert hardware.nvidia_driver(tmp_path / "version") == version
    assert hardware.nvidia_driver(tmp_path / "missing") is None


def test_the_processor_is_what_the_kernels_see():
    assert set(hardware.instructions()) == set(hardware.INSTRUCTIONS) & set(levels.processor_flags().split())
    assert folders.kernels_folder() == build.cache_folder() and cache_folder().parent == build.cache_folder().parent


def test_sizes_of_folders(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"12345")
    os.link(tmp_path / "a" / "b" / "file", tmp_path / "a" / "again")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    link = (tmp_path / "a" / "loop").lstat().st_size
    assert folders.size_of(tmp_path) == folders.Size(5 + link, 2)
    assert (
        folders.size_of(tmp_path, most=1) == folders.Size(5 + link, 2, False) or folders.size_of(tmp_path, most=1).files
    )
    assert folders.size_of(tmp_path / "none") == folders.Size(0, 0, False)


def test_prepared_data_sets(tmp_path, monkeypatch):
    for name in ("mnist/3.0.1", "imagenette/full-size-v2/1.0.0", "downloads/extracted/1.0.0"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "dataset_info.json").write_text("{}")
    (tmp_path / "cifar10" / "3.0.2.incompleteABC_cifar10").mkdir(parents=True)
    (tmp_path / "empty" / "1.0.0").mkdir(parents=True)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    folder, prepared = folders.data_sets()
    assert prepared.data["prepared"] == ["imagenette/full-size-v2/1.0.0", "mnist/3.0.1"]
    assert prepared.status == NOTE and "incompleteABC" in prepared.remedy and folder.data["files"] == 3


def test_kernels_are_asked_for_without_compiling(tmp_path, monkeypatch):
    monkeypatch.delenv("BLOCKS_KERNELS", raising=False)
    monkeypatch.setenv("BLOCKS_KERNELS_LEVEL", "native")  # whatever the package brings
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if kernel_status().compiler is None:
        pytest.skip("no C++ compiler")
    status = kernel_status()
    assert (status.state, status.level) == (NOT_COMPILED, None) and status.file.suffix == ".so"
    assert not list(tmp_path.iterdir()), "nothing is written"
    status.file.parent.mkdir(parents=True)
    with FileLock(status.file.with_suffix(".lock")):
        assert kernel_status().state == COMPILING
    assert kernel_status().state == NOT_COMPILED
    status.file.with_suffix(".failed").write_text("error")
    assert kernel_status().state == FAILED and "delete it to try again" in kernel_status().reason
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert kernel_status().reason == "there is no C++ compiler (no-such-compiler is not on PATH)"
    monkeypatch.setenv("BLOCKS_KERNELS", "off")
    assert kernel_status().state == OFF
    monkeypatch.setenv("BLOCKS_KERNELS", "perhaps")
    assert kernel_status().state == FAILED and "use on, wait or off" in kernel_status().reason


def test_kernels_in_use():
    if build.library() is None:
        pytest.skip("no kernels on this machine")
    status = kernel_status()
    assert status.state == IN_USE and status.file.exists() and status.reason is None


KERNELS = {
    "state": NOT_COMPILED,
    "reason": "nothing has needed them yet",
    "level": None,
    "origin": None,
    "available": [],
}
KERNELS |= {"file": "/dev/null/x.so", "compiler": "/usr/bin/g++", "setting": "on", "progress": None}
NO = KERNELS | {"state": FAILED}
FAILURES = [
    ("kernels", KERNELS, PROBLEM, "XDG_CACHE_HOME"),
    ("kernels", NO | {"reason": "there is no C++ compiler", "compiler": None}, PROBLEM, "apt-get"),
    ("kernels", NO | {"reason": "g++ could not compile them"}, PROBLEM, "/dev/null/x.failed"),
    ("kernels", NO | {"reason": "BLOCKS_KERNELS='x' is not known"}, PROBLEM, "Set BLOCKS_KERNELS"),
    ("kernels", KERNELS | {"state": OFF, "reason": "BLOCKS_KERNELS is off"}, NOTE, "Unset BLOCKS_KERNELS"),
    ("onednn", {"enabled": False, "TF_ENABLE_ONEDNN_OPTS": "0"}, NOTE, "Unset TF_ENABLE_ONEDNN_OPTS"),
    ("onednn", {"enabled": False, "TF_ENABLE_ONEDNN_OPTS": None}, NOTE, "slower"),
    ("xla", {"works": False, "automatic": False}, PROBLEM, "jit_compile=False"),
    ("xla", {"works": True, "automatic": True}, NOTE, "TF_XLA_FLAGS"),
    ("devices", {"gpus": ["NVIDIA H100"], "logical_gpus": 1}, OK, None),
]  # fmt: skip


@pytest.mark.parametrize("part, values, status, remedy", FAILURES)
def test_what_is_wrong_with_computing(part, values, status, remedy):
    good = {
        "tensorflow": {"version": "2.21.0", "seconds": 1.0, "cuda": None, "rocm": False},
        "devices": {"gpus": [], "logical_gpus": 0},
        "threads": {"intra_op": 0, "inter_op": 0},
        "onednn": {"enabled": True, "TF_ENABLE_ONEDNN_OPTS": None},
        "xla": {"works": True, "automatic": False},
        "keras": {"backend": "tensorflow", "float": "float32", "precision": "float32",
                  "image_data_format": "channels_last", "jit_compile": False},
        "kernels": KERNELS | {"state": IN_USE, "level": "native", "origin": "compiled"},
    }  # fmt: skip
    assert set(good) == set(PARTS)
    rows = {
        row.key: row for row in computing.rows({name: Answer(each) for name, each in (good | {part: values}).items()})
    }
    (row,) = (row for key, row in rows.items() if part in key)
    assert row.status == status and (remedy is None or remedy in row.remedy)
    assert all(other.status == OK for other in rows.values() if other is not row)


def test_the_compiler(monkeypatch):
    monkeypatch.setenv("CXX", sys.executable)  # any program that knows --version
    (row,) = computing.compiler()
    assert row.status == OK and row.data["version"].startswith("Python 3")
    monkeypatch.setenv("CXX", "false")
    assert [(row.status, "exit code 1" in row.text) for row in computing.compiler()] == [(NOTE, True)]
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert [(row.status, row.remedy) for row in computing.compiler()] == [
        (NOTE, "Set CXX to a compiler that is there, or unset it.")
    ]
    assert [(row.status, row.remedy) for row in computing.compiler(is_needed=False)] == [(OK, None)]


def test_a_malformed_key_is_a_problem():
    answer = Answer(
        {"mode": "offline", "why": "the API key is malformed (x)", "key_from": "netrc", "base_url": "https://x"}
    )
    assert settings.tracking(answer).status == PROBLEM


def test_reports_of_errors_ask_for_it():
    form = (ROOT / ".github" / "ISSUE_TEMPLATE" / "bug_report.yml").read_text()
    assert "zoo doctor --json" in form and Path(ROOT / "docs" / "doctor.md").exists()

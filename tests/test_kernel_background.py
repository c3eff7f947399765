"""Kernels that are compiled while a process goes on without them, on small sources."""

import functools
import os
import time
from pathlib import Path

import pytest

from blocks.kernels import build, compilation
from helpers.kernels import SMALL, needs_kernels, write_sources
from helpers.processes import run_code
from zoo import tensorflow_process
from zoo.training.checkpoints.going_on import ROUNDING
from zoo.training.checkpoints.resume import differences

pytestmark = needs_kernels
# In a process of its own, which ends before what it has begun.
PROGRAM = """
import pathlib, sys
from blocks.kernels import build, sources
sources.FOLDER = pathlib.Path(sys.argv[1])
build.prepare()
"""

# Prints the processor seconds of a process with a lower priority while another has one second.
BESIDE_ANOTHER_SESSION = """
import os, time
from blocks.kernels import compilation

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
pid = os.fork()
os.setsid()
if not pid:
    compilation.lower_priority()
    while True:
        pass
end = time.process_time() + 1
while time.process_time() < end:
    pass
fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
os.kill(pid, 9)
os.waitpid(pid, 0)
print((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
"""


@pytest.fixture
def decide(monkeypatch):
    """`build.library` of a process that has decided nothing yet, in the background if need be."""
    monkeypatch.setenv("BLOCKS_KERNELS", "on")
    monkeypatch.setattr(build, "_started", set())
    return functools.cache(build.library.__wrapped__)


def wait_for(condition) -> None:
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("nothing has happened for two minutes")


def files(cache: Path, suffix: str) -> list[Path]:
    """Those of libraries, without what is in the folder of one that is being compiled."""
    return list(cache.glob(f"cache/*/kernels/*{suffix}"))


def test_a_process_stays_on_what_it_began_with_and_the_next_has_the_kernels(kernel_sources, tmp_path, decide, capfd):
    sources = {name: text.replace("NumberBefore", "NumberLater") for name, text in SMALL.items()}
    write_sources(kernel_sources, sources)
    assert decide() is None
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 1 and "in the background" in lines[0] and "BLOCKS_KERNELS=wait" in lines[0]
    wait_for(lambda: files(tmp_path, ".so"))
    assert decide() is None, "what has begun without kernels goes on without them"
    assert build.library.__wrapped__().number_later() == 42, "as in a process that starts now"
    assert capfd.readouterr().err == ""
    assert not files(tmp_path, ".failed") and not files(tmp_path, ".warnings")


def test_it_goes_on_when_the_process_ends_and_a_ready_library_is_used_at_once(kernel_sources, tmp_path, decide, capfd):
    """A layer that is built begins it; the decision is made at the first operation, which may be after its end."""
    write_sources(kernel_sources, {name: text.replace("NumberBefore", "NumberReady") for name, text in SMALL.items()})
    run_code(PROGRAM, kernel_sources, BLOCKS_KERNELS="on")
    wait_for(lambda: files(tmp_path, ".so"))
    assert decide().number_ready() == 42
    assert capfd.readouterr().err == ""
    assert build.state.level == "native" and build.state.path == files(tmp_path, ".so")[0]


def test_a_failure_is_said_by_the_process_that_runs_and_by_the_next(kernel_sources, tmp_path, decide, capfd):
    write_sources(kernel_sources, {"compute/wrong.cc": "int number() { return nothing; }\n"})
    assert decide() is None
    messages = []
    wait_for(lambda: messages.append(capfd.readouterr().err) or "there will be no CPU kernels" in "".join(messages))
    assert "could not compile them (see " in "".join(messages)
    with pytest.warns(UserWarning, match="not in use, because .* could not compile them"):
        assert build.library.__wrapped__() is None
    assert "nothing" in files(tmp_path, ".failed")[0].read_text()


def test_who_comes_later_says_how_far_it_is(kernel_sources, tmp_path, decide, capfd):
    """While another process compiles: it has the lock, and writes down how many parts are done."""
    import tensorflow as tf

    write_sources(kernel_sources, SMALL)
    library = Path(build._request(tf, "native").library)
    library.parent.mkdir(parents=True)
    with compilation.lock_of(library):
        library.with_suffix(".progress").write_text("3 8")
        assert compilation.progress(library) == (3, 8)
        assert decide() is None
        assert "in the background, 3 of 8 parts done; this process" in capfd.readouterr().err
        assert not files(tmp_path, ".so"), "nobody else begins"
    assert compilation.progress(library) is None


def test_no_more_compilers_run_than_there_are_cores(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    counts = []
    log = tmp_path / "log"
    command = ["sh", "-c", f"echo begin >> {log}; sleep 0.05; echo end >> {log}; exit 3"]
    results = compilation.run_all([command] * 3, lambda *count: counts.append(count))
    assert log.read_text().split() == ["begin", "end"] * 3
    assert counts == [(1, 3), (2, 3), (3, 3)] and [code for code, _ in results] == [3, 3, 3]


def test_a_cache_folder_that_cannot_be_written_is_said_with_its_reason(kernel_sources, tmp_path, decide, monkeypatch):
    write_sources(kernel_sources, SMALL)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    build.prepare.__wrapped__()  # leaves it to the first operation
    with pytest.warns(UserWarning, match=r"not in use, because .*(Not a directory|File exists)"):
        assert decide() is None


def test_a_lock_that_cannot_be_opened_is_nobodys(tmp_path):
    library = tmp_path / "a.so"
    library.with_suffix(".lock").mkdir()
    assert compilation.progress(library) is None


def test_a_relative_cache_folder_does_not_count(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert build.cache_folder() == Path("/home/somebody/.cache/grouped-convolution-zoo/kernels")


@pytest.mark.parametrize(
    ("message", "is_kept"),
    [("fatal error: Killed signal terminated program cc1plus", False), ("a.cc:1: error: nothing", True)],
)
def test_what_the_system_has_ended_is_tried_again(tmp_path, message, is_kept):
    compiler = tmp_path / "compiler"
    compiler.write_text(f"#!/bin/sh\necho '{message}' >&2\nexit 1\n")
    compiler.chmod(0o700)
    library = tmp_path / "cache" / "a.so"
    compilation.compile_library(compilation.Request(str(compiler), [("", [])], [], str(library)))
    assert not library.exists() and compilation.failed_file(library).exists() is is_kept


def test_what_has_not_begun_at_an_interrupt_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0})
    log = tmp_path / "log"

    def interrupt(done: int, parts: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compilation.run_all([["sh", "-c", f"echo begin >> {log}; sleep 0.3"]] * 5, interrupt)
    assert len(log.read_text().split()) <= 2, "the one that is over, and the one that runs"


def test_compilers_leave_the_cores_to_processes_of_other_sessions():
    """Beside a second of work in another session on the same core, what has lowered its priority hardly runs."""
    assert float(run_code(BESIDE_ANOTHER_SESSION)) < 0.25, "seconds; 1 if the two were equal"


def test_a_run_that_goes_on_says_that_its_kernels_are_others():
    assert {"kernels", "kernel_level"} <= set(ROUNDING)
    made_with = {"kernels": True, "kernel_level": "native"}
    assert differences(made_with, {"kernels": True, "kernel_level": "avx2"}) == [
        'kernel_level ("native" there, "avx2" now)'
    ]


@pytest.mark.parametrize(("before", "after"), [(None, "wait"), ("on", "wait"), ("off", "off"), ("wait", "wait")])
def test_a_run_whose_results_shall_not_depend_on_luck_waits(monkeypatch, before, after):
    monkeypatch.setenv("BLOCKS_KERNELS", before) if before else monkeypatch.delenv("BLOCKS_KERNELS")
    tensorflow_process.wait_for_kernels()
    assert os.environ["BLOCKS_KERNELS"] == after

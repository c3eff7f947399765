"""One process at a time: others wait and say so, a killed holder holds nothing, another user's file will do."""

import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from helpers.file_server import serve
from helpers.processes import process_environment
from zoo.locks import only_process
from zoo.weights.download import DownloadError, download

HOLD = """
import os, pathlib, sys, time, filelock
from zoo.locks import only_process
os.seteuid(int(sys.argv[3]))
with only_process(pathlib.Path(sys.argv[1]), "holds"):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(path: Path, seconds: float, user: int) -> subprocess.Popen:
    """A process of that user which takes the lock, says so, and holds it for so long."""
    command = [sys.executable, "-c", HOLD, str(path), str(seconds), str(user)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=process_environment(), text=True, **pipes)


def test_a_download_waits_for_the_process_that_fetches_and_a_killed_one_holds_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serve(b"weights") as server, holder(tmp_path / "w.lock", 600, os.geteuid()) as process:
        assert process.stdout.readline() == "held\n"
        fetching = threading.Thread(target=download, args=(server.address, tmp_path / "w"))
        fetching.start()
        fetching.join(0.5)
        assert fetching.is_alive() and not server.requests
        process.kill()
        fetching.join(20)
        assert not fetching.is_alive() and (tmp_path / "w").read_bytes() == b"weights"
    waiting = f"Waiting for another process that fetches w (lock {tmp_path / 'w.lock'}).\n"
    assert capsys.readouterr().err == waiting


def test_what_others_may_do_with_a_lock_is_up_to_the_umask(tmp_path):
    """In a cache folder that a group shares, each of its members fetches."""
    before = os.umask(0o002)
    try:
        with only_process(tmp_path / "lock", "tests"):
            assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o664
    finally:
        os.umask(before)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be another user")
def test_another_users_lock_file_will_do_where_it_may_be_written():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o1777)  # as /tmp: the system then opens another's file only without the flag that makes one
        lock = Path(folder) / "lock"
        lock.write_text("what an earlier version left")
        for mode, output in ((0o666, "held\n"), (0o644, "")):
            lock.chmod(mode)
            with holder(lock, 0, user=65534) as process:
                said, error = process.communicate(timeout=20)
            assert said == output and ("PermissionError" in error) == (not output), error


def test_a_file_that_is_there_is_read_from_a_folder_that_nobody_may_write(tmp_path):
    (tmp_path / "w").write_bytes(b"weights")
    (tmp_path / "w.lock").mkdir()  # cannot be opened, by root either
    assert download("https://example.org/w", tmp_path / "w") == tmp_path / "w"
    with pytest.raises(DownloadError, match="v cannot be written: Is a directory"):
        (tmp_path / "v.lock").mkdir()
        download("https://example.org/v", tmp_path / "v")

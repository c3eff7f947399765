"""Getting published weights: once, whole, checked, from where they are published and nowhere else."""

import hashlib
import io
import signal
import subprocess
import sys
import threading
import time
import zipfile

import pytest

from helpers.file_server import serve
from helpers.processes import process_environment
from helpers.terminal import Terminal
from zoo.weights import download as downloads
from zoo.weights.download import DownloadError, download, unpack
from zoo.weights.published import Published, fetch, resolve

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(downloads, "PAUSE", 0.01)
    monkeypatch.setattr(downloads, "CHUNK", 1 << 16)
    with serve(CONTENT) as running:
        yield running


def test_a_file_is_fetched_once(server, tmp_path):
    path = tmp_path / "a" / "weights.pth"
    for _ in range(2):
        assert download(f"{server.address}/w", path, sha256=SHA256[:8]) == path
    assert path.read_bytes() == CONTENT and len(server.requests) == 1
    path.write_bytes(CONTENT[:-1])  # damaged on the disk: fetched again
    download(f"{server.address}/w", path, sha256=SHA256)
    assert path.read_bytes() == CONTENT and len(server.requests) == 2


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(server, tmp_path, ranges):
    server.ranges = ranges
    path = tmp_path / "weights.pth"
    (tmp_path / "weights.pth.part").write_bytes(CONTENT[:1000])
    download(server.address, path, sha256=SHA256)
    assert path.read_bytes() == CONTENT and not (tmp_path / "weights.pth.part").exists()
    assert [headers.get("Range") for _, _, headers in server.requests] == ["bytes=1000-"]


def test_a_download_whose_last_byte_had_come_is_complete(server, tmp_path):
    (tmp_path / "weights.pth.part").write_bytes(CONTENT)
    assert download(server.address, tmp_path / "weights.pth", sha256=SHA256).read_bytes() == CONTENT


def test_a_connection_that_ends_early_is_taken_up_again(server, tmp_path):
    server.cuts = [5000, 7000]
    assert download(server.address, tmp_path / "w", sha256=SHA256).read_bytes() == CONTENT
    assert [headers.get("Range") for _, _, headers in server.requests] == [None, "bytes=5000-", "bytes=12000-"]


def test_what_has_come_is_kept_when_the_connection_keeps_ending(server, tmp_path):
    server.cuts = [100] * 20
    with pytest.raises(DownloadError, match="ended after 400 of 512000 bytes; 400 bytes are kept"):
        download(server.address, tmp_path / "w", sha256=SHA256)
    server.cuts = []
    assert download(server.address, tmp_path / "w", sha256=SHA256).read_bytes() == CONTENT


def test_a_part_of_another_file_is_given_up(server, tmp_path):
    for stale in (b"x" * 1000, b"x" * (len(CONTENT) + 5)):
        (tmp_path / "w.part").write_bytes(stale)
        assert download(server.address, tmp_path / "w", sha256=SHA256).read_bytes() == CONTENT
        (tmp_path / "w").unlink()


def test_a_file_of_another_checksum_is_refused(server, tmp_path):
    with pytest.raises(DownloadError, match=f"its SHA-256 is {SHA256[:8]}, not 00000000"):
        download(server.address, tmp_path / "w", sha256="00000000")
    assert {path.name for path in tmp_path.iterdir()} <= {"w.lock"}


def test_a_server_that_is_busy_is_asked_again(server, tmp_path):
    server.statuses = [503, 429]
    assert download(server.address, tmp_path / "w", sha256=SHA256).read_bytes() == CONTENT
    server.statuses = [503] * 9
    with pytest.raises(DownloadError, match="the server answers 503"):
        download(server.address, tmp_path / "v", sha256=SHA256)


def test_a_server_that_falls_silent_is_not_waited_for(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "TIMEOUT", 0.1)
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    server.stall = 1.0
    with pytest.raises(DownloadError, match="timed out; 256000 bytes are kept"):
        download(server.address, tmp_path / "w", sha256=SHA256)


def test_refusals_are_one_sentence_without_secrets(server, tmp_path):
    server.statuses = [404]
    address = server.address.replace("//", "//user:secret@") + "/file?token=secret"  # urllib takes it for a host
    host = server.address.removeprefix("http://")
    with pytest.raises(DownloadError) as caught:
        download(address, tmp_path / "w")
    assert str(caught.value).startswith(f"http://{host}/file c") and "secret" not in str(caught.value)
    with pytest.raises(DownloadError, match=f"http://{host}/file could not be fetched: 404 Not Found."):
        download(f"{server.address}/file?token=secret", tmp_path / "w")
    for refused in ("http://example.org/w?token=secret", "file:///etc/passwd", "ftp://127.0.0.1/w"):
        with pytest.raises(DownloadError, match="is not fetched: only https addresses are") as caught:
            download(refused, tmp_path / "w")
        assert "secret" not in str(caught.value)
    server.redirect = "http://example.org/w"
    with pytest.raises(DownloadError, match=f"http://example.org/w, to which http://{host} leads, is not fetched"):
        download(server.address, tmp_path / "w")
    with pytest.raises(DownloadError, match="cannot be reached: .*refused"):
        download("http://127.0.0.1:9/w", tmp_path / "w")


def test_a_folder_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DownloadError, match="taken/w cannot be written"):
        download(server.address, tmp_path / "taken" / "w")


def test_of_several_processes_one_fetches(server, tmp_path):
    server.stall = 0.2
    results = []
    ask = lambda: results.append(download(server.address, tmp_path / "w", sha256=SHA256))  # noqa: E731
    workers = [threading.Thread(target=ask) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert results == [tmp_path / "w"] * 4 and len(server.requests) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_an_interrupt_keeps_what_has_come(server, tmp_path):
    server.stall = 20.0
    code = "import pathlib, sys; from zoo.weights import download; download.download(sys.argv[1], pathlib.Path('w'))"
    command = [sys.executable, "-c", code, server.address]
    process = subprocess.Popen(command, cwd=tmp_path, env=process_environment(), stderr=subprocess.PIPE)
    part = tmp_path / "w.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert b"KeyboardInterrupt" in process.communicate(timeout=20)[1]
    assert 0 < part.stat().st_size <= len(CONTENT) // 2
    server.stall = 0.0
    assert download(server.address, tmp_path / "w", sha256=SHA256).read_bytes() == CONTENT


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return buffer.getvalue()


def test_the_one_file_of_an_archive_is_unpacked(server, tmp_path):
    server.content = archive(**{"w.pth": CONTENT, "../evil.pth": b"evil"})
    sha1 = hashlib.sha1(CONTENT).hexdigest()
    for _ in range(2):
        assert unpack(server.address, tmp_path / "in" / "w.pth", sha1=sha1).read_bytes() == CONTENT
    assert len(server.requests) == 1
    assert {path.name for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"} == {"w.pth"}


def test_archives_that_are_none(server, tmp_path, monkeypatch):
    def refusal(content: bytes, sha1: str = "") -> str:
        server.content = content
        with pytest.raises(DownloadError) as caught:
            unpack(server.address, tmp_path / "w.pth", sha1=sha1)
        assert not [path for path in tmp_path.iterdir() if path.suffix != ".lock"]
        return str(caught.value)

    good = archive(**{"w.pth": CONTENT})
    assert "is not the archive that it should be: it should hold one 'w.pth', and holds '../w.pth'" in (
        refusal(archive(**{"../w.pth": CONTENT}))
    )
    assert "is not the archive" in refusal(b"<html>not found</html>")
    assert "is not the archive" in refusal(good[:60] + bytes(40) + good[100:])
    assert "its SHA-1 differs" in refusal(good, sha1="0" * 40)
    monkeypatch.setattr(downloads, "LARGEST_MEMBER", 1000)
    assert "more than the 1000 allowed" in refusal(good)


def test_fetch_of_torchvision_and_pytorchcv(server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    weights = Published("torchvision/x", "x", f"{server.address}/w.pth", "w.pth", sha256_prefix=SHA256[:8])
    assert fetch(weights) == tmp_path / "grouped-convolution-zoo" / "weights" / "torchvision" / "w.pth"
    server.content = archive(**{"v.pth": CONTENT})
    sha1 = hashlib.sha1(CONTENT).hexdigest()
    weights = Published("pytorchcv/x", "x", f"{server.address}/v.pth.zip", "v.pth", sha1=sha1)
    assert fetch(weights).read_bytes() == CONTENT


def test_fetch_through_the_hugging_face_hub(server, tmp_path, monkeypatch):
    """Its own protocol, spoken by a server on this machine: found, from the cache, damaged, gone, offline."""
    constants = pytest.importorskip("huggingface_hub.constants", reason="the extra 'weights' is not installed")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))  # what HF_HOME and HF_HUB_OFFLINE set at import
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    server.headers = {"X-Repo-Commit": "c" * 40, "ETag": f'"{SHA256}"'}
    weights = resolve("timm/mobilenetv3_small_050.lamb_in1k")

    path = fetch(weights)
    assert path.read_bytes() == CONTENT and path.is_relative_to(tmp_path)
    asked = "/timm/mobilenetv3_small_050.lamb_in1k/resolve/main/model.safetensors"
    assert server.requests[0][:2] == ("HEAD", asked)
    with monkeypatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert fetch(weights) == path

    blob = path.resolve()
    blob.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(DownloadError, match=f"{blob} is damaged: its SHA-256 begins with [0-9a-f]+, not {SHA256[:12]}"):
        fetch(weights)
    path.unlink()
    blob.unlink()
    server.headers["X-Error-Code"] = "EntryNotFound"
    server.statuses = [404] * 9
    with pytest.raises(DownloadError, match="has no model.safetensors in timm/mobilenetv3_small_050.lamb_in1k"):
        fetch(weights)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="is not in the cache of the Hugging Face Hub, and the Hub can"):
        fetch(weights)


def test_without_huggingface_hub_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'grouped-convolution-zoo\[weights\]'"):
        fetch(resolve("timm/mobilenetv3_small_050.lamb_in1k"))


def test_progress_is_shown_on_a_terminal_and_nowhere_else(server, tmp_path, capfd):
    code = "import pathlib, sys; from zoo.weights import download; download.download(sys.argv[1], pathlib.Path('w[b]'))"
    terminal = Terminal([sys.executable, "-c", code, server.address], tmp_path, process_environment(TERM="xterm"))
    terminal.read()
    assert terminal.process.wait(20) == 0 and (tmp_path / "w[b]").read_bytes() == CONTENT
    assert "w[b]" in terminal.shown and "512.0/512.0 kB" in terminal.shown
    download(server.address, tmp_path / "v")
    assert capfd.readouterr() == ("", "")

"""`zoo` as a shell runs it: what it imports, terminals, pipes, Ctrl-C, completion."""

import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
from fcntl import ioctl

import pytest

from helpers.paths import ROOT
from helpers.processes import process_environment

ZOO = [sys.executable, "-m", "zoo"]
SLOW = {"tensorflow", "keras", "numpy", "plotly", "wandb", "tensorflow_datasets", "sklearn", "hydra", "huggingface_hub"}


def environment(**variables: str) -> dict[str, str]:
    return process_environment(without=("COLUMNS", "NO_COLOR", "FORCE_COLOR"), **variables)


def run_zoo(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """The finished `python -m zoo` with these arguments."""
    return subprocess.run(
        [*ZOO, *arguments], capture_output=True, text=True, env=environment(**variables), timeout=120, cwd="/"
    )


def on_terminal(columns: int, *arguments: str, **variables: str) -> str:
    """What a command shows on a terminal that is so wide."""
    terminal, program = pty.openpty()
    ioctl(program, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    variables = environment(TERM="xterm", **variables)
    started = subprocess.Popen(
        [*ZOO, *arguments], stdin=program, stdout=program, stderr=program, env=variables, cwd="/"
    )
    os.close(program)
    text = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # so Linux says that the other end is closed
            break
        if not piece:
            break
        text += piece
    os.close(terminal)
    assert started.wait(60) == 0
    return text.decode()


@pytest.mark.parametrize("arguments", [
    ["--help"], ["--version"], ["list"], ["list", "--json"], ["info", "resnext50_32x4d"], ["info", "resnext"],
    ["info", "timm/resnext50_32x4d.a1h_in1k", "--csv"], ["completion", "fish"], ["profile", "--help"],
    ["predict", "--help"], ["doctor", "--help"], ["predict", "resnext50_32x4", "/dev/null"],
    ["profile", "resnext50_32x4"], ["profile", "mobilenetv2_100", "--groups", "7"], ["lst"],
], ids=" ".join)  # fmt: skip
def test_what_needs_no_tensorflow_imports_nothing_slow(arguments):
    command = [sys.executable, "-X", "importtime", "-m", "zoo", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=120, cwd="/")
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "click" in imported and not imported & SLOW


def test_the_figures_are_alone_on_standard_output():
    """TensorFlow begins with lines of its own, which go elsewhere."""
    done = run_zoo("profile", "mobilenetv1_025", "--input", "32", "--repeats", "1", "--fused", "--csv")
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0].startswith("layer,kind,output,groups,parameters,macs,activations,")
    assert all(line.count(",") == 8 for line in lines)


@pytest.mark.parametrize("columns", [40, 80, 130])
def test_tables_fit_the_terminal(columns):
    for arguments in (["list"], ["info", "resnext50_32x4d"], ["info", "mobilenet_v4"]):
        lines = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal(columns, *arguments)).splitlines()
        assert max(len(line.rstrip()) for line in lines) <= columns
    listed = re.sub(r"\x1b\[[0-9;]*m", "", on_terminal(columns, "list", "mobilenetv4*"))
    assert "mobilenetv4_conv_aa_medium " in listed, "a name is in one piece"
    assert ("(A wider terminal shows family, MACs, " in listed) == (columns == 40)


def test_colours_only_where_they_are_wanted():
    assert "\x1b[1m" in on_terminal(80, "list", "lcnet*")
    assert "\x1b" not in on_terminal(80, "list", "lcnet*", NO_COLOR="1")
    piped = run_zoo("list", "lcnet*", COLUMNS="40").stdout
    assert "\x1b" not in piped and len(piped.splitlines()[1]) > 40 and "tags" in piped


def test_a_closed_pipe_ends_it_silently():
    pipe = subprocess.PIPE
    started = subprocess.Popen([*ZOO, "list"], stdout=pipe, stderr=pipe, env=environment(), cwd="/")
    started.stdout.close()
    assert started.stderr.read() == b""
    assert started.wait(60) == 141, "as for programs that the signal of a closed pipe ends"
    started.stderr.close()


def test_output_that_cannot_be_written_is_an_error():
    for target, sentence in (
        ("/dev/full", "No space left on device."),
        ("&-", "Standard output is closed, so nothing can be shown."),
    ):
        command = f"exec '{sys.executable}' -m zoo list >{target}"
        done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, env=environment(), cwd="/")
        assert (done.returncode, done.stderr) == (1, f"{sentence}\n")


@pytest.mark.heavy
def test_ctrl_c_ends_with_one_line():
    leader, follower = pty.openpty()
    arguments = ["profile", "mobilenetv1_025", "--input", "32", "--repeats", "100000000"]
    started = subprocess.Popen(
        [*ZOO, *arguments], stdout=subprocess.PIPE, stderr=follower, env=environment(TERM="xterm"), cwd="/"
    )
    os.close(follower)
    text = b""
    while b"Timing" not in text:
        text += os.read(leader, 4096)
    started.send_signal(signal.SIGINT)
    while b"Stopped" not in text:
        text += os.read(leader, 4096)
    out, _ = started.communicate(timeout=60)
    os.close(leader)
    # Where the signal meets code that a library runs as a string, Python ends by the signal itself: 130 to a shell too.
    assert started.returncode in (130, -signal.SIGINT) and out == b""
    assert b"Stopped by Ctrl-C." in text and b"Traceback" not in text


def test_it_says_when_it_is_not_installed(tmp_path):
    for package in ("zoo", "blocks"):
        (tmp_path / package).symlink_to(ROOT / package)
    command = [sys.executable, "-P", "-m", "zoo", "--version"]
    variables = environment(PYTHONPATH=str(tmp_path))
    done = subprocess.run(command, capture_output=True, text=True, env=variables, cwd=tmp_path, timeout=60)
    installed = subprocess.run(
        [sys.executable, "-c", "import importlib.metadata as m; m.version('grouped-convolution-zoo')"],
        capture_output=True, env=environment(PYTHONPATH=""), cwd=tmp_path,
    ).returncode == 0  # fmt: skip
    unknown = r"of unknown version \(a copy of grouped-convolution-zoo that is not installed\)"
    own = r"0\.[0-9a-z.+]+" if installed else unknown
    assert re.fullmatch(rf"zoo {own} \(Python 3[0-9.]+, tensorflow [0-9.]+, keras [0-9.]+\)\n", done.stdout)


def test_without_a_home_and_with_an_ascii_locale():
    variables = {key: value for key, value in environment(PYTHONIOENCODING="ascii").items() if key != "HOME"}
    for arguments in (["list"], ["info", "resnest"]):
        done = subprocess.run([*ZOO, *arguments], capture_output=True, text=True, env=variables, cwd="/", timeout=60)
        assert (done.returncode, done.stderr) == (0, "")


COMPLETED = [
    (
        "zoo ",
        ["list", "info", "profile", "benchmark", "choose", "export", "compare", "predict", "doctor", "completion"],
    ),
    ("zoo li", ["list"]),
    ("zoo info mobilenetv2_1", ["mobilenetv2_100", "mobilenetv2_110d", "mobilenetv2_120d", "mobilenetv2_140"]),
    ("zoo info mobilenet_v", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3", "mobilenet_v4"]),
    ("zoo profile mobilenet_v", []),
    ("zoo info torchvision/resnet101.", ["torchvision/resnet101.IMAGENET1K_V1", "torchvision/resnet101.IMAGENET1K_V2"]),
    ("zoo predict pytorchcv/shufflenet_g1_w1", ["pytorchcv/shufflenet_g1_w1"]),
    ("zoo predict outp", ["file,outp"]),
    ("zoo predict x y --crop-mode ", ["center", "squash", "border"]),
    ("zoo list --sort ", ["macs", "name", "parameters", "top1"]),
    ("zoo list --family mobilenet_v", ["mobilenet_v1", "mobilenet_v2", "mobilenet_v3", "mobilenet_v4"]),
    ("zoo profile --fu", ["--fused"]),
    ("zoo benchmark lcnet_035 --contenders fused,lit", ["fused,litert", "fused,litert-int8"]),
    ("zoo profile shufflenet_g3_w1 --groups ", ["1", "2", "3", "4", "8"]),
    ("zoo completion ", ["bash", "fish", "zsh"]),
]  # fmt: skip


@pytest.mark.parametrize("typed, expected", COMPLETED, ids=[typed for typed, _ in COMPLETED])
def test_completion(typed, expected):
    position = str(len(typed.split(" ")) - 1)
    done = run_zoo(_ZOO_COMPLETE="bash_complete", COMP_WORDS=typed, COMP_CWORD=position)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.removeprefix("plain,") for line in done.stdout.split()] == expected


def test_bash_itself_completes(tmp_path):
    """With a program `zoo`, as the installation makes it, and the script that `zoo completion bash` prints."""
    if not shutil.which("bash"):
        pytest.skip("no bash on this machine")
    program = tmp_path / "zoo"
    program.write_text(f"#!{sys.executable}\nfrom zoo.__main__ import main\nmain()\n")
    program.chmod(0o755)
    script = """
eval "$(zoo completion bash)"
COMP_WORDS=(zoo info resnext50_32) COMP_CWORD=2
_zoo_completion zoo
echo "${COMPREPLY[@]}"
complete -p zoo
"""
    variables = environment(PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=variables, cwd="/", timeout=60)
    assert done.stdout.splitlines() == ["resnext50_32x4d resnext50_32x8d", "complete -o nosort -F _zoo_completion zoo"]


@pytest.mark.parametrize("shell, part", [("bash", "complete -o nosort -F"), ("zsh", "compdef"), ("fish", "complete ")])
def test_completion_scripts(shell, part):
    script = run_zoo("completion", shell).stdout
    assert part in script and f"_ZOO_COMPLETE={shell}_complete" in script

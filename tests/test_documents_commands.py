"""The commands of README.md and docs/: their options exist and their settings compose; heavy, they run."""

import functools
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib

import click
import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

import blocks
import zoo
from helpers import hub
from helpers.documents import Block, all_blocks, commands_of
from helpers.drawn_datasets import prepare_drawn
from helpers.paths import ROOT
from helpers.processes import process_environment
from helpers.training import compose_config
from zoo.commands import program
from zoo.training.settings import check

SHELL = all_blocks("bash")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
RUN = "outputs/2026-11-23/07-00-00"
# Programs of others: nothing of this project is in their arguments.
TOOLS = {"build"}  # modules that only who makes releases has installed
OTHERS = {"apt-get", "export", "exit", "[", "code=$?", "git", "mkdocs", "pre-commit", "scontrol", "wandb"}


def check_zoo(words: list[str]) -> None:
    """The subcommand exists, and click accepts the arguments."""
    name, *arguments = words
    with program.make_context("zoo", [name, *arguments]) as context:
        command = program.get_command(context, name)
        if command is None:
            raise click.UsageError(f"There is no command {name!r}.")
        arguments = arguments[: arguments.index(">")] if ">" in arguments else arguments
        command.make_context(name, list(arguments), parent=context)


def overrides_of(words: list[str]) -> list[list[str]]:
    """The settings of the first and the last runs of a `python train.py`, without those of Hydra's plugins."""
    parsed = OverridesParser.create().parse_overrides([word for word in words if not word.startswith("-")])
    runs: list[list[str]] = [[], []]
    for override in parsed:
        if override.key_or_group.startswith("hydra") or override.key_or_group == "sweep":
            continue
        if override.is_interval_sweep():
            continue
        values = list(override.sweep_string_iterator()) if override.is_sweep_override() and "-m" in words else []
        for run, index in zip(runs, (0, -1), strict=True):
            run.append(f"{override.key_or_group}={values[index]}" if values else override.input_line)
    return runs if runs[0] != runs[1] else runs[:1]


@functools.cache
def check_settings(overrides: tuple[str, ...]) -> None:
    """Compose and check them, once however many pages have them."""
    config = compose_config(*overrides)
    if not any(word.startswith(("weights=outputs", "resume=", "checkpoint=")) for word in overrides):
        check(config)


def check_training(words: list[str]) -> None:
    """The settings compose and are allowed; those that a saved run brings are read when it is there."""
    for override in words:
        if override.startswith("sweep="):
            assert (ROOT / "conf" / "sweep" / f"{override.partition('=')[2]}.yaml").is_file()
    for overrides in overrides_of(words):
        check_settings(tuple(overrides))


def check_script(words: list[str]) -> None:
    """The file exists, and its text or that of the options it shares has every option."""
    path = ROOT / words[0]
    text = path.read_text() + (ROOT / "benchmarks" / "options.py").read_text()
    for option in [word for word in words if word.startswith("--")]:
        assert f'"{option}"' in text, f"{words[0]} has no option {option}"


def check_command(words: list[str]) -> None:
    """One command of a block, by the program that it starts."""
    first = words[0].rpartition("/")[2]
    if first == "srun":
        words = words[words.index("python") :]
        first = "python"
    if first == "eval":
        words = re.sub(r"^\$\((.*)\)$", r"\1", words[1]).split()
        first = words[0]
    if first == "zoo":
        check_zoo(words[1:])
    elif first == "pip":
        assert words[1:3] == ["install", "-e"]
        extras = re.fullmatch(r"\.(?:\[([\w,]+)\])?", words[3])
        assert extras, words
        assert set((extras[1] or "").split(",")) - {""} <= set(EXTRAS)
    elif first in ("python", "python3") and words[1] == "train.py":
        check_training(words[2:])
    elif first in ("python", "python3") and words[1] == "-m":
        assert words[2] in TOOLS or importlib.util.find_spec(words[2]) is not None
    elif first == "python":
        check_script(words[1:])
    else:
        assert first in OTHERS, f"unknown program {first}"


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_and_their_options_exist(block):
    for words in commands_of(block):
        check_command(words)


WRONG = [
    ("zoo profil resnet50", click.UsageError),
    ("zoo profile resnet50 --grups 8", click.UsageError),
    ("zoo list --sort beauty", click.UsageError),
    ("python train.py model=rexnext", Exception),
    ("python train.py -m model=shufflenet_v1 groups=3,5", ValueError),
    ("python train.py recipe.epoch=3", Exception),
    ('pip install -e ".[exports]"', AssertionError),
    ("python benchmarks/imagenet_costs.py --cost 3", AssertionError),
    ("pyhton train.py", AssertionError),
]


@pytest.mark.parametrize("line, error", WRONG, ids=[line for line, _ in WRONG])
def test_a_wrong_command_is_seen(line, error):
    block = Block(ROOT / "README.md", 1, "bash", None, line + "\n")
    with pytest.raises(error):
        for words in commands_of(block):
            check_command(words)


LIMITS = ("limit_steps=1", "recipe.epochs=1", "recipe.warmup_epochs=0", "recipe.batch_size=16")


def limited(words: list[str], data: str) -> list[str] | None:
    """What is run in place of the command: this copy's scripts, and trainings of one step. None: nothing to run."""
    if words[0] == "eval":
        words = re.sub(r"^\$\((.*)\)$", r"\1", words[1]).split()
    if words[0] == "zoo":
        return [sys.executable, "-m", *(words[: words.index(">")] if ">" in words else words)]
    if words[0] != "python":
        return None
    arguments = [str(ROOT / word) if (ROOT / word).is_file() else word for word in words[1:]]
    if words[1:3] == ["-m", "build"]:
        arguments += ["--outdir", "dist", str(ROOT)]
    if words[1] == "train.py" and "--help" not in words:
        keys = {word.partition("=")[0] for word in words}
        arguments += [limit for limit in LIMITS if "debug=fast" not in words or limit != LIMITS[1]]
        arguments += [] if "tracking" in keys else ["tracking=disabled"]
        arguments += [] if "dataset.data_dir" in keys else [f"dataset.data_dir={data}"]
    return [sys.executable, *arguments]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with what the commands name: pictures in classes, a run, the run of a sweep, files, drawn data sets."""
    folder = tmp_path_factory.mktemp("documents")
    random = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(30):
            pixels = random.integers(0, 256, (40, 48, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.jpg")
    shutil.copy(folder / "photos" / "cat" / "0.jpg", folder / "photo.jpg")
    for name in ("mnist", "fashion_mnist", "imagenet2012"):
        prepare_drawn(name, folder / "data")
    first = ["python", "train.py", "dataset=image_folder", "dataset.data_dir=photos", "model=mobilenet_v1"]
    run(folder, [*first, "model.width=0.25", "dataset.image_size=32", f"hydra.run.dir={RUN}"])
    shutil.copytree(folder / RUN, folder / "multirun" / "2026-11-23_07-00-00" / "0")
    model = zoo.create("lcnet_035", 3, (32, 32, 3))
    for name in ("mine", "fast"):
        model.save(folder / f"{name}.keras")
    blocks.restore(model).save(folder / "my_model.keras")
    (folder / "names.txt").write_text("a\nb\nc\n")
    run(folder, ["zoo", "export", RUN, "--format", "litert", "-o", "network.tflite"])
    return folder


def run(folder, words: list[str], **variables: str) -> None:
    command = limited(words, str(folder / "data"))
    if command is None:
        return
    env = process_environment(without=("WANDB_", "HYDRA_"), TF_CPP_MIN_LOG_LEVEL="3", **variables)
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=env, timeout=900)
    ends_well = (0, 1) if words[:2] == ["zoo", "doctor"] else (0,)  # 1: of this machine something is a problem
    assert done.returncode in ends_well, f"{' '.join(words)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"


@pytest.mark.heavy
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("block", [block for block in SHELL if block.marker != "not run"], ids=str)
def test_commands_run(block, workspace, monkeypatch, tmp_path):
    """In order, trainings for one step each; published weights come from a hub on this machine."""
    tags = sorted(set(re.findall(r"timm/[\w.]+", block.text)))
    assert len(tags) < 2, "the hub here has one tag at a time"
    if not tags:
        for words in commands_of(block):
            run(workspace, words)
        return
    with hub.published(tags[0], tmp_path, monkeypatch):
        for words in commands_of(block):
            run(workspace, words, HF_HUB_CACHE=str(tmp_path / "hub"))

"""The command line as a stranger meets it: each mistake costs one sentence, and nothing slow is imported first."""

import json
import re
import subprocess
import sys

import pytest

from helpers.command_line import SLOW, run_train
from helpers.paths import ROOT
from helpers.processes import process_environment
from helpers.training import compose_config
from zoo.training.settings import check

REAL = [
    ("model=rexnext", "There is no model 'rexnext': did you mean resnext"),
    ("groups=[1", "The argument 'groups=[1' cannot be read: write KEY=VALUE"),
    ("recipe.learning_rate=fast", "recipe.learning_rate='fast' is not allowed: it must be a number."),
    ("model=mobilenet_v2 groups=5", "groups=5 does not divide .* the nearest is 4."),
    ("model=resnet groups=2", "model=resnet has no groups to set: see conf/model/"),
    ("groups=1,2", "groups=1,2 lists several values: add -m"),
    ("dataset=tfds", "dataset.builder has no value yet: .* dataset.builder=VALUE."),
]


@pytest.mark.parametrize("arguments, sentence", REAL, ids=[arguments for arguments, _ in REAL])
def test_a_mistake_costs_one_sentence_and_no_time(arguments, sentence, tmp_path):
    done, imported = run_train(*arguments.split(), cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert re.match(sentence.replace("[", r"\["), line)
    assert "hydra" in imported and not imported & {*SLOW}


# Runs the script as `python train.py` does, once for each list of arguments of its input, in one process.
MANY = """
import contextlib, io, json, os, runpy, sys
from hydra.core.global_hydra import GlobalHydra

for arguments in json.load(sys.stdin):
    sys.argv[1:] = arguments
    GlobalHydra.instance().clear()
    os.environ.pop("HYDRA_FULL_ERROR", None)
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(SCRIPT, run_name='__main__')
        except SystemExit as end:
            code = end.code
            if isinstance(code, str):  # as the interpreter does at its end
                print(code, file=sys.stderr)
                code = 1
    slow = sorted({name.partition(".")[0] for name in sys.modules} & set(SLOW))
    print(json.dumps([code, out.getvalue(), err.getvalue(), slow]))
"""

CASES = [
    ("dataset=digit", "There is no dataset 'digit': did you mean digits"),
    ("recipe=sgdd", "There is no recipe 'sgdd': did you mean sgd"),
    ("tracking=ofline", "There is no tracking 'ofline': did you mean offline"),
    ("experiment=none", "There is no experiment 'none': "),
    ("hydra/launcher=fast", "There is no hydra/launcher 'fast': "),
    ("model=null", "model=null is not allowed: leave it out, or use one of alexnet, condensenet"),
    ("model=3", "model=3 is not allowed: leave it out, or use one of alexnet, condensenet"),
    ("=3", "The argument '=3' cannot be read"),
    ("groups", "The argument 'groups' cannot be read"),
    ("groups = 3", "The argument 'groups' cannot be read"),
    ("mdel=resnext", "There is no setting mdel: did you mean mode, model"),
    ("recipe.epoch=3", "There is no setting recipe.epoch: did you mean recipe.epochs"),
    ("epochs=3", "There is no setting epochs: did you mean recipe.epochs?"),
    ("tracking.q=3", "There is no setting tracking.q: known are tracking.entity, "),
    ("hydra.foo=1", "There is no setting hydra.foo: `python train.py --cfg hydra` shows"),
    ("+unknown=1", "There is no setting unknown: known are model, dataset"),
    ("~unknown", "There is no setting unknown: "),
    ("~recipe recipe.epochs=3", "There is no setting recipe.epochs: "),
    ("~model", "model=null is not allowed: it must be a group of keys"),
    ("+model=resnet", "+model=resnet would be a second model: write model=resnet"),
    ("dataset=digits,mnist", "dataset=digits,mnist lists several values: add -m"),
    ("groups=range(1,3)", "groups=range(1,3) stands for several values: add -m"),
    ("model=mobilenet_v1 model.depth=50", "There is no setting model.depth: "),
    ("-m model=resnext,resnet groups=1,2", "One of model=resnext,resnet has no groups to set"),
    ("-m recipe.epohcs=1,2", "There is no setting recipe.epohcs: did you mean recipe.epochs"),
    ("seed=1 -m recipe.epohcs=1,2", "There is no setting recipe.epohcs: did you mean recipe.epochs"),
    (
        "-m model=mobilenet_v1,mobilenet_v2 model.widht=2",
        "There is no setting model.widht: did you mean model.width",
    ),
    ("sweep=groups", "The files of conf/sweep/ are for W&B and no settings of a run: `wandb sweep conf/sweep/"),
    ("-m sweep=groups,models", "The files of conf/sweep/ are for W&B and no settings of a run: `wandb sweep conf/"),
    ("swep=groups", "There is no setting swep: did you mean seed?"),
    ("-m model=resnext,rexnext", "There is no model 'rexnext': did you mean resnext"),
    ("dataset=image_folder", "dataset.data_dir has no value yet"),
    ("seed=-1", "seed=-1 is not allowed"),
    ("groups=0", "groups=0 is not allowed for ResNeXt"),
    ("recipe.epochs=0", "recipe.epochs=0 is not allowed"),
    ("hydra.run.dir=FILE/run", "FILE/run: Not a directory"),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    file = folder / "file"
    file.touch()
    arguments = [case.replace("FILE", str(file)).split() for case, _ in CASES]
    command = [sys.executable, "-c", f"SLOW, SCRIPT = {SLOW}, {str(ROOT / 'train.py')!r}\n{MANY}"]
    done = subprocess.run(
        command, input=json.dumps(arguments), capture_output=True, text=True, cwd=folder, timeout=120,
        env=process_environment(without=("WANDB_", "HYDRA_")),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    return {case: [code, out, err.replace(str(file), "FILE"), slow] for (case, _), (code, out, err, slow) in
            zip(CASES, replies, strict=True)}  # fmt: skip


@pytest.mark.parametrize("case, sentence", CASES, ids=[case for case, _ in CASES])
def test_more_mistakes(case, sentence, answers):
    code, out, err, slow = answers[case]
    assert (code, out, slow) == (1, "", [])
    assert err.startswith(sentence) and err.count("\n") == 1 and "Traceback" not in err


def test_a_full_traceback_is_there_for_who_asks(tmp_path):
    done, _ = run_train("model=rexnext", cwd=tmp_path, HYDRA_FULL_ERROR="1")
    assert done.returncode == 1 and done.stderr.startswith("Traceback") and "MissingConfigException" in done.stderr


@pytest.mark.parametrize(
    "argument, shown", [("--help", "model: alexnet, condensenet"), ("--cfg=job", "  batch_size: 64")]
)
def test_help_is_quick(argument, shown, tmp_path):
    done, imported = run_train(*argument.split("="), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and shown in done.stdout
    assert ("python train.py model=resnext groups=16" in done.stdout) == (argument == "--help")
    assert ("those of sweep/ are files for W&B alone" in done.stdout) == (argument == "--help")
    assert "hydra" in imported and not imported & {*SLOW}
    assert not list(tmp_path.iterdir())


def test_a_closed_pipe_ends_it_silently(tmp_path):
    pipe, command = subprocess.PIPE, [sys.executable, str(ROOT / "train.py"), "--help"]
    started = subprocess.Popen(command, stdout=pipe, stderr=pipe, env=process_environment(), cwd=tmp_path)
    started.stdout.close()
    assert started.stderr.read() == b""
    assert started.wait(60) == 141, "as `zoo`, and programs that the signal of a closed pipe ends"
    started.stderr.close()


def test_the_variants_and_defaults_that_the_pages_name():
    page = (ROOT / "docs" / "compare.md").read_text()
    for family, variant in (("shufflenet_v2", "shufflenet_v2_x1_0"), ("mobilenet_v3", "mobilenetv3_large_100")):
        assert variant in page and check(compose_config(f"model={family}")).model.name == variant
    config = check(compose_config("dataset=image_folder", "dataset.data_dir=a"))
    quick = check(compose_config("recipe=quick")).recipe
    page = (ROOT / "docs" / "train.md").read_text()
    rows = re.findall(r"^\| `(dataset|recipe)\.(\w+)` \| (.+?) \|", page, re.MULTILINE)
    assert len(rows) == 9
    for group, key, shown in rows:
        value = getattr(getattr(config, group), key)
        also = "" if group == "dataset" else f", quick {getattr(quick, key)}"
        assert shown == f"{str(value).lower() if isinstance(value, bool) else value}{also}", key

"""Sweeps by W&B: its own client reads the files, builds the commands, and runs one of them as an agent."""

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from helpers.paths import CONF, ROOT
from helpers.training import compose_config, read_run
from helpers.wandb_client import KEY, WANDB, environment
from helpers.wandb_server import Server
from zoo.errors import UserError
from zoo.metrics import VAL_TOP1
from zoo.training.messages import arranged
from zoo.training.settings import check

FILES = sorted((CONF / "sweep").glob("*.yaml"))
GRIDS = [path for path in FILES if yaml.safe_load(path.read_text())["method"] == "grid"]
SEARCHES = [path for path in FILES if path not in GRIDS]
RUN, SWEEP = "sweeprun", "sweep1"


def combinations(sweep):
    """parameter -> value, for each run of a grid."""
    names = list(sweep["parameters"])
    values = [sweep["parameters"][name]["values"] for name in names]
    return [dict(zip(names, each, strict=True)) for each in itertools.product(*values)]


def overrides(sweep, combination):
    """The overrides of one run, as W&B's agent gives them to the program."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    args = create_sweep_command_args({"args": {name: {"value": value} for name, value in combination.items()}})
    parts = [args[part[2:-1]] if part == "${args_no_hyphens}" else [part] for part in sweep["command"]]
    return [text for text in itertools.chain(*parts) if not text.startswith("${")]


def settings(overrides):
    return check(compose_config(*overrides))


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_run_of_a_sweep_is_allowed_and_the_line_without_wandb_gives_the_same(path):
    from wandb.apis.public.sweeps import _validate_config_and_fill_distribution
    from wandb.sdk.launch.sweeps.utils import load_sweep_config

    sweep = load_sweep_config(str(path))
    assert _validate_config_and_fill_distribution(sweep) == sweep
    assert sweep["method"] == "grid" and sweep["metric"] == {"name": "val/top1", "goal": "maximize"}
    assert sweep["command"][:3] == ["${env}", "${interpreter}", "${program}"] and sweep["program"] == "train.py"
    runs = [settings(overrides(sweep, each)) for each in combinations(sweep)]
    assert all(runs.count(run) == 1 for run in runs) and len(runs) > 4
    assert sweep["project"] == runs[0].tracking.project

    line = re.search(r"^# Without W&B: python train.py -m (.*)$", path.read_text(), re.MULTILINE)[1]
    parsed = OverridesParser.create().parse_overrides(shlex.split(line))
    choices = [each.sweep_string_iterator() if each.is_sweep_override() else [each.value()] for each in parsed]
    keys = [each.key_or_group for each in parsed]
    swept = [settings(f"{key}={value}" for key, value in zip(keys, values, strict=True))
             for values in itertools.product(*choices)]  # fmt: skip
    assert swept == runs
    # And so does the sweep by its name, with what the command line sets over it.
    by_name = arranged(["-m", f"sweep={path.stem}"], CONF)
    assert {*by_name} == {"-m", "seed=0", *shlex.split(line)} - ({"seed=0"} if "seed=" in line else set())


def test_what_the_command_line_sets_goes_before_the_sweeps_own():
    assert arranged(["sweep=groups", "model.depth=50", "groups=1,2", "-m"], CONF) == [
        "-m", "seed=0", "model=resnext", "recipe=quick", "model.depth=50", "groups=1,2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("grups", "There is no sweep 'grups': did you mean groups"),
        ("bayes", "sweep=bayes is a search (method: bayes) that W&B's server directs: `wandb sweep "),
    ],
)
def test_a_sweep_that_cannot_be_run_without_wandb_is_refused(name, sentence):
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}"):
        arranged(["-m", f"sweep={name}"], CONF)


@pytest.mark.parametrize("path", SEARCHES, ids=lambda path: path.stem)
def test_the_ends_of_a_search_are_allowed_and_its_metric_is_one_that_is_logged(path):
    from wandb.apis.public.sweeps import _validate_config_and_fill_distribution
    from wandb.sdk.launch.sweeps.utils import load_sweep_config

    sweep = load_sweep_config(str(path))
    _validate_config_and_fill_distribution(sweep)
    assert sweep["metric"]["name"] == VAL_TOP1 and sweep["metric"]["goal"] == "maximize"
    assert sweep["early_terminate"]["type"] == "hyperband"
    assert (
        sweep["early_terminate"]["min_iter"] < settings(part for part in sweep["command"] if "=" in part).recipe.epochs
    )
    ends = [each.get("values") or [each["min"], each["max"]] for each in sweep["parameters"].values()]
    for end in (0, 1, -1):
        values = [each[min(end, len(each) - 1)] for each in ends]
        run = settings(overrides(sweep, dict(zip(sweep["parameters"], values, strict=True))))
        assert run.recipe.learning_rate in ends[0] and run.groups in ends[3]


class SweepServer(Server):
    """A server with one sweep of one run, as an agent asks for it."""

    def __init__(self, stops=False):
        super().__init__()
        self.config = None
        self.is_handed_out = False
        self.stops = stops  # the run once it has logged an epoch, as Hyperband does

    def artifact(self, query, variables):
        project = {"id": "p", "name": "grouped-convolutions", "entity": {"id": "e", "name": "lab"}}
        if "mutation UpsertSweep" in query:
            self.config = variables["config"]
            sweep = {"name": SWEEP, "project": project}
            return {"upsertSweep": {"sweep": sweep, "configValidationWarnings": []}}
        if "query SweepWithRuns" in query:
            return {"project": {"sweep": {"id": "s", "name": SWEEP, "config": self.config, "runs": {"edges": []}}}}
        if "mutation CreateAgent" in query:
            return {"createAgent": {"agent": {"id": "agent"}}}
        if "mutation Heartbeat" in query:
            commands = [] if self.is_handed_out else [self.first()]
            self.is_handed_out = True
            if self.stops and any("val/top1" in row for row in self.history):
                commands.append({"type": "stop", "run_id": RUN})
            return {"agentHeartbeat": {"agent": {"id": "agent"}, "commands": json.dumps(commands)}}
        return super().artifact(query, variables)

    def first(self):
        sweep = yaml.safe_load(self.config)
        args = {name: {"value": (each.get("values") or [each["max"]])[0]} for name, each in sweep["parameters"].items()}
        return {"type": "run", "run_id": RUN, "args": args, "program": sweep["program"]}


def run_agent(server, sweep, data_dir, tmp_path, *options):
    """What `wandb sweep` and `wandb agent` print, which run one run of `sweep` in tmp_path/run."""
    sweep["command"] += [f"dataset.data_dir={data_dir}", "hydra.run.dir=run", *options]
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    for name in ("train.py", "conf"):
        (tmp_path / name).symlink_to(ROOT / name)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # agents start `python`
    env = environment(tmp_path / "home", WANDB_API_KEY=KEY, WANDB_BASE_URL=server.url, PATH=path)

    def wandb(*arguments):
        done = subprocess.run([*WANDB, *arguments], capture_output=True, text=True, cwd=tmp_path, env=env, timeout=250)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    agent = re.search(r"wandb agent (\S+)", wandb("sweep", "sweep.yaml"))[1]
    assert yaml.safe_load(server.config) == sweep and agent == f"lab/grouped-convolutions/{SWEEP}"
    output = wandb("agent", "--count", "1", agent)
    server.close()
    return output


@pytest.mark.heavy
def test_a_run_that_the_agent_stops_is_recorded_as_stopped(data_dir, tmp_path):
    """W&B's server compares the runs of a search, and its agent stops those that fall behind by SIGTERM."""
    server = SweepServer(stops=True)
    sweep = yaml.safe_load((CONF / "sweep" / "bayes.yaml").read_text())
    sweep["parameters"]["groups"]["values"] = [1]
    sweep["command"] = [part for part in sweep["command"] if not part.startswith("model")]
    quick = ["model=mobilenet_v1", "model.width=0.25", "limit_steps=2", "recipe.epochs=2000"]
    output = run_agent(server, sweep, data_dir, tmp_path, *quick)
    assert f"Stop: {RUN}" in output and "Kill: " not in output, output
    rows, result = read_run(tmp_path / "run")
    assert result["status"] == "interrupted" and 1 <= len(rows) == result["epochs"] < 2000, output
    assert (tmp_path / "run" / "model.keras").exists() and result["config"]["recipe"]["learning_rate"] == 0.03
    assert server.runs[0]["sweep"] == SWEEP and result["wandb"]["id"] == RUN
    assert server.summary["status"] == "interrupted" and server.summary["val_top1"] == result["val_top1"]
    assert server.exit_code == 1  # all that is not 0 is "failed" in W&B, the summary says more
    assert "failed" not in output.lower(), output  # nor does the agent count it as such


@pytest.mark.heavy
def test_an_agent_runs_the_sweeps_runs(data_dir, tmp_path):
    sweep = yaml.safe_load((CONF / "sweep" / "models.yaml").read_text())
    sweep["parameters"]["model"]["values"] = ["mobilenet_v1"]
    server = SweepServer()
    output = run_agent(server, sweep, data_dir, tmp_path, "limit_steps=2", "recipe.epochs=1", "model.width=0.25")

    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["status"] == "finished", output
    assert result["wandb"] == {"mode": "online", "id": RUN, "url": f"{server.url}/lab/grouped-convolutions/runs/{RUN}"}
    first = server.runs[0]
    assert {run["name"] for run in server.runs} == {RUN} and first["sweep"] == SWEEP
    assert (first["entity"], first["project"]) == ("lab", "grouped-convolutions")
    config = {key: each["value"] for key, each in json.loads(first["config"]).items()}
    # The sweep's own parameters, unchanged, and beside them all settings of the run.
    assert (config["model"], config["seed"], config["family"]) == ("mobilenet_v1", 0, "mobilenet_v1")
    assert config["network"] == result["model"] == "mobilenetv1_025"
    last = {key: each["value"] for run in server.runs for key, each in json.loads(run["config"] or "{}").items()}
    assert last["model_settings"] == result["config"]["model"] and last["recipe"]["epochs"] == 1
    assert [row["epoch"] for row in server.history if "val/top1" in row] == [1]

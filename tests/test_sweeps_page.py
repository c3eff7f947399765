"""The commands of docs/sweeps.md are allowed, and its extras, files and script lines are there."""

import importlib.util
import re
import shlex

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from helpers.paths import CONF, ROOT
from zoo.training.messages import arranged
from zoo.training.settings import check
from zoo.training.sweeps import prefer_own_files

PAGE = (ROOT / "docs" / "sweeps.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("python train.py")]
OPTUNA = importlib.util.find_spec("hydra_plugins") and importlib.util.find_spec("hydra_plugins.hydra_optuna_sweeper")


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_makes_runs_that_are_allowed(line):
    flag, *overrides = arranged(shlex.split(line)[2:], CONF)
    assert flag == "-m"
    if not OPTUNA:  # whose samplers the plugin has
        overrides = [text for text in overrides if not text.startswith(("hydra/sweeper", "hydra.sweeper"))]
    first = []
    for override in OverridesParser.create().parse_overrides(overrides):
        if override.is_sweep_override():
            value = next(override.sweep_string_iterator()) if override.is_discrete_sweep() else override.value().start
        else:
            value = override.get_value_element_as_str()
        first.append(f"{override.get_key_element()}={value}")
    prefer_own_files(CONF)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", first, return_hydra_config=True)
    chosen = {
        text.partition("=")[0].removeprefix("hydra/"): text.partition("=")[2] for text in first if "hydra/" in text
    }
    for group, name in chosen.items():
        assert cfg.hydra.runtime.choices[f"hydra/{group}"] == name
    settings = {key: value for key, value in OmegaConf.to_container(cfg).items() if key != "hydra"}
    check(OmegaConf.create(settings))


def test_every_launcher_sweeper_and_extra_of_the_project_is_on_the_page():
    commands = "\n".join(COMMANDS)
    for path in (CONF / "hydra").rglob("*.yaml"):
        assert f"hydra/{path.parent.name}={path.stem}" in commands
    for extra in ("joblib", "slurm", "optuna"):
        assert f'".[{extra}]"' in PAGE and f"\n{extra} = [" in (ROOT / "pyproject.toml").read_text()
    assert len(COMMANDS) > 9


def test_what_the_page_says_of_files_is_so():
    for text in re.findall(r"conf/[\w/]+\.yaml", PAGE):
        assert (ROOT / text).is_file(), text
    slurm = yaml.safe_load((CONF / "hydra" / "launcher" / "submitit_slurm.yaml").read_text())
    for key, line in [
        ("cpus_per_task", "--cpus-per-task={}"), ("mem_gb", "--mem={}GB"), ("timeout_min", "--time={}"),
        ("signal_delay_s", "--signal=USR2@{}"),
    ]:  # fmt: skip
        assert f"#SBATCH {line.format(slurm[key])}\n" in PAGE
    for key in ("max_num_timeout", "signal_delay_s"):
        assert f"`{key}`" in PAGE and key in slurm

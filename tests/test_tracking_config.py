"""The configuration group `tracking`, and the names of runs and of groups of runs."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from helpers.paths import CONF
from helpers.training import compose_config
from zoo.tracking.config import TrackingConfig, check, group_name, run_name
from zoo.training import settings
from zoo.training.facts import Sweep, initial_facts


@pytest.mark.parametrize("choice, mode", [("wandb", "auto"), ("offline", "offline"), ("disabled", "disabled")])
def test_the_configuration_group_is_the_dataclass(choice, mode):
    with initialize_config_dir(str(CONF), version_base=None):
        composed = compose(overrides=[f"+tracking={choice}"]).tracking
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrackingConfig), composed))
    assert composed.keys() == OmegaConf.structured(TrackingConfig).keys()
    assert config == TrackingConfig(mode=mode)
    check(config)


def test_every_key_is_explained():
    lines = (CONF / "tracking" / "wandb.yaml").read_text().splitlines()
    assert len(lines) == len(OmegaConf.structured(TrackingConfig)) and all(" # " in line for line in lines)


@pytest.mark.parametrize(
    "values, sentence",
    [
        ({"mode": "ofline"}, "is not one of auto, online, offline, disabled; the nearest is offline."),
        ({"project": "a/b"}, "the nearest valid name is 'a-b'."),
        ({"project": ""}, "0 characters; 1 to 128"),
        ({"name": "x" * 129}, "tracking.name has 129 characters"),
        ({"tags": ["t" * 65]}, "a tag of 65 characters"),
        ({"init_timeout_seconds": 0.0}, "tracking.init_timeout_seconds=0.0"),
        ({"finish_timeout_seconds": float("inf")}, "tracking.finish_timeout_seconds=inf"),
    ],
)
def test_what_wandb_would_not_take_is_refused(values, sentence):
    with pytest.raises(ValueError) as raised:
        check(TrackingConfig(**values))
    assert sentence in str(raised.value)


def test_names():
    assert run_name("resnext50_32x4d", 32, "digits") == "resnext50_32x4d-g32-digits"
    assert run_name("regnety_016", None, "folder/my:cats") == "regnety_016-folder-my-cats"
    assert run_name("resnext", (13, 13, 13, 13, 12), "digits") == "resnext-g13x4+12-digits"
    assert run_name("mnasnet_050_g4", 4, "digits") == "mnasnet_050_g4-digits"  # the groups once
    assert run_name("mnasnet_050_g4", 14, "digits") == "mnasnet_050_g4-g14-digits"


@pytest.mark.parametrize(
    "swept, group",
    [
        ([], "resnext-g32-digits-T"),
        (["seed"], "resnext-g32-digits-T"),
        (["model"], "digits-T"),
        (["+model.depths"], "digits-T"),
        (["groups"], "resnext-digits-T"),
        (["dataset@data"], "resnext-g32-T"),
        (["model", "dataset"], "sweep-T"),
        (["experiment"], "sweep-T"),
    ],
)
def test_all_runs_of_a_sweep_share_a_group(swept, group):
    assert group_name("resnext", 32, "digits", swept, "T") == group
    assert group_name("resnext", 32, "digits", swept, None) == "resnext-g32-digits"
    assert len(group_name("m" * 200, 32, "digits", swept, "T")) <= 128


@pytest.mark.parametrize("model", ["resnext", "mobilenet_v1", "shufflenet_v1"])
def test_runs_over_groups_share_a_group_though_the_names_of_networks_tell_groups(model):
    runs = [settings.check(compose_config(f"model={model}", f"groups={groups}")) for groups in (1, 2, 8)]
    assert len({run.model.name for run in runs}) == 3
    assert {initial_facts(run, Sweep("T", ["groups", "seed"]))["group"] for run in runs} == {f"{model}-digits-T"}
    assert initial_facts(runs[1], Sweep("T", ["seed"]))["group"] == f"{runs[1].model.name}-g2-digits-T"

"""The configuration: every file composes, is explained, and builds what it says; what cannot be is refused."""

import re

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from helpers.checks import refusal
from helpers.paths import CONF
from helpers.processes import run_code
from helpers.training import compose_config
from zoo import registry
from zoo.datasets.config import DatasetConfig
from zoo.training.settings import check

FILES = sorted(CONF.rglob("*.yaml"))
# Those of sweep/ are W&B's, see test_sweeps.py, and those of hydra/ Hydra's, see test_launchers.py.
NO_GROUPS = (CONF.name, "sweep", "launcher", "sweeper")
OPTIONS = [(path.parent.name, path.stem) for path in FILES if path.parent.name not in NO_GROUPS]
KEY = re.compile(r"^ *[\w]+:(?! *# *@)")


def refused(*overrides):
    """The sentence with which these overrides are refused."""
    sentence = refusal(lambda: check(compose_config(*overrides)))
    assert sentence.endswith((".", "?", ")"))
    return sentence


def unexplained(text):
    """Keys with no comment beside or above them, but for the defaults list and bare sections of the last column."""
    lines, unexplained_keys, inside = text.splitlines(), [], False
    for above, line in zip(["", *lines], lines, strict=False):
        inside = line.startswith("defaults:") or (inside and line.startswith((" ", "-")))
        if inside or not KEY.match(line):
            continue
        if "  # " not in line and " # " not in line and not above.lstrip().startswith("#"):
            unexplained_keys.append(line.strip())
    return unexplained_keys


SECTIONS = {"model:", "dataset:", "recipe:", "job:", "run:", "sweep:", "formatters:", "handlers:", "console:"}
SECTIONS |= {"plain:", "simple:", "file:", "help:", "loggers:"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_every_key_is_explained(path):
    assert set(unexplained(path.read_text())) <= SECTIONS


def test_every_option_of_every_group_is_found():
    groups = {"model", "dataset", "augmentation", "recipe", "tracking", "checkpoints", "distribution", "experiment"}
    groups |= {"debug"}
    assert {group for group, _ in OPTIONS} == groups


REQUIRED = {
    ("dataset", "tfds"): ("dataset.builder", "something"),
    ("dataset", "image_folder"): ("dataset.data_dir", "something"),
    ("experiment", "few_pictures"): ("dataset.data_dir", "something"),
    ("model", "named"): ("model.variant", "lcnet_035"),
}


@pytest.mark.parametrize("group, option", OPTIONS)
def test_every_option_composes_and_is_allowed(group, option):
    override, needed = f"{group}={option}", REQUIRED.get((group, option))
    if needed:
        needed, value = needed
        expected = f"{needed} has no value yet: give it on the command line, {needed}=VALUE."
        assert refused(override) == expected
        check(compose_config(override, f"{needed}={value}"))
    else:
        check(compose_config(override))


@pytest.mark.parametrize("name", ["trivialaugment", "rsb_a1"])
def test_overfitting_is_without_augmentation(name):
    dataset = check(compose_config(f"augmentation={name}", "debug=overfit")).dataset
    assert (dataset.policy, dataset.repeats, dataset.random_erasing.probability) == (None, 1, 0)
    assert not (dataset.mixing.is_on or dataset.color_jitter.is_on or dataset.flip or dataset.crop_padding)


def test_augmentation_of_a_recipe_is_set_over_that_of_the_data_set():
    settings = check(compose_config("recipe=rsb_a3", "augmentation=rsb_a3", "dataset=imagenet2012"))
    dataset = settings.dataset
    assert (dataset.name, dataset.image_size, dataset.policy, dataset.repeats) == (
        "imagenet2012",
        160,
        "randaugment",
        1,
    )
    assert (dataset.randaugment.magnitude, dataset.mixing.mixup_alpha, dataset.mixing.cutmix_alpha) == (6, 0.1, 1)
    assert dataset.random_resized_crop and dataset.flip and settings.recipe.target_threshold == 0.2
    one = check(compose_config("augmentation=rsb_a1", "dataset.randaugment.magnitude=3", "dataset.mixing=null")).dataset
    assert (one.randaugment.magnitude, one.randaugment.increasing, one.mixing.is_on, one.repeats) == (3, True, False, 3)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ("augmentation=rsb_a3", "recipe.class_weights=balanced"),
            "class_weights=balanced is not allowed with MixUp or",
        ),
        (("dataset.mixing.mixup_alpha=1", "recipe.batch_size=1"), "batch_size=1 is not allowed with MixUp or CutMix"),
        (("dataset.mixing=0.2",), "dataset.mixing=0.2 is not allowed: it is a group of keys, of which"),
        (
            ("+dataset.mixing.mixup=0.2",),
            "There is no setting dataset.mixing.mixup: did you mean dataset.mixing.mixup_a",
        ),
        (
            ("dataset.randaugment.magnitude=high",),
            "dataset.randaugment.magnitude='high' is not allowed: it must be a n",
        ),
    ],
)
def test_what_mixing_does_not_go_with_is_refused(overrides, sentence):
    assert sentence in refused(*overrides)


@pytest.mark.parametrize(
    "model, name, groups",
    [
        ("resnext", "resnext50_32x4d", 32),
        ("resnet", "resnet50", 1),
        ("shufflenet_v1", "shufflenet_g3_w1", 3),
        ("shufflenet_v2", "shufflenet_v2_x1_0", None),
        ("mobilenet_v1", "mobilenetv1_100", None),
        ("mobilenet_v2", "mobilenetv2_100", None),
        ("mobilenet_v3", "mobilenetv3_large_100", None),
        ("mobilenet_v4", "mobilenetv4_conv_small", None),
        ("regnet", "regnety_008", None),
        ("se_resnext", "seresnext50_32x4d", 32),
        ("sk_resnext", "skresnext50_32x4d", 32),
        ("condensenet", "condensenet74_c4_g4", 4),
        ("named model.variant=repvgg_b1g4", "repvgg_b1g4", 4),
        ("convnext", "convnext_atto", None),
    ],
)
def test_every_model_is_the_published_network(model, name, groups):
    settings = check(compose_config(*f"model={model}".split()))
    assert settings.model == registry.variant(name)
    assert (settings.model.name, settings.groups) == (name, groups)


def test_every_model_file_says_what_groups_means():
    for option in (option for group, option in OPTIONS if group == "model"):
        text = (CONF / "model" / f"{option}.yaml").read_text()
        at_root = re.search(r"^groups: .*# .*groups", text, re.MULTILINE)
        assert bool(at_root) == (option != "resnet"), option
    assert "no groups to set" in (CONF / "model" / "resnet.yaml").read_text()


@pytest.mark.parametrize(
    "overrides, name",
    [
        ("groups=1", "resnet50"),
        ("groups=2", "resnext50_2x40d"),
        ("groups=4", "resnext50_4x24d"),
        ("groups=8", "resnext50_8x14d"),
        ("groups=32 model.depth=101 model.width_per_group=8", "resnext101_32x8d"),
        ("model=resnet model.depth=152", "resnet152"),
        ("model=shufflenet_v1 groups=8 model.width=0.5", "shufflenet_g8_wd2"),
        ("model=shufflenet_v2 groups=2 model.width=2", "shufflenet_v2_x2_0_g2"),
        ("model=mobilenet_v1 groups=8 model.width=0.25", "mobilenetv1_025_g8"),
        ("model=mobilenet_v2 groups=4 model.width=1.4", "mobilenetv2_140_g4"),
        ("model=mobilenet_v3 groups=1 model.size=small", "mobilenetv3_small_100_g1"),
        ("model=regnet model.variant=regnetx_002 groups=4", "regnetx_002_g4"),
        ("model=named model.variant=resnext101_32x4d groups=8", "resnext101_8x14d"),
    ],
)
def test_overrides_reach_the_model(overrides, name):
    settings = check(compose_config(*overrides.split()))
    assert settings.model.name == name
    if groups := re.search(r"groups=(\d+)", overrides):
        assert settings.model.groups == settings.groups == int(groups[1])


@pytest.mark.parametrize(
    "overrides, small, chosen",
    [
        ("", True, True),
        ("dataset.image_size=63", True, True),
        ("dataset.image_size=64", False, True),
        ("dataset=imagenette", False, True),
        ("small_stem=false", False, False),
        ("dataset=imagenette small_stem=true", True, False),
    ],
)
def test_small_images_keep_their_resolution_unless_told_otherwise(overrides, small, chosen):
    settings = check(compose_config(*overrides.split()))
    assert (settings.small_stem, settings.small_stem_chosen) == (small, chosen)


def test_experiments_and_debugging_set_what_they_say():
    settings = check(compose_config("experiment=fashion_mnist_mobilenet_v2"))
    assert (settings.model.name, settings.dataset.name) == ("mobilenetv2_100", "fashion_mnist")
    settings = check(compose_config("experiment=fashion_mnist_mobilenet_v2", "groups=4", "seed=3"))
    assert (settings.groups, settings.seed) == (4, 3)
    fast = check(compose_config("debug=fast", "model=mobilenet_v2"))
    assert (fast.limit_steps, fast.recipe.epochs, fast.tracking.mode) == (3, 2, "disabled")
    overfit = check(compose_config("debug=overfit"))
    assert (overfit.dataset.train_split, overfit.recipe.schedule) == ("train[:64]", "constant")
    stronger = check(compose_config("debug=overfit", "recipe.epochs=7", "tracking=offline"))
    assert (stronger.recipe.epochs, stronger.tracking.mode) == (7, "offline")


SENTENCES = [
    ("+sweep=groups", "The files of conf/sweep/ are for W&B and no settings of a run: `wandb sweep conf/sweep/groups"),
    ("groups=null", "groups=null is not allowed: it must be a whole number."),
    ("groups=2.5", "groups=2.5 is not allowed: it must be a whole number; the nearest are 2 and 3."),
    ("groups=abc", "groups='abc' is not allowed: it must be a whole number."),
    ("groups=true", "groups=true is not allowed: it must be a whole number."),
    ("groups=[13,13]", "groups=[13, 13] is not allowed: it must be a whole number."),
    ("groups=-3", "groups=-3 is not allowed for ResNeXt: it must be above 0"),
    ("groups=100000", "groups=100000 makes .* use at most 267, or set width_per_group."),
    ("model=shufflenet_v1 groups=5", "groups=5 is not allowed for .*: use 1, 2, 3, 4, 8; the nearest is 4."),
    ("model=shufflenet_v2 groups=3", "groups=3 does not divide .*: use 1, 2, .*; the nearest is 2."),
    ("model=mobilenet_v1 groups=7", "groups=7 does not divide .*; the nearest is 8."),
    ("model=mobilenet_v2 groups=5", "groups=5 does not divide .*: use 1, 2, 4, 8, 16, .*; the nearest is 4."),
    ("model=mobilenet_v3 groups=3", "groups=3 does not divide .*; the nearest is "),
    ("model=mobilenet_v2 groups=1.0", "groups=1.0 is not allowed: .* whole number or null; the nearest is 1."),
    ("model=resnet +groups=2", "groups=2 does not reach the model, which has model.groups=1"),
    ("model.groups=16", "groups=32 does not reach the model, which has model.groups=16"),
    ("model.depth=51", "depth=51 is not allowed for ResNeXt: use 26, 50, 101, 152; the nearest is 50."),
    ("model=mobilenet_v1 model.width=0", "width=0 is not allowed for MobileNet v1: it must be above 0"),
    ("model=mobilenet_v1 model.width=nan", "width=nan is not allowed"),
    ("model=shufflenet_v2 model.width=0.7", "width=0.7 is not allowed .*; the nearest is 0.5."),
    ("model=mobilenet_v3 model.size=larg", "size='larg' is not allowed for MobileNet v3: did you mean large?"),
    ("model=mobilenet_v2 model.fixed_stem=3.5", "model.fixed_stem=3.5 is not allowed: it must be true or false."),
    ("model=regnet model.variant=regnety_08", "There is no model 'regnety_08': did you mean regnety_080, regnety_008"),
    ("model=regnet groups=65", "groups=65 is not allowed for a RegNet whose narrowest stage has 64 channels"),
    ("model=regnet +model.drop_path=1.5", "drop_path=1.5 is not allowed"),
    ("model=lcnet +model.drop_path=0.1", "model.drop_path=0.1 is not allowed: lcnet_100 has no stochastic depth"),
    ("model=regnet +model.depth=3", "There is no setting model.depth"),
    ("model.family=resnxt", "There is no family 'resnxt': did you mean resnext"),
    ("model.family=null", "model.family=null is not allowed: use one of resnext"),
    ("+model.grups=3", "There is no setting model.grups: did you mean model.groups"),
    ("+dataset.flp=true", "There is no setting dataset.flp: did you mean dataset.flip"),
    ("+recipe.epoch=3", "There is no setting recipe.epoch: did you mean recipe.epochs"),
    ("+tracking.projct=x", "There is no setting tracking.projct: did you mean tracking.project"),
    ("+sed=1", "There is no setting sed: did you mean seed"),
    (
        "+unknown=1",
        "There is no setting unknown: known are model, dataset, recipe, tracking, checkpoints, distribution,",
    ),
    ("recipe.learning_rate=fast", "recipe.learning_rate='fast' is not allowed: it must be a number."),
    ("recipe.epochs=2.5", "recipe.epochs=2.5 is not allowed: it must be a whole number; the nearest are 2 and 3."),
    ("recipe.clip_norm=x", "recipe.clip_norm='x' is not allowed: it must be a number or null."),
    ("recipe.epochs=0", "recipe.epochs=0 is not allowed"),
    ("dataset.image_size=big", "dataset.image_size='big' is not allowed: it must be a whole number."),
    ("dataset.image_size=0", "dataset.image_size=0 must be at least 1."),
    ("dataset.mean=[[0.5]]", "dataset.mean=[[0.5]] is not allowed: it must be a list of numbers such as [0.5]."),
    ("dataset.mean=0.5", "dataset.mean=0.5 is not allowed: it must be a list of numbers such as [0.5]."),
    ("dataset.flip=sometimes", "dataset.flip='sometimes' is not allowed: it must be true or false."),
    ("tracking.tags=a", "tracking.tags='a' is not allowed: it must be a list such as [first, second]."),
    ("tracking.mode=of", "tracking.mode='of' is not one of"),
    ("seed=-1", "seed=-1 is not allowed: use a number from 0 to 4294967295."),
    ("seed=null", "seed=null is not allowed: it must be a whole number."),
    ("small_stem=maybe", "small_stem='maybe' is not allowed: use true, false or auto."),
    ("limit_steps=0", "limit_steps=0 is not allowed: use at least 1, or null for the whole epoch."),
    ("~model", "model=null is not allowed: it must be a group of keys, as in conf/model/."),
    ("seed=${nothing}", "The configuration cannot be resolved: Interpolation key 'nothing' not found."),
]


@pytest.mark.parametrize("overrides, sentence", SENTENCES, ids=[overrides for overrides, _ in SENTENCES])
def test_what_cannot_be_meant_is_refused(overrides, sentence):
    assert re.match(sentence.replace("[", r"\[").replace("?", r"\?"), refused(*overrides.split()))


HYDRA_ALONE = """
import pathlib
from dataclasses import dataclass
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException

pathlib.Path("model.yaml").write_text("defaults: [base, _self_]\\ngroups: 32\\n")

def compose_config(frozen, *overrides):
    kind = dataclass(frozen=frozen)(type("Network", (), {"__annotations__": {"groups": int}, "groups": 1}))
    ConfigStore.instance().store(name="base", node=kind)
    try:
        with initialize_config_dir(str(pathlib.Path.cwd()), version_base="1.3"):
            return dict(compose("model", overrides))
    except HydraException as error:
        return str(error) + str(error.__cause__)

print(compose_config(True))
print(compose_config(False, "+grups=2"))
print(compose_config(False, "groups=2.5"))
"""


def test_hydra_by_itself_checks_less(tmp_path):
    """Why the dataclasses are not in its ConfigStore, as zoo/training/settings.py says."""
    said = run_code(HYDRA_ALONE, cwd=tmp_path)
    assert "Cannot set value of read-only config node" in said
    assert "{'groups': 32, 'grups': 2}" in said
    assert "could not be converted to Integer" in said and " 2 and 3" not in said


def test_merging_would_take_a_list_in_a_list_and_say_less():
    """Why zoo/training/settings.py sets one key after the other."""
    node = OmegaConf.structured(DatasetConfig)
    assert OmegaConf.merge(node, {"mean": [[1]]}).mean == [[1]]
    with pytest.raises(OmegaConfBaseException) as caught:
        OmegaConf.merge(node, {"mean": {"a": 1}})
    assert not caught.value.full_key

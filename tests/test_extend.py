"""The family of docs/extend.md is one of the zoo by its file and its line; what a new family gets wrong is said."""

import json
import re
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from hydra import compose, initialize_config_dir

import zoo
from helpers.checks import refusal
from helpers.extended import NAME, pieces, registered
from helpers.paths import CONF, ROOT
from helpers.processes import process_environment
from zoo.__main__ import run
from zoo.registry import named, variant
from zoo.training.messages import explain
from zoo.training.settings import check

COMMAND = "python benchmarks/network_costs.py"


@pytest.fixture
def family(tmp_path):
    with registered(tmp_path) as folder:
        yield folder


def test_it_builds_and_its_maps_have_the_strides_that_it_says(family):
    model = zoo.create("tinygrouped_64", 10, (32, 32, 3))
    assert model(np.zeros((2, 32, 32, 3))).shape == (2, 10)
    assert model.get_layer("stage2.conv").groups == 8
    assert [info.stride for info in zoo.feature_info("tinygrouped_32")] == [2, 4, 8]
    assert [info.stride for info in zoo.feature_info("tinygrouped_32", small_stem=True)] == [1, 2, 4]
    assert named("tinygrouped_32_g4") == variant("tinygrouped_32").with_groups(4)
    assert named("tinygrouped_32_g5") is None and named("tinygrouped_32_g0") is None
    keras.backend.clear_session()


def test_its_settings_compose(family):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        path = f"hydra.searchpath=[file://{family}]"
        cfg = compose("config", [path, f"model={NAME}", "model.width=64", "groups=4"])
    assert check(cfg).model == variant("tinygrouped_64").with_groups(4)


def test_without_settings_the_sentence_has_the_other_way(family):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        for name, others in ((NAME, "conf/model/tinygrouped.yaml"), ("lcnet_050", "is a network")):
            with pytest.raises(Exception) as error:  # Hydra's own
                compose("config", [f"model={name}"])
            sentence = explain(error.value, [f"model={name}"], CONF)
            assert others in sentence
            (override,) = re.findall(r"model=named model\.variant=\w+", sentence)
            check(compose("config", override.split()))


def test_a_network_whose_cost_is_not_recorded_is_listed(family, capsys):
    for arguments, expected in ((["list", "tiny*"], 2), (["list", "--sort", "macs"], 2), (["info", NAME], 2)):
        assert run(arguments) == 0
        out, err = capsys.readouterr()
        rows = [line.split() for line in out.splitlines() if line.startswith(NAME + "_")]
        assert len(rows) == expected and all(row.count("-") == 5 for row in rows)
        assert err == (
            f"The costs of tinygrouped_32, tinygrouped_64 are not recorded: `{COMMAND} tinygrouped_32 tinygrouped_64` "
            "records them.\n"
        )
    assert run(["list", "--sort", "macs", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows[-2:]] == ["tinygrouped_32", "tinygrouped_64"] and rows[-1]["macs"] is None


def test_what_is_known_of_it(family, capsys):
    sentence = f"The cost of tinygrouped_32 is not recorded: `{COMMAND} tinygrouped_32` records it."
    for form in ([], ["--json"], ["--csv"]):
        assert run(["info", "tinygrouped_32", *form]) == 0
        assert capsys.readouterr().err == f"{sentence}\n"
    info = zoo.info("tinygrouped_32")
    assert sentence in str(info) and info.groups_allowed is None and info.parameters is None


def test_a_family_without_a_paper(tmp_path, capsys):
    citation = next(line for line in pieces()[0].splitlines() if line.startswith("PAPERS"))
    with registered(tmp_path, (citation, "PAPERS = ()")):
        for name in (NAME, "tinygrouped_32"):
            assert run(["info", name]) == 0
            assert "\npaper" not in capsys.readouterr().out
    assert run(["info", "lcnet_050"]) == 0 and "\npaper" in capsys.readouterr().out


RETURNED = "    return maps\n"
WRONG = [
    (RETURNED, "    return x\n", "one a resolution: [x], where there is one alone, and for tinygrouped_32 it "
     "returned a tensor (None, 8, 8, 128)."),
    (RETURNED, "    return {0: x}\n", "for tinygrouped_32 it returned dict."),
    (RETURNED, "    return []\n", "for tinygrouped_32 it returned none."),
    (RETURNED, "    return [x, head(config, x)]\n", "it returned a tensor (None, 128) in it."),
    (RETURNED, "    return [None]\n", "it returned NoneType in it."),
    (RETURNED, "    return maps[::-1]\n", "maps 0 and 1 have 8 x 8 and 16 x 16 pixels: of several"),
    (RETURNED, "    return [*maps, conv_norm(x, 8, 3)]\n", "maps 2 and 3 have 8 x 8 and 8 x 8 pixels: of several"),
    ("return global_average(features)", "return features", "head should return a vector (B, D), as "
     "blocks.global_average does, and for tinygrouped_32 it returned a tensor (None, 8, 8, 128)."),
]  # fmt: skip


@pytest.mark.parametrize("text, other, sentence", WRONG, ids=[other.strip() for _, other, _ in WRONG])
def test_what_a_family_must_not_return_is_one_sentence(text, other, sentence, tmp_path):
    with registered(tmp_path, (text, other)):
        message = refusal(lambda: zoo.create("tinygrouped_32", 10, (64, 64, 3)), (TypeError, ValueError))
    assert message.startswith("zoo.models.tinygrouped.") and sentence in message
    keras.backend.clear_session()


@pytest.mark.heavy
def test_in_a_copy_of_the_project_it_is_trained_and_recorded(tmp_path):
    """By the three pieces of the page alone, with the commands that it names."""
    for name in ("blocks", "zoo", "conf", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "train.py", tmp_path)
    module, line, settings = pieces()
    (tmp_path / "zoo" / "models" / f"{NAME}.py").write_text(module)
    (tmp_path / "conf" / "model" / f"{NAME}.yaml").write_text(settings)
    registry = tmp_path / "zoo" / "registry.py"
    registry.write_text(registry.read_text().replace("FAMILIES = {\n", f"FAMILIES = {{\n{line}"))
    env = process_environment(without=("WANDB_", "HYDRA_"), TF_CPP_MIN_LOG_LEVEL="3") | {"PYTHONPATH": str(tmp_path)}

    def output(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    few = ("limit_steps=2", "recipe.epochs=1", "recipe.warmup_epochs=0", "tracking=disabled")
    output("train.py", f"model={NAME}", "model.width=64", "groups=4", *few)
    output("benchmarks/network_costs.py", "tinygrouped_32", "tinygrouped_64")
    assert "tinygrouped_32" in output("-m", "zoo", "list", "--family", NAME)
    networks = json.loads(output("-m", "zoo", "info", NAME, "--json"))["networks"]
    weights = (27 + 2) * 32 + (32 * 9 / 8 + 2) * 64 + (64 * 9 / 8 + 2) * 128 + 129 * 1000
    assert networks[0]["parameters"] == weights

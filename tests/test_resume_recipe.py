"""Averages, accumulated gradients and a scaled loss in a whole run: what it leaves, and that it goes on exactly."""

import keras
import numpy as np
import pytest

import zoo
from helpers.resumed_runs import RESUMABLE, figures, final_weights
from helpers.training import compose_config, config_with_data, read_run
from train import train
from zoo.errors import UserError
from zoo.training.checkpoints.files import write_checkpoint
from zoo.training.checkpoints.resume import choose, identity
from zoo.training.settings import check
from zoo.weights.readers.training import open_checkpoint

OPTIONS = [*RESUMABLE, "recipe.epochs=2", "limit_steps=7", "checkpoints.keep=9", "checkpoints.every_steps=2"]
ALL = ["recipe.optimizer=lamb", "recipe.loss=bce", "recipe.schedule=steps", "recipe.decay_every=0.5"]
ALL += ["recipe.accumulation_steps=3", "recipe.ema_decay=0.8", "recipe.ema_warmup=timm", "recipe.clip_norm=0.5"]
ALL += ["recipe.no_decay=[bias,normalization,depthwise]", "recipe.early_stopping.patience=9"]
HALF = ["recipe.precision=float16", "recipe.optimizer_definition=timm", "recipe.ema_decay=0.8"]
HALF += ["recipe.accumulation_steps=4"]


AUGMENTED = ["dataset.policy=trivialaugment", "dataset.color_jitter.brightness=0.4", "dataset.repeats=3"]
AUGMENTED += ["dataset.random_erasing.probability=0.5", "dataset.mixing.mixup_alpha=0.2"]
AUGMENTED += ["dataset.mixing.cutmix_alpha=1", "recipe.label_smoothing=0.1"]


def run(data_dir, directory, *options):
    return train(config_with_data(data_dir, *OPTIONS, *options), directory)


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "whole"
    run(data_dir, directory, *ALL)
    return directory


@pytest.mark.heavy
def test_it_ends_as_if_nothing_had_happened(data_dir, whole, tmp_path):
    """From the middle of an epoch and of a sum of gradients."""
    source = whole / "checkpoints" / "epoch-0001-step-000003.safetensors"
    run(data_dir, tmp_path / "again", *ALL, f"resume={source}")
    assert final_weights(tmp_path / "again") == final_weights(whole) and figures(tmp_path / "again") == figures(whole)


@pytest.mark.heavy
@pytest.mark.parametrize("step", ["epoch-0000-step-000002", "epoch-0001", "epoch-0001-step-000003"])
def test_a_scaled_loss_goes_on_too(data_dir, tmp_path, step):
    run(data_dir, tmp_path / "whole", *HALF)
    source = tmp_path / "whole" / "checkpoints" / f"{step}.safetensors"
    assert "optimizer/dynamic_scale" in open_checkpoint(source).tensors
    run(data_dir, tmp_path / "again", *HALF, f"resume={source}")
    assert final_weights(tmp_path / "again") == final_weights(tmp_path / "whole")
    assert figures(tmp_path / "again") == figures(tmp_path / "whole")


@pytest.mark.heavy
def test_all_augmentation_goes_on_within_an_epoch(data_dir, tmp_path):
    run(data_dir, tmp_path / "whole", *AUGMENTED)
    source = tmp_path / "whole" / "checkpoints" / "epoch-0001-step-000003.safetensors"
    run(data_dir, tmp_path / "again", *AUGMENTED, f"resume={source}")
    assert final_weights(tmp_path / "again") == final_weights(tmp_path / "whole")
    assert figures(tmp_path / "again") == figures(tmp_path / "whole")


@pytest.mark.heavy
def test_validation_the_model_and_weights_of_the_run_are_the_averages(data_dir, whole, tmp_path):
    rows, result = read_run(whole)
    best = result["early_stopping"]["best_epoch"]
    checkpoint = open_checkpoint(whole / "checkpoints" / f"epoch-{best:04}.safetensors")
    saved, from_checkpoint = zoo.create(weights=whole), zoo.create(weights=checkpoint.path)
    differ = []
    for first, second in zip(saved.weights, from_checkpoint.weights, strict=True):
        average = checkpoint.read(f"averaged/{first.path}")
        np.testing.assert_array_equal(first.numpy(), average)
        np.testing.assert_array_equal(second.numpy(), average)
        differ.append(not np.array_equal(average, checkpoint.read(f"model/{first.path}")))
    assert sum(differ) > len(differ) / 2
    for name, path in (("run", whole), ("checkpoint", checkpoint.path)):
        cfg = compose_config(
            "mode=evaluate",
            f"checkpoint={path}",
            f"dataset.data_dir={data_dir}",
            "recipe.loss=bce",
            "tracking=disabled",
        )
        evaluated = train(cfg, tmp_path / name)
        assert (evaluated["val_loss"], evaluated["val_top1"]) == (
            rows[best - 1]["val/loss"],
            rows[best - 1]["val/top1"],
        )
    assert result["val_loss"] == rows[best - 1]["val/loss"]


def test_a_checkpoint_of_an_earlier_version_is_the_same_run(tmp_path, data_dir):
    """It lacks the keys that recipes have got since, of which the usual values mean what was done then."""
    settings = check(config_with_data(data_dir, *OPTIONS, f"resume={tmp_path / 'a.safetensors'}"))
    earlier = identity(settings)
    for key in ("recipe.nesterov", "recipe.no_decay", "recipe.ema_decay", "recipe.schedule_unit"):
        del earlier[key]
    new = ("policy", "policy_interpolation", "randaugment", "color_jitter", "random_erasing", "mixing", "repeats")
    for key in [key for key in earlier if key.startswith(tuple(f"dataset.{each}" for each in new))]:
        del earlier[key]
    write_checkpoint(tmp_path / "a.safetensors", {}, {}.__getitem__, {"settings": earlier})
    assert choose(settings, tmp_path / "run").metadata["settings"] == earlier
    another = check(
        config_with_data(data_dir, *OPTIONS, f"resume={tmp_path / 'a.safetensors'}", "recipe.ema_decay=0.9")
    )
    with pytest.raises(UserError, match=r"different are recipe.ema_decay \(null there, 0.9 now\)"):
        choose(another, tmp_path / "run")


@pytest.mark.heavy
def test_updates_are_counted_and_the_precision_is_said(whole):
    checkpoint = open_checkpoint(whole / "checkpoints" / "epoch-0002.safetensors")
    assert checkpoint.read("optimizer/iteration") == 14  # steps, of which three make an update
    assert any("accumulator" in name for name in checkpoint.tensors)
    assert read_run(whole)[1]["precision"] == "float32"


@pytest.mark.heavy
def test_auto_says_what_it_has_chosen(data_dir, tmp_path, capsys):
    options = [*RESUMABLE, "recipe.epochs=1", "limit_steps=1", "recipe.precision=auto", "checkpoints.keep=0"]
    result = train(config_with_data(data_dir, *options), tmp_path / "run")
    assert result["precision"] in ("float32", "bfloat16", "float16")
    assert f"precision: {result['precision']} (recipe.precision=auto)" in capsys.readouterr().err
    assert keras.config.dtype_policy().name == "float32"

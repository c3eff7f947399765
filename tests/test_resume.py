"""A run goes on where it stopped, exactly; what is damaged is named and passed over; another run's is refused."""

import json
import os
import shutil
import signal
import threading
import time

import numpy as np
import pytest

import zoo
from helpers.resumed_runs import RESUMABLE, figures, final_weights
from helpers.training import compose_config, config_with_data, read_run
from train import train
from zoo.errors import UserError
from zoo.training.checkpoints.folder import newest_first
from zoo.training.pretrained import inspect
from zoo.training.run_directory import RecordError
from zoo.weights.readers.training import open_checkpoint

TINY_NAME = "mobilenetv1_025"
OPTIONS = [*RESUMABLE, "recipe.epochs=3", "limit_steps=6", "checkpoints.keep=9"]


def run(data_dir, directory, *options):
    return train(config_with_data(data_dir, *OPTIONS, *options), directory)


@pytest.fixture(scope="module")
def whole(data_dir, tmp_path_factory):
    """A run with a checkpoint after every second step, which nothing has disturbed."""
    directory = tmp_path_factory.mktemp("runs") / "whole"
    run(data_dir, directory, "checkpoints.every_steps=2")
    return directory


@pytest.fixture
def killed(whole, tmp_path):
    """As a run leaves its directory that is killed in the third epoch."""
    directory = tmp_path / "killed"
    shutil.copytree(whole, directory)
    for name in ("model.keras", "evaluation.json", "checkpoints/epoch-0003.safetensors"):
        (directory / name).unlink()
    result = json.loads((directory / "result.json").read_text())
    (directory / "result.json").write_text(json.dumps(result | {"status": "running"}))
    (directory / "checkpoints" / "part.epoch-0003.safetensors").write_bytes(b"half")
    return directory


def refusal(data_dir, directory, *options):
    before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    with pytest.raises(UserError) as raised:
        run(data_dir, directory, *options)
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file() and path in before} == before
    return str(raised.value)


def test_it_ends_as_if_nothing_had_happened(data_dir, whole, killed, capsys):
    result = run(data_dir, killed, "resume=auto")
    err = capsys.readouterr().err
    assert "epoch-0002-step-000004.safetensors, after 2 epochs and 4 of 6 steps." in err
    assert final_weights(killed) == final_weights(whole) and figures(killed) == figures(whole)
    assert result["status"] == "finished" and result["epochs"] == 3 and not list(killed.rglob("part.*"))
    assert run(data_dir, killed, "resume=auto") == json.loads((killed / "result.json").read_text())
    assert "this run is finished, and is not started again" in capsys.readouterr().err


@pytest.mark.heavy
def test_it_goes_on_in_another_directory_too_from_any_checkpoint(data_dir, whole, tmp_path):
    source = whole / "checkpoints" / "epoch-0001-step-000002.safetensors"
    run(data_dir, tmp_path / "other", f"resume={source}")
    assert final_weights(tmp_path / "other") == final_weights(whole) and figures(tmp_path / "other") == figures(whole)


@pytest.mark.heavy
def test_what_is_damaged_is_named_and_passed_over(data_dir, whole, killed, capsys):
    newest, second, *_ = newest_first(killed / "checkpoints")
    newest.write_bytes(newest.read_bytes()[:-9])
    second.write_bytes(b"")
    run(data_dir, killed, "resume=auto")
    err = capsys.readouterr().err
    assert f"The checkpoint {newest} cannot be used: it is cut off" in err and f"{second} cannot be used: it is" in err
    assert final_weights(killed) == final_weights(whole) and figures(killed) == figures(whole)


def test_where_all_are_damaged_nothing_is_lost(data_dir, killed, capsys):
    for path in (killed / "checkpoints").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    assert "No checkpoint in" in refusal(data_dir, killed, "resume=auto")
    one = newest_first(killed / "checkpoints")[0]
    assert f"The checkpoint {one} cannot be used" in refusal(data_dir, killed, f"resume={one}")


def test_another_run_is_refused_key_by_key(data_dir, killed):
    sentence = refusal(
        data_dir, killed, "resume=auto", "recipe.epochs=5", "model.width=0.5", "seed=1", "tracking=offline"
    )
    for part in ("recipe.epochs (3 there, 5 now)", "model.width (0.25 there, 0.5 now)", "seed (0 there, 1 now)"):
        assert part in sentence
    assert "tracking" not in sentence
    assert "resume=auto" in refusal(data_dir, killed)  # without a word on it, a used directory is refused
    assert "did you mean" in refusal(data_dir, killed, f"resume={killed}x")


@pytest.mark.heavy
def test_where_nothing_is_to_be_gone_on_with_it_starts_anew(data_dir, whole, tmp_path, killed, capsys):
    result = run(data_dir, tmp_path / "new", "resume=auto")
    assert result["status"] == "finished" and figures(tmp_path / "new") == figures(whole)
    shutil.rmtree(killed / "checkpoints")  # killed before the first, with the figures of an epoch
    run(data_dir, killed, "resume=auto")
    assert "has left no checkpoint, and starts anew" in capsys.readouterr().err and figures(killed) == figures(whole)
    shutil.rmtree(killed / "checkpoints")
    (killed / "result.json").write_text('{"status": "interrupted"}')
    with pytest.raises(RecordError, match="holds model.keras"):
        run(data_dir, killed, "resume=auto")


@pytest.mark.heavy
def test_a_signal_leaves_a_checkpoint_of_that_step(data_dir, whole, tmp_path):
    directory = tmp_path / "stopped"

    def press():
        while not (directory / "checkpoints" / "epoch-0001.safetensors").exists():
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run(data_dir, directory, "checkpoints.every_steps=1")
    newest = open_checkpoint(newest_first(directory / "checkpoints")[0])
    assert newest.metadata["progress"]["epoch"] >= 1
    run(data_dir, directory, "resume=auto")
    assert final_weights(directory) == final_weights(whole) and figures(directory) == figures(whole)


def test_the_weights_of_a_checkpoint_are_those_of_its_epoch(data_dir, whole, tmp_path):
    """It can be evaluated, and a training can begin with it, as with a file of weights."""
    row = read_run(whole)[0][1]
    path = whole / "checkpoints" / "epoch-0002.safetensors"
    cfg = compose_config("mode=evaluate", f"checkpoint={path}", "dataset=digits", f"dataset.data_dir={data_dir}")
    cfg.tracking.mode = "disabled"
    result = train(cfg, tmp_path / "evaluated")
    assert (result["val_loss"], result["val_top1"], result["model"]) == (row["val/loss"], row["val/top1"], TINY_NAME)
    model = zoo.create(weights=path)
    checkpoint = open_checkpoint(path)
    assert model.input_shape == (None, 8, 8, 1) and len(model.weights) == sum("model/" in n for n in checkpoint.tensors)
    for weight in model.weights:
        np.testing.assert_array_equal(weight.numpy(), checkpoint.read(f"model/{weight.path}"))
    pretrained = inspect(str(path))
    assert pretrained.of_run and pretrained.model == TINY_NAME and pretrained.data_config.class_names[3] == "3"
    damaged = tmp_path / "damaged.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match="cannot be used: it is damaged, its checksum is another"):
        zoo.create(weights=damaged)


@pytest.mark.heavy
def test_early_stopping_goes_on_with_the_weights_of_the_best_epoch(data_dir, tmp_path):
    options = ["recipe.early_stopping.patience=2", "recipe.early_stopping.monitor=val_top1", "recipe.epochs=9"]
    options += ["recipe.early_stopping.min_delta=0.9", "recipe.class_weights=balanced", "checkpoints.every_steps=2"]
    result = run(data_dir, tmp_path / "whole", *options)
    assert (result["epochs"], result["early_stopping"]["best_epoch"]) == (3, 1)
    checkpoints = newest_first(tmp_path / "whole" / "checkpoints")
    assert not list(open_checkpoint(checkpoints[-1]).tensors.keys() & {"best/conv1/kernel"})
    for path in checkpoints[:3]:  # of the end of the last epoch, where it has stopped already, and from within it
        directory = tmp_path / path.stem
        again = run(data_dir, directory, f"resume={path}", *options)
        assert final_weights(directory) == final_weights(tmp_path / "whole")
        assert figures(directory) == figures(tmp_path / "whole")
        assert again["early_stopping"] == result["early_stopping"] and again["val_loss"] == result["val_loss"]

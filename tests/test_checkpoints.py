"""Checkpoints: whole files that are verified, the last few and the best, and all that a training needs to go on."""

import os

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from zoo.training.checkpoints.config import CheckpointsConfig, check
from zoo.training.checkpoints.files import write_checkpoint
from zoo.training.checkpoints.folder import (
    BEST,
    SPARE,
    drop_half_written,
    drop_others,
    drop_spare,
    file_name,
    name_best,
    newest_first,
)
from zoo.training.checkpoints.state import TrainingState
from zoo.training.files import RecordError
from zoo.training.recipe import compile_model
from zoo.training.recipe_config import RecipeConfig
from zoo.weights.readers.training import CheckpointError, open_checkpoint

TENSORS = {
    "model/a": np.arange(6, dtype="float32").reshape(2, 3),
    "optimizer/iteration": np.array(7),
    "random/0": np.array([1, 2], "uint32"),
    "empty": np.zeros((0, 4), "float32"),
}


def write(path, tensors=TENSORS, **metadata):
    described = {name: (value.shape, str(value.dtype)) for name, value in tensors.items()}
    write_checkpoint(path, described, tensors.__getitem__, {"progress": {"epoch": 3}, **metadata})
    return path


def refusal(path):
    with pytest.raises(CheckpointError) as raised:
        open_checkpoint(path)
    sentence = str(raised.value)
    assert "\n" not in sentence and sentence.endswith(".") and str(path) in sentence
    return sentence


def test_a_file_is_what_safetensors_reads_and_comes_back(tmp_path):
    path = write(tmp_path / "a.safetensors", note="Käfer")
    for name, value in load_file(path).items():
        np.testing.assert_array_equal(value, TENSORS[name])
    checkpoint = open_checkpoint(path)
    assert checkpoint.metadata == {"progress": {"epoch": 3}, "note": "Käfer"} and list(checkpoint.tensors) == list(
        TENSORS
    )
    for name, value in TENSORS.items():
        assert checkpoint.read(name).dtype == value.dtype
        np.testing.assert_array_equal(checkpoint.read(name), value)


def test_no_byte_can_change_unnoticed(tmp_path):
    path = write(tmp_path / "a.safetensors")
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        refusal(path)
    path.write_bytes(whole + b"\0")
    assert "damaged" in refusal(path)


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path):
    path = write(tmp_path / "a.safetensors")
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        refusal(path)
    path.write_bytes(b"")
    assert "it is empty" in refusal(path)
    path.write_bytes(whole[:-1])
    assert f"cut off after {len(whole) - 1:,} of {len(whole):,} bytes" in refusal(path)


def test_other_files_are_named(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": np.ones(3, "float32")}, path)
    assert "it is no checkpoint of a training; weights alone are what weights=PATH" in refusal(path)
    path.write_bytes(b"PK\x03\x04 a zip archive, such as model.keras")
    assert "no checkpoint of a training" in refusal(path)
    assert "No such file" in refusal(tmp_path / "none.safetensors")
    assert "Is a directory" in refusal(tmp_path)


def test_a_write_that_fails_leaves_the_file_before(tmp_path):
    path = write(tmp_path / "a.safetensors")
    before = path.read_bytes()

    def fail(name):
        raise OSError(28, "No space left on device")

    with pytest.raises(RecordError, match="No space left on device; .* resume=auto goes on"):
        write_checkpoint(path, {"a": ((2,), "float32")}, fail, {})
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_the_last_stay_and_the_best(tmp_path):
    for epoch, step in ((1, 0), (1, 5), (2, 0), (3, 0)):
        write(tmp_path / file_name(epoch, step), {"epoch": np.array(epoch)})
    name_best(tmp_path / file_name(1, 0))
    (tmp_path / "part.epoch-0004.safetensors").write_bytes(b"half")
    (tmp_path / "mine.safetensors").write_bytes(b"mine")
    drop_half_written(tmp_path)
    assert [path.name for path in newest_first(tmp_path)] == [file_name(*p) for p in ((3, 0), (2, 0), (1, 5), (1, 0))]
    drop_others(tmp_path / file_name(2, 0), keep=2)  # what comes later is of an end that was given up
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {file_name(2, 0), file_name(1, 5), BEST, SPARE, "mine.safetensors"}
    assert open_checkpoint(tmp_path / BEST).read("epoch") == 1


def test_a_file_that_no_name_has_any_more_is_overwritten(tmp_path):
    """Else each checkpoint waits for fresh pages of the cache."""
    longer = {**TENSORS, "more": np.ones(5000, "float32")}
    for epoch, tensors in ((1, longer), (2, TENSORS)):
        write(tmp_path / file_name(epoch, 0), tensors)
    first = (tmp_path / file_name(1, 0)).stat().st_ino
    drop_others(tmp_path / file_name(2, 0), keep=1)
    third = write(tmp_path / file_name(3, 0))
    assert third.stat().st_ino == first and not (tmp_path / SPARE).exists()
    assert {name: open_checkpoint(third).read(name).tolist() for name in TENSORS} == {
        name: values.tolist() for name, values in TENSORS.items()
    }
    assert load_file(third).keys() == TENSORS.keys()  # and nothing of the longer one behind them

    name_best(third)  # two names of one file: neither is overwritten
    write(tmp_path / file_name(4, 0))
    drop_others(tmp_path / file_name(4, 0), keep=1)
    drop_others(write(tmp_path / file_name(5, 0)), keep=1)
    write(tmp_path / file_name(6, 0), longer)
    assert open_checkpoint(tmp_path / BEST).tensors.keys() == TENSORS.keys()
    drop_spare(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {file_name(5, 0), file_name(6, 0), BEST}


def test_hundreds_of_tensors_are_written_a_batch_at_a_time(tmp_path, monkeypatch):
    """Whatever the system takes of what it is given: here a few bytes more than the first tensor of each call."""
    monkeypatch.setattr("zoo.training.checkpoints.files.BATCH", 1 << 14)
    system = os.pwritev
    monkeypatch.setattr(os, "pwritev", lambda file, buffers, place: system(file, [buffers[0], *_ends(buffers)], place))
    values = np.random.default_rng(0).normal(size=(1500, 3)).astype("float32")
    tensors = {f"small/{number}": row for number, row in enumerate(values)}
    tensors |= {"large": np.arange(70000, dtype="float32"), "empty": np.zeros((0,), "int64"), "last": values[0]}
    checkpoint = open_checkpoint(write(tmp_path / "a.safetensors", tensors))
    assert all(np.array_equal(checkpoint.read(name), tensor) for name, tensor in tensors.items())


def _ends(buffers):
    """The first bytes of the second buffer, where there is one."""
    return [buffer[:5] for buffer in buffers[1:2]]


def network(width=4, **recipe):
    images = keras.Input((8,))
    x = keras.layers.Dense(width, name="stem")(images)
    model = keras.Model(images, keras.layers.Dense(6, name="head")(keras.layers.Dropout(0.5)(x)))
    average = compile_model(model, RecipeConfig(**recipe), steps_per_epoch=4)
    return model, average


def train(model, steps):
    chance = np.random.default_rng(0)
    images, labels = chance.normal(size=(64, 8)).astype("float32"), chance.integers(0, 6, 64)
    for first in range(steps[0], steps[1]):
        model.train_on_batch(images[4 * first : 4 * first + 4], labels[4 * first : 4 * first + 4])


RECIPES = (
    {},
    {"optimizer": "sgd"},
    {"clip_norm": 1.0},
    {"optimizer": "sgd", "optimizer_definition": "timm", "clip_value": 0.1, "schedule": "one_cycle"},
    {"optimizer": "lamb", "ema_decay": 0.9, "ema_warmup": "timm", "loss": "bce"},
    {"optimizer": "rmsprop", "schedule": "steps", "decay_every": 0.5, "ema_decay": 0.5, "accumulation_steps": 3},
    {"optimizer_definition": "timm", "precision": "float16", "accumulation_steps": 2, "ema_decay": 0.9},
)


@pytest.mark.parametrize("recipe", RECIPES, ids=str)
def test_a_training_goes_on_to_the_last_bit(recipe, tmp_path):
    keras.utils.set_random_seed(1)
    first, average = network(**recipe)
    averaged = {"count": keras.Variable(3, dtype="int64"), **(average.named() if average else {})}
    state = TrainingState(first, averaged)
    train(first, (0, 4))
    write_checkpoint(tmp_path / "a.safetensors", state.described(), state.read, {})
    train(first, (4, 9))
    keras.utils.set_random_seed(2)
    second, average = network(**recipe)
    again = {"count": keras.Variable(0, dtype="int64"), **(average.named() if average else {})}
    train(second, (0, 1))
    restored = TrainingState(second, again)
    running_metrics = restored.restore(open_checkpoint(tmp_path / "a.safetensors"))
    second.reset_metrics()
    restored.set_running_metrics(running_metrics)
    train(second, (4, 9))
    assert int(again["count"].value) == 3 and len(running_metrics) == 6  # totals and counts of three metrics
    assert ("averaged/stem/kernel" in state.described()) == ("ema_decay" in recipe)
    for name in state.described():
        np.testing.assert_array_equal(state.read(name), restored.read(name), err_msg=name)


def test_another_network_is_refused_and_stays(tmp_path):
    first = TrainingState(network()[0])
    write_checkpoint(tmp_path / "a.safetensors", first.described(), first.read, {})
    for other, expected in ((network(width=5), r"is float32 \[8, 4\] in it and float32 \[8, 5\] in this run"),
                            (network(optimizer="sgd"), "it has optimizer/"),
                            (network(ema_decay=0.9), "it lacks averaged/stem/kernel")):  # fmt: skip
        model, average = other
        state = TrainingState(model, average.named() if average else None)
        before = {name: np.array(state.read(name)) for name in state.described()}
        with pytest.raises(CheckpointError, match=expected):
            state.restore(open_checkpoint(tmp_path / "a.safetensors"))
        for name, value in before.items():
            np.testing.assert_array_equal(state.read(name), value)


@pytest.mark.parametrize(
    "change", [{"keep": -1}, {"every_steps": 0}, {"every_minutes": 0.0}, {"every_minutes": float("nan")}]
)
def test_values_that_cannot_be_are_refused(change):
    (key,) = change
    with pytest.raises(ValueError, match=f"^checkpoints.{key}=.* is not allowed: .*\\.$"):
        check(CheckpointsConfig(**change))

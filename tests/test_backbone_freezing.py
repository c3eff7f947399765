"""`zoo.freeze` and `zoo.unfreeze`: which layers train."""

import keras
import numpy as np
import pytest

import zoo
from helpers.checks import refusal
from helpers.networks import IMAGES, SHAPE


def trainable(model) -> set[str]:
    return {weight.path for weight in model.trainable_weights}


def changed(model) -> set[str]:
    """The variables of `model` that a step of training changes."""
    before = {variable.path: variable.numpy() for variable in model.variables}
    model.compile("sgd", "mse")
    model.fit(IMAGES, np.ones((2, *model.output_shape[1:])), verbose=0)
    return {each.path for each in model.variables if not np.array_equal(each.numpy(), before[each.path])}


@pytest.mark.parametrize(("name", "classifier"), [
    ("mobilenetv1_025", "classifier"), ("shufflenet_g1_wd4", "output"), ("convnext_atto", "head.fc"),
])  # fmt: skip
def test_all_but_the_classifier(name, classifier):
    model = zoo.create(name, 3, (64, 64, 3))
    frozen = zoo.freeze(model, until="pre_logits")
    assert trainable(model) == {f"{classifier}/kernel", f"{classifier}/bias"}
    assert frozen == [layer.name for layer in model.layers if layer.weights and layer.name != classifier]
    assert zoo.freeze(zoo.create(name, 3, (64, 64, 3))) == frozen, "which is what freeze does by itself"


def test_all_but_the_classifier_learns_nothing():
    model = zoo.create("mobilenetv1_025", 3, SHAPE)
    zoo.freeze(model)
    assert changed(model) == {"classifier/kernel", "classifier/bias"}


@pytest.mark.heavy
def test_all_but_the_classifier_of_other_models(tmp_path):
    base = zoo.create("alexnet", 0, (64, 64, 3))
    own = keras.Model(base.input, keras.layers.Dense(5, name="mine")(base.output), name="alexnet")
    zoo.freeze(own)
    assert trainable(own) == {"mine/kernel", "mine/bias"}
    whole = keras.Sequential([keras.Input(SHAPE), zoo.create("mobilenetv1_025", 0, SHAPE), keras.layers.Dense(5)])
    assert zoo.freeze(whole) == ["mobilenetv1_025"] and len(trainable(whole)) == 2
    for vector in (base, zoo.create("mobilenetv1_025", input_shape=SHAPE, features_only=True)):
        zoo.freeze(vector)
        assert not trainable(vector)
    model = zoo.create("mobilenetv1_025", 3, SHAPE)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert zoo.freeze(loaded) == zoo.freeze(model)
    segmenter = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 1), keras.layers.Flatten()])
    assert "has no one dense layer at its end" in refusal(lambda: zoo.freeze(segmenter))


@pytest.mark.parametrize("how", ["freeze", "every layer", "the model"])
def test_unfreeze_undoes_it(how):
    model = zoo.create("mobilenetv1_025", 3, SHAPE)
    before = trainable(model)
    if how == "freeze":
        zoo.freeze(model, "blocks.2")
    elif how == "every layer":
        for layer in model.layers:
            layer.trainable = False
    else:
        model.trainable = False
    frozen = [layer.name for layer in model.layers if layer.weights and not layer.trainable]
    assert trainable(model) != before
    if how == "freeze":
        model.trainable = True
        assert trainable(model) != before, "as in Keras on TensorFlow, which passes over what is no change"
    assert zoo.unfreeze(model) == frozen
    assert trainable(model) == before and zoo.unfreeze(model) == []
    assert {"conv_stem/kernel", "bn1/moving_mean"} <= changed(model)


@pytest.mark.parametrize("how", ["freeze", "the model"])
def test_unfreeze_since_a_stage(how):
    model = zoo.create("mobilenetv1_025", 3, SHAPE)
    if how == "freeze":
        zoo.freeze(model)
    else:
        model.trainable = False
    thawed = zoo.unfreeze(model, since="blocks.4")
    expected = [layer.name for layer in model.layers if layer.weights and layer.name.startswith(("blocks.4", "class"))]
    assert thawed == (expected if how == "the model" else expected[:-1])
    assert {path.split("/")[0] for path in trainable(model)} == set(expected)
    assert "did you mean blocks" in refusal(lambda: zoo.unfreeze(model, since="blocks.9"))


def test_unfreeze_since_a_stride_thaws_what_freeze_until_it_leaves():
    model = zoo.create("mobilenetv1_025", 3, SHAPE)
    for stride in (2, 8, 32):
        frozen = zoo.freeze(model, until=stride)
        left = trainable(model)
        everything = zoo.freeze(model, until="classifier")
        assert zoo.unfreeze(model, since=stride) == [name for name in everything if name not in frozen]
        assert trainable(model) == left
        zoo.unfreeze(model)
    assert left == {"classifier/kernel", "classifier/bias"}, "behind the last map"
    model.trainable = False
    zoo.unfreeze(model, since=16)
    assert {path.split(".")[1] for path in trainable(model) if path.startswith("blocks")} == {"4"}
    assert refusal(lambda: zoo.unfreeze(model, since=3)) == (
        "mobilenetv1_025 has no feature map of stride 3: its strides are 2, 4, 8, 16, 32."
    )


def test_kernels_that_lora_adapts_stay_frozen():
    model = zoo.create("mobilenetv1_025", 3, SHAPE)
    model.get_layer("classifier").enable_lora(2)
    before = trainable(model)
    assert "classifier/kernel" not in before and "classifier/lora_kernel_a" in before
    for undo in (lambda: zoo.freeze(model, "classifier"), lambda: setattr(model, "trainable", False)):
        undo()
        zoo.unfreeze(model)
        assert trainable(model) == before


def test_sublayers_are_frozen_and_thawed_with_their_layer():
    inner = zoo.create("mobilenetv1_025", 0, SHAPE)
    model = keras.Sequential([keras.Input(SHAPE), inner, keras.layers.Dense(2)])
    before = trainable(model)
    zoo.freeze(inner, "blocks.2")
    assert zoo.unfreeze(model) == [inner.name] and trainable(model) == before
    zoo.freeze(model)
    inner.get_layer("conv_stem").trainable = True
    zoo.freeze(model)
    assert not inner.get_layer("conv_stem").trainable

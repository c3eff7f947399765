"""Models as training leaves them, and whether a fused one computes the same."""

import keras
import numpy as np
from keras import layers, ops


def randomized(model: keras.Model, seed: int = 0) -> keras.Model:
    """`model` with statistics, scales and offsets as after training: none of them 0 or 1."""
    draw = np.random.default_rng(seed)
    for weight in model.weights:
        if keras.backend.is_int_dtype(weight.dtype):  # indices, such as CondenseNet's; states of random generators
            continue
        if weight.name == "moving_variance":
            value = draw.uniform(0.3, 2.0, weight.shape)
        elif weight.name == "gamma":
            value = draw.uniform(0.5, 1.5, weight.shape) * draw.choice([-1, 1], weight.shape)
        elif len(weight.shape) == 1:
            value = 0.3 * draw.standard_normal(weight.shape)
        else:
            value = draw.standard_normal(weight.shape) * np.sqrt(2.0 / np.prod(weight.shape[:-1]))
        weight.assign(value)
    return model


def perturbed(model: keras.Model, seed: int = 1) -> keras.Model:
    """`model` with a little added to every weight, statistics included."""
    draw = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(weight + 0.1 * draw.random(weight.shape))
    return model


def inputs_of(model: keras.Model, seed: int = 1):
    """Random inputs of the model's own structure: three images, 16 pixels where it takes any number."""
    draw = np.random.default_rng(seed)
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    return keras.tree.map_structure(
        lambda x: draw.standard_normal((3, *(size or 16 for size in x.shape[1:]))).astype("float32"), structure
    )


def numpy(outputs) -> list[np.ndarray]:
    return [ops.convert_to_numpy(ops.cast(value, "float32")) for value in keras.tree.flatten(outputs)]


def check_same(model: keras.Model, fused: keras.Model, tolerance: float = 1e-4) -> None:
    """Outputs within `tolerance` of the largest; names and shapes of inputs and outputs equal."""
    images = inputs_of(model)
    for ours, theirs in zip(numpy(fused(images)), numpy(model(images)), strict=True):
        assert np.ptp(theirs) > 0
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())
    assert [x.name for x in fused.inputs] == [x.name for x in model.inputs]
    assert [x.shape for x in fused.inputs] == [x.shape for x in model.inputs]
    assert [x.shape for x in fused.outputs] == [x.shape for x in model.outputs]
    assert [x.dtype for x in fused.outputs] == [x.dtype for x in model.outputs]
    names = [x._keras_history.operation.name for x in model.outputs]  # a Sequential model has no output_names
    assert fused.output_names == names and fused.name == model.name
    if not isinstance(model, keras.Sequential):
        keras.tree.assert_same_structure(fused.output, model.output)


def normalizations(model: keras.Model) -> list[str]:
    return [layer.name for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)]


def layer_types(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers]

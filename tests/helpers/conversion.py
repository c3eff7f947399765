"""Models with random weights, and that two of them compute and learn the same."""

import keras
import numpy as np


def randomized(model: keras.Model, seed: int = 0) -> keras.Model:
    """`model` with weights that hide no mistake: statistics and offsets of no layer are those that it begins with."""
    draw = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(draw.uniform(0.5, 1.5, weight.shape))
        elif "kernel" in weight.name:
            weight.assign(draw.normal(size=weight.shape) / np.sqrt(np.prod(weight.shape[:-1])))
        elif keras.backend.is_float_dtype(weight.dtype):
            weight.assign(draw.normal(size=weight.shape) * 0.1)
    return model


def numpy(outputs) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(each) for each in keras.tree.flatten(outputs)]


def check_same_outputs(new: keras.Model, old: keras.Model, *inputs, tolerance: float = 1e-5, **kwargs) -> None:
    for mine, its in zip(numpy(new(*inputs, **kwargs)), numpy(old(*inputs, **kwargs)), strict=True):
        assert mine.dtype == its.dtype
        np.testing.assert_allclose(mine, its, atol=tolerance * max(np.abs(its).max(), 1e-30), rtol=0)


def check_same_training(new: keras.Model, old: keras.Model, images, targets, steps: int = 2) -> None:
    """The same weights, statistics included, after some steps of SGD."""
    for model in (new, old):
        model.compile(keras.optimizers.SGD(0.05), "mse")
        for _ in range(steps):
            model.train_on_batch(images, targets)
    for mine, its in zip(new.weights, old.weights, strict=True):
        assert mine.name == its.name
        largest = np.abs(keras.ops.convert_to_numpy(its)).max()
        np.testing.assert_allclose(mine, its, atol=1e-4 * max(largest, 1e-3), rtol=0, err_msg=mine.path)


def images_of(model: keras.Model, count: int = 4, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, *model.input_shape[1:])).astype("float32")

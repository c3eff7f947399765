"""The smallest network of every family, with weights under which rounding is not amplified."""

import keras
import numpy as np

import zoo
from helpers.randomized import randomized
from zoo.registry import family


def smallest(key: str) -> str:
    """The network of a family with the fewest multiply-accumulates."""
    from zoo.costs import costs

    return min(family(key).VARIANTS, key=lambda name: costs(name).macs)


def calibrated(name: str, images: np.ndarray) -> keras.Model:
    """Random weights, statistics of `images`, and offsets that leave most units of a ReLU active.

    With offsets around 0 a deep random network is chaotic: 1 % of noise on the images changes the logits of
    mobileone_s1 by more than 100 %, in float32 too.
    """
    model, draw = randomized(zoo.create(name, 10, images.shape[1:])), np.random.default_rng(1)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
            layer.beta.assign(draw.uniform(0.0, 2.0, layer.beta.shape))
            layer.gamma.assign(draw.uniform(0.5, 1.0, layer.gamma.shape))
    model(images, training=True)
    return model

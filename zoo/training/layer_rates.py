"""How fast each layer learns: the classifier at a rate of its own, and the others the slower the nearer to the images.

Imports neither Keras nor TensorFlow.
"""

import re
from collections.abc import Iterable
from typing import Any

from zoo.training.recipe_config import RecipeConfig

# The layers of one block, by their names in timm, torchvision and pytorchcv: layer1.0, stage2.0, features.stage1.unit1,
# s1.b1, stages.0.blocks.1 and its downsample, stages.0.1, blocks.0.0 or, in Xception, blocks.0, features.conv2_1.
BLOCK = re.compile(
    r"(?:features\.)?"
    r"(?:layer\d+\.\d+|stage\d+\.(?:unit)?\d+|s\d+\.b\d+|stages\.\d+\.(?:blocks\.\d+|downsample|\d+)"
    r"|blocks\.\d+(?:\.\d+)?|conv[2-9]_\d+)(?=\.|$)"
)


def depths(names: Iterable[str]) -> dict[str, int]:
    """How deep in the network each layer lies: 0 for the stem, 1 for the first block and so on; what comes behind the
    last block, the classifier included, is one deeper than that.

    Args:
        names: of the layers, in the order of the network.

    Example:
        >>> from zoo.training.layer_rates import depths
        >>> depths(["conv1", "bn1", "layer1.0.conv1", "layer1.0.bn1", "layer1.1.conv1", "fc"])
        {'conv1': 0, 'bn1': 0, 'layer1.0.conv1': 1, 'layer1.0.bn1': 1, 'layer1.1.conv1': 2, 'fc': 3}
    """
    names = list(names)
    matches = {name: match[0] for name in names if (match := BLOCK.match(name))}
    blocks = {block: depth for depth, block in enumerate(dict.fromkeys(matches.values()), 1)}
    first = next((place for place, name in enumerate(names) if name in matches), 0)
    return {
        name: blocks[matches[name]] if name in matches else 0 if place < first else len(blocks) + 1
        for place, name in enumerate(names)
    }


def rate_factors(model: Any, config: RecipeConfig) -> dict[str, float]:
    """What the learning rate is multiplied by, by the path of the variable, where that is not 1.

    With `layer_decay` that is layer_decay ** (deepest - depth), with the depths of `depths`; the rate of the classifier
    is `head_learning_rate`.

    Raises:
        ValueError: the network has no classifier to have a rate of its own.

    Source: Clark et al. 2020, ELECTRA, appendix A, arXiv:2003.10555, and Bao et al. 2021, BEiT, arXiv:2106.08254, for
    transformers; for convolutional networks, block by block, timm's `--layer-decay`.

    Example:
        >>> from zoo.training.layer_rates import rate_factors
        >>> from zoo.training.recipe_config import RecipeConfig
        >>> model = zoo.create("lcnet_035", 10, (32, 32, 3))
        >>> factors = rate_factors(model, RecipeConfig(learning_rate=0.1, head_learning_rate=1.0, layer_decay=0.5))
        >>> factors["classifier/kernel"], factors["blocks.5.1.conv_pw/kernel"], "conv_head/kernel" in factors
        (10.0, 0.5, False)
    """
    layers = [layer for layer in model.layers if layer.weights]
    factors = dict.fromkeys((layer.name for layer in layers), 1.0)
    if config.layer_decay is not None:
        depth_of = depths(factors)
        deepest = max(depth_of.values(), default=0)
        factors = {name: config.layer_decay ** (deepest - depth) for name, depth in depth_of.items()}
    if config.head_learning_rate is not None:
        classifier = getattr(model, "classifier", None)
        if classifier not in factors:
            raise ValueError(
                f"recipe.head_learning_rate={config.head_learning_rate:g} is not allowed: {model.name} has no "
                "classifier."
            )
        factors[classifier] = config.head_learning_rate / config.learning_rate
    return {
        variable.path: factors[layer.name]
        for layer in layers
        for variable in layer.trainable_variables
        if factors[layer.name] != 1
    }

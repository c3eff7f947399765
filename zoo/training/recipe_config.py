"""How a network is trained: the `recipe` group of the configuration. Imports no TensorFlow."""

import math
from dataclasses import dataclass

from zoo.checks import close_matches

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("float32", "bfloat16")
NON_FINITE = ("stop", "skip")
MOST = 2**31 - 1  # of what steps are counted in


@dataclass
class RecipeConfig:
    """Everything between the data and the network that decides the training.

    Example:
        >>> from zoo.training.recipe_config import RecipeConfig
        >>> RecipeConfig(epochs=90, optimizer="sgd", learning_rate=0.1).schedule
        'cosine'
    """

    epochs: int = 12
    batch_size: int = 64  # images of one step
    optimizer: str = "adamw"  # "adamw", or "sgd" (Nesterov momentum)
    learning_rate: float = 2e-3  # its peak
    momentum: float = 0.9  # of sgd
    weight_decay: float = 0.05  # per step and unit of learning rate; not on biases and normalisations
    schedule: str = "cosine"  # "cosine" to zero, or "constant"; both after the warm-up
    warmup_epochs: float = 1.0  # linear, from 0
    label_smoothing: float = 0.0  # share of the target spread over all classes
    dropout: float = 0.0  # before the classifier
    clip_norm: float | None = None  # largest global norm of the gradients
    precision: str = "float32"  # "float32", or "bfloat16" with float32 weights
    non_finite: str = "stop"  # at a step whose loss or gradients are NaN or infinite: "stop", or "skip" the step


def check(config: RecipeConfig) -> None:
    """Raise ValueError, in one sentence, for the first invalid value.

    Example:
        >>> from zoo.training.recipe_config import RecipeConfig, check
        >>> check(RecipeConfig(optimizer="adam"))
        Traceback (most recent call last):
            ...
        ValueError: recipe.optimizer='adam' is not known: did you mean adamw?
    """
    choices = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "precision": PRECISIONS, "non_finite": NON_FINITE}
    for key, allowed in choices.items():
        value = getattr(config, key)
        if value not in allowed:
            raise ValueError(f"recipe.{key}={value!r} is not known: {close_matches(value, allowed)}")
    for key in ("epochs", "batch_size"):
        if getattr(config, key) < 1:
            raise ValueError(f"recipe.{key}={getattr(config, key)} is not allowed: it must be at least 1.")
        if getattr(config, key) > MOST:
            raise ValueError(f"recipe.{key}={getattr(config, key)} is not allowed: it must be at most {MOST}.")
    for key in ("learning_rate", "clip_norm"):
        value = getattr(config, key)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"recipe.{key}={value:g} is not allowed: it must be a finite number above 0.")
    for key in ("momentum", "label_smoothing", "dropout"):
        value = getattr(config, key)
        if not 0 <= value < 1:
            nearest = 0 if value < 0 else 0.9
            raise ValueError(
                f"recipe.{key}={value:g} is not allowed: it is a share, from 0 up to but not 1; try {nearest:g}."
            )
    if not (math.isfinite(config.weight_decay) and config.weight_decay >= 0):
        raise ValueError(f"recipe.weight_decay={config.weight_decay:g} is not allowed: it must be finite, 0 or more.")
    if not 0 <= config.warmup_epochs < config.epochs:
        raise ValueError(
            f"recipe.warmup_epochs={config.warmup_epochs:g} is not allowed with recipe.epochs={config.epochs}: it must "
            f"be at least 0 and below the number of epochs; try {config.epochs / 10:g}."
        )

"""How a network is trained: the `recipe` group of the configuration. Imports no TensorFlow."""

import math
from dataclasses import dataclass, field
from typing import Any

from zoo.checks import close_matches

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "constant")
PRECISIONS = ("float32", "bfloat16")
NON_FINITE = ("stop", "skip")
MONITORED = ("val_loss", "val_top1")
BALANCED = "balanced"
MOST = 2**31 - 1  # of what steps are counted in


@dataclass
class EarlyStoppingConfig:
    """When the training ends before its last epoch.

    Example:
        >>> from zoo.training.recipe_config import EarlyStoppingConfig
        >>> EarlyStoppingConfig(patience=3).monitor
        'val_loss'
    """

    patience: int | None = None  # epochs without improvement; None trains all epochs
    monitor: str = "val_loss"  # or "val_top1"
    min_delta: float = 0.0  # a smaller change is no improvement
    restore_best_weights: bool = True  # the model is that of the best epoch; false: of the last one


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
    head_learning_rate: float | None = None  # of the classifier, at its peak; None: as of all
    layer_decay: float | None = None  # factor of the learning rate from each block to the one before it
    freeze_statistics: bool = False  # batch normalisations compute with the running statistics that they have
    precision: str = "float32"  # "float32", or "bfloat16" with float32 weights
    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    class_weights: Any = None  # of the loss: None, "balanced", or a number for each class
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
    for key in ("learning_rate", "clip_norm", "head_learning_rate"):
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
    if config.layer_decay is not None and not 0 < config.layer_decay <= 1:
        nearest = 1 if config.layer_decay > 1 else 0.5
        raise ValueError(
            f"recipe.layer_decay={config.layer_decay:g} is not allowed: it is a factor above 0 and at most 1, from "
            f"each block to the one before it; try {nearest:g}."
        )
    if not (math.isfinite(config.weight_decay) and config.weight_decay >= 0):
        raise ValueError(f"recipe.weight_decay={config.weight_decay:g} is not allowed: it must be finite, 0 or more.")
    if not 0 <= config.warmup_epochs < config.epochs:
        raise ValueError(
            f"recipe.warmup_epochs={config.warmup_epochs:g} is not allowed with recipe.epochs={config.epochs}: it must "
            f"be at least 0 and below the number of epochs; try {config.epochs / 10:g}."
        )
    _check_early_stopping(config.early_stopping)
    _check_class_weights(config.class_weights)


def _check_early_stopping(config: EarlyStoppingConfig) -> None:
    name = "recipe.early_stopping"
    if config.patience is not None and not 1 <= config.patience <= MOST:
        nearest = 1 if config.patience < 1 else MOST
        raise ValueError(
            f"{name}.patience={config.patience} is not allowed: it is a number of epochs, or null for no early "
            f"stopping; the nearest is {nearest}."
        )
    if config.monitor not in MONITORED:
        raise ValueError(f"{name}.monitor={config.monitor!r} is not known: {close_matches(config.monitor, MONITORED)}")
    if not (math.isfinite(config.min_delta) and config.min_delta >= 0):
        raise ValueError(f"{name}.min_delta={config.min_delta:g} is not allowed: it must be finite, 0 or more.")


def _check_class_weights(weights: Any) -> None:
    if weights is None or weights == BALANCED:
        return
    if isinstance(weights, str):
        raise ValueError(f"recipe.class_weights={weights!r} is not known: {close_matches(weights, [BALANCED])}")
    if not isinstance(weights, list) or not all(map(_is_weight, weights)) or not any(weights):
        raise ValueError(
            f"recipe.class_weights={weights} is not allowed: give null, balanced, or a list with a number for each "
            "class, finite, 0 or more and not all 0."
        )


def _is_weight(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0

"""How a network is trained: the `recipe` group of the configuration. Imports no TensorFlow."""

import math
from dataclasses import dataclass, field
from typing import Any

from zoo.checks import close_matches

OPTIMIZERS = ("sgd", "adamw", "lamb", "rmsprop")
DEFINITIONS = ("keras", "timm")
NO_DECAY = ("bias", "normalization", "depthwise")
SCHEDULES = ("cosine", "steps", "exponential", "polynomial", "constant", "one_cycle")
UNITS = ("epochs", "steps", "images")
CHANGES = ("step", "epoch")
LOSSES = ("cross_entropy", "bce")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
NON_FINITE = ("stop", "skip")
EMA_WARMUPS = ("timm", "tensorflow")
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
    accumulation_steps: int = 1  # steps whose mean gradient makes one update of the weights
    optimizer: str = "adamw"  # or "sgd", "lamb", "rmsprop"
    optimizer_definition: str | None = None  # "keras" or "timm"; None: Keras's sgd and adamw, timm's lamb and rmsprop
    learning_rate: float = 2e-3  # its peak
    momentum: float = 0.9  # of sgd and rmsprop
    nesterov: bool = True  # of sgd: Nesterov's momentum
    beta_1: float = 0.9  # of adamw and lamb: decay of the mean gradient
    beta_2: float = 0.999  # of adamw and lamb: decay of the mean squared gradient
    rho: float = 0.9  # of rmsprop: decay of the mean squared gradient
    epsilon: float | None = None  # of all but sgd; None: the optimizer's own
    weight_decay: float = 0.05  # Keras's: per step and unit of learning rate; timm's: in the gradient but for adamw
    no_decay: list[str] = field(default_factory=lambda: ["bias", "normalization"])  # and "depthwise" kernels
    schedule: str = "cosine"  # after the warm-up: one of SCHEDULES
    schedule_unit: str = "epochs"  # of warmup, decay_every and milestones; or "steps", "images"
    schedule_by: str = "step"  # the rate changes with each "step", or each "epoch"
    warmup_epochs: float = 1.0  # linear, from warmup_learning_rate
    warmup: float | None = None  # the same in schedule_unit; None: warmup_epochs
    warmup_learning_rate: float | None = None  # None: 0, by epoch the first of its parts, of one_cycle a 25th
    warmup_prefix: bool = True  # the schedule begins behind the warm-up; False: beneath it
    min_learning_rate: float | None = None  # None: 0, of one_cycle a 10,000th of its start
    decay_every: float | None = None  # of steps and exponential: what decay_rate is for
    milestones: list[float] | None = None  # of steps: when, instead of decay_every
    decay_rate: float = 0.1  # of steps and exponential
    power: float = 1.0  # of polynomial: 1 is linear
    loss: str = "cross_entropy"  # or "bce"
    target_threshold: float | None = None  # of bce: labels above it count as 1, others as 0
    label_smoothing: float = 0.0  # share of the target spread over all classes
    dropout: float = 0.0  # before the classifier
    clip_norm: float | None = None  # largest global norm of the gradients; None: as they are, of timm's lamb 1
    clip_value: float | None = None  # largest absolute value of a gradient's entry
    ema_decay: float | None = None  # of the exponential moving average of the weights; None: there is none
    ema_warmup: str | None = None  # how the decay of the average rises to ema_decay: one of EMA_WARMUPS; None: at once
    head_learning_rate: float | None = None  # of the classifier, at its peak; None: as of all
    layer_decay: float | None = None  # factor of the learning rate from each block to the one before it
    freeze_statistics: bool = False  # batch normalisations compute with the running statistics that they have
    precision: str = "float32"  # or "bfloat16", "float16" with float32 weights, "auto"
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
        ValueError: recipe.optimizer='adam' is not known: did you mean adamw, lamb?
    """
    choices = {
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "schedule_unit": UNITS,
        "schedule_by": CHANGES,
        "loss": LOSSES,
        "precision": PRECISIONS,
        "non_finite": NON_FINITE,
    }
    for key, allowed in choices.items():
        value = getattr(config, key)
        if value not in allowed:
            raise ValueError(f"recipe.{key}={value!r} is not known: {close_matches(value, allowed)}")
    for key in ("epochs", "batch_size", "accumulation_steps"):
        if getattr(config, key) < 1:
            raise ValueError(f"recipe.{key}={getattr(config, key)} is not allowed: it must be at least 1.")
        if getattr(config, key) > MOST:
            raise ValueError(f"recipe.{key}={getattr(config, key)} is not allowed: it must be at most {MOST}.")
    for key in ("learning_rate", "clip_norm", "clip_value", "head_learning_rate", "epsilon", "decay_every", "power"):
        value = getattr(config, key)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"recipe.{key}={value:g} is not allowed: it must be a finite number above 0.")
    shares = ("momentum", "label_smoothing", "dropout", "beta_1", "beta_2", "rho", "ema_decay", "target_threshold")
    for key in shares:
        value = getattr(config, key)
        if value is not None and not 0 <= value < 1:
            nearest = 0.9 if value >= 1 else 0
            raise ValueError(
                f"recipe.{key}={value:g} is not allowed: it is a share, from 0 up to but not 1; try {nearest:g}."
            )
    for key in ("weight_decay", "warmup", "warmup_learning_rate", "min_learning_rate"):
        value = getattr(config, key)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise ValueError(f"recipe.{key}={value:g} is not allowed: it must be finite, 0 or more.")
    if config.layer_decay is not None and not 0 < config.layer_decay <= 1:
        nearest = 1 if config.layer_decay > 1 else 0.5
        raise ValueError(
            f"recipe.layer_decay={config.layer_decay:g} is not allowed: it is a factor above 0 and at most 1, from "
            f"each block to the one before it; try {nearest:g}."
        )
    if config.warmup is None and not 0 <= config.warmup_epochs < config.epochs:
        raise ValueError(
            f"recipe.warmup_epochs={config.warmup_epochs:g} is not allowed with recipe.epochs={config.epochs}: it must "
            f"be at least 0 and below the number of epochs; try {config.epochs / 10:g}."
        )
    _check_optimizer(config)
    _check_average(config)
    _check_schedule(config)
    _check_early_stopping(config.early_stopping)
    _check_class_weights(config.class_weights)


def _check_optimizer(config: RecipeConfig) -> None:
    definition = config.optimizer_definition
    if definition is not None and definition not in DEFINITIONS:
        raise ValueError(
            f"recipe.optimizer_definition={definition!r} is not known: {close_matches(definition, DEFINITIONS)}"
        )
    for kind in config.no_decay:
        if kind not in NO_DECAY:
            raise ValueError(f"recipe.no_decay has {kind!r}, which is not known: {close_matches(kind, NO_DECAY)}")
    if config.clip_norm is not None and config.clip_value is not None:
        raise ValueError(
            f"recipe.clip_norm={config.clip_norm:g} and recipe.clip_value={config.clip_value:g} are not allowed "
            "together: set one of them to null."
        )
    if config.target_threshold is not None and config.loss != "bce":
        raise ValueError(
            f"recipe.target_threshold={config.target_threshold:g} is not allowed with recipe.loss={config.loss}: use "
            "null, or recipe.loss=bce."
        )


def _check_average(config: RecipeConfig) -> None:
    warmup = config.ema_warmup
    if warmup is not None and warmup not in EMA_WARMUPS:
        raise ValueError(f"recipe.ema_warmup={warmup!r} is not known: {close_matches(warmup, EMA_WARMUPS)}")
    if warmup is not None and config.ema_decay is None:
        raise ValueError(
            f"recipe.ema_warmup={warmup} is not allowed with recipe.ema_decay=null: use null, or an ema_decay such as "
            "0.9999."
        )


def _check_schedule(config: RecipeConfig) -> None:
    kind, every, milestones = config.schedule, config.decay_every, config.milestones
    if not 0 < config.decay_rate <= 1:
        nearest = 1 if config.decay_rate > 1 else 0.1
        raise ValueError(
            f"recipe.decay_rate={config.decay_rate:g} is not allowed: it is a factor above 0 and at most 1; try "
            f"{nearest:g}."
        )
    for key in ("warmup_learning_rate", "min_learning_rate"):
        value = getattr(config, key)
        if value is not None and value > config.learning_rate:
            raise ValueError(
                f"recipe.{key}={value:g} is not allowed with recipe.learning_rate={config.learning_rate:g}, the peak: "
                "it must be at most that."
            )
    if milestones is not None and kind != "steps":
        raise ValueError(f"recipe.milestones={milestones} is not allowed with recipe.schedule={kind}: use steps.")
    if milestones is not None and every is not None:
        raise ValueError(
            f"recipe.milestones={milestones} and recipe.decay_every={every:g} are not allowed together: set one of "
            "them to null."
        )
    if milestones is not None and not _are_rising(milestones):
        raise ValueError(
            f"recipe.milestones={milestones} is not allowed: they are rising numbers, 0 or more, [30, 60, 80] for "
            "instance."
        )
    if kind in ("steps", "exponential") and every is None and milestones is None:
        or_milestones = " or recipe.milestones=[30,60,80]" if kind == "steps" else ""
        raise ValueError(f"recipe.schedule={kind} needs recipe.decay_every=30, for instance{or_milestones}.")
    if every is not None and kind not in ("steps", "exponential"):
        raise ValueError(
            f"recipe.decay_every={every:g} is not allowed with recipe.schedule={kind}: use null, or the schedule "
            "steps or exponential."
        )


def _are_rising(numbers: list[float]) -> bool:
    return bool(numbers) and all(map(math.isfinite, numbers)) and numbers == sorted(set(numbers)) and numbers[0] >= 0


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

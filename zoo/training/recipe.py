"""From a recipe to what Keras compiles: optimizer, schedule, loss and metrics."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from zoo.training.guarded_step import guard_steps
from zoo.training.layer_rates import rate_factors
from zoo.training.optimizers.keras_fused import FusedAdamW, MomentumSGD
from zoo.training.recipe_config import RecipeConfig
from zoo.typing import Tensor

NOT_DECAYED = ["bias", "gamma", "beta"]


def policy(config: RecipeConfig) -> str:
    """Keras's name of the precision: what the layers compute in; the weights are float32 in both.

    Example:
        >>> from zoo.training.recipe import policy
        >>> from zoo.training.recipe_config import RecipeConfig
        >>> policy(RecipeConfig(precision="bfloat16"))
        'mixed_bfloat16'
    """
    return "mixed_bfloat16" if config.precision == "bfloat16" else "float32"


def schedule(config: RecipeConfig, steps_per_epoch: int) -> Any:
    """Learning rate by step: linear warm-up, then a half cosine to zero (Loshchilov and Hutter 2017) or constant.

    Example:
        >>> from zoo.training.recipe import schedule
        >>> from zoo.training.recipe_config import RecipeConfig
        >>> rate = schedule(RecipeConfig(epochs=3, learning_rate=0.1, warmup_epochs=1), steps_per_epoch=10)
        >>> [round(float(rate(step)), 3) for step in (0, 5, 10, 20, 30)]
        [0.0, 0.05, 0.1, 0.05, 0.0]
    """
    warmup = round(config.warmup_epochs * steps_per_epoch)
    total = config.epochs * steps_per_epoch
    if config.schedule == "constant" and not warmup:
        return config.learning_rate
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else config.learning_rate,
        max(total - warmup, 1),
        alpha=1.0 if config.schedule == "constant" else 0.0,
        warmup_target=config.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


def optimizer(
    config: RecipeConfig, steps_per_epoch: int, factors: Mapping[str, float] | None = None
) -> keras.optimizers.Optimizer:
    """The recipe's optimizer; decay is decoupled (Loshchilov and Hutter 2019) and spares vectors.

    Args:
        factors: of the learning rate, and so of the decay, by the path of the variable; 1 for the others.

    Example:
        >>> from zoo.training.recipe import optimizer
        >>> from zoo.training.recipe_config import RecipeConfig
        >>> type(optimizer(RecipeConfig(optimizer="sgd"), steps_per_epoch=10)).__name__
        'MomentumSGD'
    """
    rate = schedule(config, steps_per_epoch)
    shared: dict[str, Any] = {
        "weight_decay": config.weight_decay or None,
        "global_clipnorm": config.clip_norm,
        "rate_factors": factors,
    }
    if config.optimizer == "sgd":
        chosen = MomentumSGD(rate, config.momentum, nesterov=config.momentum > 0, **shared)
    else:
        chosen = FusedAdamW(rate, **{**shared, "weight_decay": config.weight_decay})  # Keras's refuses None
    if config.weight_decay:
        chosen.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return chosen


def compile_model(model: keras.Model, config: RecipeConfig, steps_per_epoch: int) -> None:
    """Make `model`, which gives raw logits, ready for `fit` with integer labels; a step that is not finite changes
    nothing, see `zoo.training.guarded_step`.

    Raises ValueError where `recipe.non_finite=skip` is not possible: on another backend than TensorFlow.

    Example:
        >>> from zoo.training.recipe import compile_model
        >>> from zoo.training.recipe_config import RecipeConfig
        >>> model = keras.Sequential([keras.Input((4,)), blocks.Dense(10)])
        >>> compile_model(model, RecipeConfig(), steps_per_epoch=10)
        >>> type(model.optimizer).__name__, type(model.loss).__name__
        ('FusedAdamW', 'SmoothedCrossentropy')
    """
    model.compile(optimizer=optimizer(config, steps_per_epoch, rate_factors(model, config)), **_measures(config))
    if config.non_finite == "skip" and keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"recipe.non_finite=skip needs Keras on TensorFlow, not on {keras.backend.backend()}: use stop."
        )
    guard_steps(model)
    # Else the first step creates the optimizer's variables, and TensorFlow traces and compiles the step a second time.
    model.optimizer.build(model.trainable_variables)
    # The metrics' too, which a checkpoint holds: Keras creates them with the first labels that it sees.
    model.compute_metrics(None, np.zeros(1, "int32"), np.zeros((1, model.output_shape[-1]), "float32"), None)
    model.reset_metrics()


def compile_for_evaluation(model: keras.Model, config: RecipeConfig) -> None:
    """Make `model`, which gives raw logits, ready for `evaluate`, with the loss and metrics that training has.

    Example:
        >>> from zoo.training.recipe import compile_for_evaluation
        >>> from zoo.training.recipe_config import RecipeConfig
        >>> model = keras.Sequential([keras.Input((4,)), blocks.Dense(10)])
        >>> compile_for_evaluation(model, RecipeConfig())
        >>> sorted(model.evaluate(np.zeros((2, 4)), np.zeros(2), verbose=0, return_dict=True))
        ['loss', 'top1', 'top5']
    """
    model.compile(optimizer=None, **_measures(config))


def _measures(config: RecipeConfig) -> dict[str, Any]:
    return {
        "loss": SmoothedCrossentropy(config.label_smoothing),
        "metrics": [
            keras.metrics.SparseCategoricalAccuracy(name="top1"),
            keras.metrics.SparseTopKCategoricalAccuracy(k=5, name="top5"),
        ],
    }


class SmoothedCrossentropy(keras.losses.Loss):
    """Cross-entropy of raw logits (B, classes) with integer labels (B,), targets smoothed over all classes.

    Source: Szegedy et al. 2016, Rethinking the Inception Architecture, section 7, arXiv:1512.00567.

    Example:
        >>> from zoo.training.recipe import SmoothedCrossentropy
        >>> loss = SmoothedCrossentropy(smoothing=0.1)
        >>> round(float(loss(np.array([0]), np.zeros((1, 10), "float32"))), 4)  # the logarithm of 10
        2.3026
    """

    def __init__(self, smoothing: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.smoothing = smoothing

    def call(self, labels: Tensor, logits: Tensor) -> Tensor:
        plain = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        if not self.smoothing:
            return plain
        uniform = -keras.ops.mean(keras.ops.log_softmax(logits, axis=-1), axis=-1)
        return (1 - self.smoothing) * plain + self.smoothing * uniform

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smoothing": self.smoothing}

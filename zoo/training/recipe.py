"""From a recipe to what Keras compiles: optimizer, schedule, loss and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from blocks.layers.grouped_conv import GroupedConvolution
from blocks.ops.keras_internals import sublayers
from zoo.training.accuracies import Accuracy, TopKAccuracy
from zoo.training.averaging import WeightAverage
from zoo.training.guarded_step import guard_steps
from zoo.training.layer_rates import rate_factors
from zoo.training.losses import BinaryCrossentropy, SmoothedCrossentropy, smooth_in_training_alone
from zoo.training.optimizers.keras_fused import FusedAdamW, KerasLamb, KerasRMSprop, MomentumSGD
from zoo.training.optimizers.timm_optimizers import Lamb, RMSpropTF, TorchAdamW, TorchSGD
from zoo.training.precision import policy, precision
from zoo.training.recipe_config import RecipeConfig
from zoo.training.schedules import schedule

if TYPE_CHECKING:
    from zoo.distribution.replicas import Replicas

__all__ = ["compile_for_evaluation", "compile_model", "optimizer", "policy", "schedule"]

# What the variables of a kind are called; depthwise kernels have no name of their own.
NAMES = {"bias": ("bias",), "normalization": ("gamma", "beta"), "depthwise": ()}
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "keras": {"sgd": MomentumSGD, "adamw": FusedAdamW, "lamb": KerasLamb, "rmsprop": KerasRMSprop},
    "timm": {"sgd": TorchSGD, "adamw": TorchAdamW, "lamb": Lamb, "rmsprop": RMSpropTF},
}
USUAL = {"sgd": "keras", "adamw": "keras", "lamb": "timm", "rmsprop": "timm"}  # definition of an optimizer
KEYS = {
    "sgd": ("momentum",),
    "adamw": ("beta_1", "beta_2", "epsilon"),
    "lamb": ("beta_1", "beta_2", "epsilon"),
    "rmsprop": ("rho", "momentum", "epsilon"),
}


def optimizer(
    config: RecipeConfig,
    steps_per_epoch: int,
    factors: Mapping[str, float] | None = None,
    undecayed: Sequence[keras.Variable] = (),
) -> keras.optimizers.Optimizer:
    """The recipe's optimizer, by the definition that it names; a loss of float16 is scaled by one around it.

    Args:
        factors: of the learning rate, and so of the decay, by the path of the variable; 1 for the others.
        undecayed: variables without weight decay beside those that `no_decay` excludes by their names.

    Example:
        >>> from zoo.training.recipe import optimizer
        >>> from zoo.training.recipe_config import RecipeConfig
        >>> type(optimizer(RecipeConfig(optimizer="sgd"), steps_per_epoch=10)).__name__
        'MomentumSGD'
    """
    definition = config.optimizer_definition or USUAL[config.optimizer]
    own = {key: getattr(config, key) for key in KEYS[config.optimizer] if getattr(config, key) is not None}
    if config.optimizer == "sgd":
        own["nesterov"] = config.nesterov and config.momentum > 0
    if config.optimizer == "adamw" or config.weight_decay:
        own["weight_decay"] = config.weight_decay  # Keras's AdamW refuses None, and the others take 0 for a decay
    if config.clip_norm is not None:
        own["global_clipnorm"] = config.clip_norm
    if config.clip_value is not None:
        own |= {"global_clipnorm": None, "clipvalue": config.clip_value}  # one of the two, and LAMB has the former
    chosen = OPTIMIZERS[definition][config.optimizer](
        schedule(config, steps_per_epoch),
        rate_factors=factors,
        gradient_accumulation_steps=config.accumulation_steps if config.accumulation_steps > 1 else None,
        **own,
    )
    if config.weight_decay:
        names = [name for kind in config.no_decay for name in NAMES[kind]]
        chosen.exclude_from_weight_decay(var_list=undecayed, var_names=names)
    return keras.optimizers.LossScaleOptimizer(chosen) if precision(config) == "float16" else chosen


def depthwise_kernels(model: keras.Model) -> list[keras.Variable]:
    """The kernels of the convolutions of one channel each.

    Example:
        >>> from zoo.training.recipe import depthwise_kernels
        >>> kernels = depthwise_kernels(zoo.create("lcnet_035", 10, (32, 32, 3)))
        >>> len(kernels), kernels[0].path
        (13, 'blocks.0.0.conv_dw/kernel')
    """
    kernels = []
    for layer in sublayers(model):
        if isinstance(layer, GroupedConvolution):
            runs = zip(layer.group_runs, layer.stored_kernels, strict=True)
            kernels += [kernel for run, kernel in runs if run.groups == run.channels > 1]
        elif isinstance(layer, (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)):
            kernels.append(layer.kernel)
    return kernels


def compile_model(
    model: keras.Model, config: RecipeConfig, steps_per_epoch: int, replicas: Replicas | None = None
) -> WeightAverage | None:
    """Make `model`, which gives raw logits, ready for `fit` with integer or soft labels, which are smoothed in training
    alone. A step that is not finite changes nothing, see `zoo.training.guarded_step`. Returns the average of the
    weights, if there is to be one. With several `replicas` it belongs into their scope, as the building of the model
    does.

    Raises:
        ValueError: `recipe.non_finite=skip` or `recipe.ema_decay` on another backend than TensorFlow; a warm-up that is
            longer than the training.

    Example:
        >>> from zoo.training.recipe import compile_model
        >>> from zoo.training.recipe_config import RecipeConfig
        >>> model = keras.Sequential([keras.Input((4,)), blocks.Dense(10)])
        >>> average = compile_model(model, RecipeConfig(), steps_per_epoch=10)
        >>> type(model.optimizer).__name__, type(model.loss).__name__
        ('FusedAdamW', 'SmoothedCrossentropy')
    """
    undecayed = depthwise_kernels(model) if "depthwise" in config.no_decay else ()
    chosen = optimizer(config, steps_per_epoch, rate_factors(model, config), undecayed)
    _compile(model, config, chosen)
    if config.non_finite == "skip" and keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"recipe.non_finite=skip needs Keras on TensorFlow, not on {keras.backend.backend()}: use stop."
        )
    average = None if config.ema_decay is None else WeightAverage(model, config.ema_decay, config.ema_warmup)
    guard_steps(model, average, replicas)
    # Else the first step creates the optimizer's variables, and TensorFlow traces and compiles the step a second time.
    model.optimizer.build(model.trainable_variables)
    # The metrics' too, which a checkpoint holds: Keras creates them with the first labels that it sees.
    model.compute_metrics(None, np.zeros(1, "int32"), np.zeros((1, model.output_shape[-1]), "float32"), None)
    model.reset_metrics()
    return average


def compile_for_evaluation(model: keras.Model, config: RecipeConfig) -> None:
    """Make `model`, which gives raw logits, ready for `evaluate`, with loss and metrics of the recipe's validation.

    Example:
        >>> from zoo.training.recipe import compile_for_evaluation
        >>> from zoo.training.recipe_config import RecipeConfig
        >>> model = keras.Sequential([keras.Input((4,)), blocks.Dense(10)])
        >>> compile_for_evaluation(model, RecipeConfig())
        >>> sorted(model.evaluate(np.zeros((2, 4)), np.zeros(2), verbose=0, return_dict=True))
        ['loss', 'top1', 'top5']
    """
    _compile(model, config, None)


def _compile(model: keras.Model, config: RecipeConfig, chosen: keras.optimizers.Optimizer | None) -> None:
    smoothing = config.label_smoothing
    binary = config.loss == "bce"
    loss = BinaryCrossentropy(smoothing, config.target_threshold) if binary else SmoothedCrossentropy(smoothing)
    model.compile(optimizer=chosen, loss=loss, metrics=[Accuracy(name="top1"), TopKAccuracy(k=5, name="top5")])
    smooth_in_training_alone(model, loss)

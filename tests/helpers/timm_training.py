"""What timm's optimizers, schedules, averages and losses give, from a file; it says how it was made."""

import json
from typing import Any

import keras
import numpy as np

from helpers.paths import ROOT
from zoo.training.optimizers.timm_optimizers import Lamb, RMSpropTF, TorchAdamW, TorchSGD

CLASSES = {"sgd": TorchSGD, "momentum": TorchSGD, "adamw": TorchAdamW, "lamb": Lamb, "rmsproptf": RMSpropTF}
RENAMED = {"alpha": "rho", "eps": "epsilon", "max_grad_norm": "global_clipnorm"}


def expected(section: str) -> Any:
    """A section of `tests/goldens/timm_training.json`, which `benchmarks/training_reference.py` writes."""
    return json.loads((ROOT / "tests" / "goldens" / "timm_training.json").read_text())[section]


class Rates(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate for each step, from a list."""

    def __init__(self, rates: list[float]) -> None:
        self.rates = rates

    def __call__(self, step: Any) -> Any:
        return keras.ops.take(keras.ops.convert_to_tensor(self.rates, "float32"), keras.ops.cast(step, "int32"))


def stepped(optimizer: keras.optimizers.Optimizer, traced: bool = False) -> dict[str, np.ndarray]:
    """The weights of timm's cases after its ten steps, one by one or in a graph of TensorFlow."""
    case = expected("optimizers")
    variables = [keras.Variable(np.array(each, "float32"), name=name) for name, each in case["start"].items()]
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma"])
    optimizer.learning_rate = Rates(case["rates"])
    optimizer.build(variables)
    apply = optimizer.apply
    if traced:
        import tensorflow as tf

        apply = tf.function(apply)
    for step in case["gradients"]:
        apply([keras.ops.convert_to_tensor(step[each.name], "float32") for each in variables])
    return {each.name: each.numpy() for each in variables}


def optimizer_of(options: dict[str, Any]) -> keras.optimizers.Optimizer:
    """Our optimizer of the options that timm's has been given."""
    options = dict(options)
    kind = options.pop("opt")
    if kind in ("sgd", "momentum", "rmsproptf"):
        options.setdefault("momentum", 0.9)
    if kind == "sgd":
        options["nesterov"] = True
    if kind == "adamw":
        options.setdefault("eps", 1e-8)
    if betas := options.pop("betas", None):
        options["beta_1"], options["beta_2"] = betas
    return CLASSES[kind](0.1, **{RENAMED.get(key, key): value for key, value in options.items()})

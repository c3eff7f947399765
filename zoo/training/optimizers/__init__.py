"""Optimizers: Keras's, fused, in `keras_fused`; those of timm and PyTorch in `timm_optimizers`."""

from zoo.training.optimizers.keras_fused import FusedAdamW, KerasLamb, KerasRMSprop, MomentumSGD
from zoo.training.optimizers.rates import ScaledRates
from zoo.training.optimizers.timm_optimizers import Lamb, RMSpropTF, TorchAdamW, TorchSGD

__all__ = [
    "FusedAdamW",
    "KerasLamb",
    "KerasRMSprop",
    "Lamb",
    "MomentumSGD",
    "RMSpropTF",
    "ScaledRates",
    "TorchAdamW",
    "TorchSGD",
]

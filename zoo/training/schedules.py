"""The learning rate by step: a warm-up, then what the recipe says, with timm's meaning."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from zoo.training.recipe_config import RecipeConfig
from zoo.typing import Tensor

DIVISOR, FINAL_DIVISOR = 25.0, 1e4  # of the peak at the start of one_cycle, and of that at its end: PyTorch's defaults


@keras.saving.register_keras_serializable(package="zoo")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly over the warm-up and then follows `kind`.

    Lengths are in updates of the weights, or in epochs where the rate is the same in all steps of an epoch.

    - cosine: half a cosine, from the peak to `smallest` (Loshchilov and Hutter 2017, arXiv:1608.03983)
    - polynomial: smallest + (peak - smallest) * (1 - share) ** power; linear with a power of 1
    - steps: times `decay_rate` after each `every`, or at each of the `milestones`
    - exponential: times decay_rate ** (time / every), without steps
    - constant
    - one_cycle: half a cosine from `initial` to the peak, and one to `smallest` (Smith and Topin 2018,
      arXiv:1708.07120, as PyTorch's OneCycleLR, without its change of the momentum)

    Args:
        total: length of all.
        warmup: length of the warm-up, from `initial` to the peak.
        prefix: what follows begins with the end of the warm-up; else with the training, and its begin is left out.
        steps_per_epoch: where the rate is the same in all steps of an epoch; else None.
        steps_per_update: calls of the optimizer for each update of the weights.

    Example:
        >>> from zoo.training.schedules import Schedule
        >>> rate = Schedule("steps", peak=0.1, total=90, every=30, decay_rate=0.1)
        >>> [round(float(rate(step)), 6) for step in (0, 29, 30, 89)]
        [0.1, 0.1, 0.01, 0.001]
    """

    def __init__(
        self,
        kind: str,
        peak: float,
        total: float,
        warmup: float = 0.0,
        initial: float = 0.0,
        smallest: float = 0.0,
        prefix: bool = True,
        every: float | None = None,
        milestones: Sequence[float] | None = None,
        decay_rate: float = 0.1,
        power: float = 1.0,
        steps_per_epoch: int | None = None,
        steps_per_update: int = 1,
    ) -> None:
        self.options = {key: value for key, value in locals().items() if key not in ("self", "__class__")}
        self.kind, self.peak, self.total, self.warmup, self.initial = kind, peak, total, warmup, initial
        self.smallest, self.prefix, self.every, self.milestones = smallest, prefix, every, milestones
        self.decay_rate, self.power = decay_rate, power
        self.steps_per_epoch, self.steps_per_update = steps_per_epoch, steps_per_update

    def __call__(self, step: Any) -> Tensor:
        # A float32 has no 2.4 epochs and no millionth step; JAX, by default, has nothing larger.
        dtype = "float32" if keras.backend.backend() == "jax" else "float64"
        time = ops.floor(ops.cast(step, dtype) / self.steps_per_update)
        if self.steps_per_epoch is not None:  # of whole steps: a share of an update would be rounded
            time = ops.floor(time * self.steps_per_update / self.steps_per_epoch)
        return ops.cast(self._one_cycle(time) if self.kind == "one_cycle" else self._warmed_up(time), "float32")

    def _warmed_up(self, time: Any) -> Any:
        before = self.warmup if self.prefix else 0.0
        rate = self._decayed(time - before, self.total - before)
        if not self.warmup:
            return rate
        rising = self.initial + time * ((self.peak - self.initial) / self.warmup)
        return ops.where(time < self.warmup, rising, rate)

    def _decayed(self, time: Any, total: float) -> Any:
        share = ops.clip(time / max(total, 1), 0.0, 1.0)
        if self.kind == "cosine":
            return self.smallest + (self.peak - self.smallest) * _falling(share)
        if self.kind == "polynomial":
            return self.smallest + (self.peak - self.smallest) * ops.power(1 - share, self.power)
        if self.kind == "constant":
            return self.peak + 0 * share
        if self.milestones is not None:
            count = sum((ops.cast(time >= each, time.dtype) for each in self.milestones), 0 * time)
        else:
            count = time / self.every
            count = ops.floor(count) if self.kind == "steps" else count
        return ops.maximum(self.peak * ops.power(ops.cast(self.decay_rate, time.dtype), count), self.smallest)

    def _one_cycle(self, time: Any) -> Any:
        turn, end = self.warmup - 1, self.total - 1
        up = ops.clip(time / max(turn, 1), 0.0, 1.0)
        down = ops.clip((time - turn) / max(end - turn, 1), 0.0, 1.0)
        rising = self.peak + (self.initial - self.peak) * _falling(up)
        falling = self.smallest + (self.peak - self.smallest) * _falling(down)
        return ops.where(time <= turn, rising, falling)

    def get_config(self) -> dict[str, Any]:
        return dict(self.options)


def _falling(share: Any) -> Any:
    """Half a cosine, from 1 to 0."""
    return 0.5 * (1 + ops.cos(math.pi * share))


def schedule(config: RecipeConfig, steps_per_epoch: int) -> Schedule | float:
    """The learning rate of a recipe by the step of the training, or the rate itself where it never changes.

    Raises:
        ValueError: the warm-up is as long as the training, or that too short for one update of the weights.

    Example:
        >>> from zoo.training.schedules import schedule
        >>> from zoo.training.recipe_config import RecipeConfig
        >>> rate = schedule(RecipeConfig(epochs=3, learning_rate=0.1, warmup_epochs=1), steps_per_epoch=10)
        >>> [round(float(rate(step)), 3) for step in (0, 5, 10, 20, 30)]
        [0.0, 0.05, 0.1, 0.05, 0.0]
    """
    updates_per_epoch, steps = steps_per_epoch / config.accumulation_steps, config.epochs * steps_per_epoch
    if steps < config.accumulation_steps:
        raise ValueError(
            f"recipe.accumulation_steps={config.accumulation_steps} is not allowed: the training has {steps} steps, so "
            f"that the weights would never be updated; the largest possible is {steps}."
        )
    per_epoch = {"epochs": 1, "steps": steps_per_epoch, "images": steps_per_epoch * config.batch_size}
    by_epoch = config.schedule_by == "epoch"
    scale = 1.0 if by_epoch else updates_per_epoch  # of an epoch

    def length(value: float) -> float:
        # Rounded, for what is a whole update would else end now and then right behind it: 30 * (25 / 3) > 250.
        return round(value * scale / per_epoch[config.schedule_unit], 9)

    warmup = config.warmup_epochs * scale if config.warmup is None else length(config.warmup)
    warmup = warmup if by_epoch else round(warmup)
    if 0 < config.epochs * scale <= warmup:
        raise ValueError(
            f"The warm-up of {warmup:g} {'epochs' if by_epoch else 'updates'} is not allowed: the training has "
            f"{config.epochs * scale:g}; set a shorter recipe.warmup or recipe.warmup_epochs."
        )
    if config.schedule == "constant" and not warmup:
        return config.learning_rate
    one_cycle = config.schedule == "one_cycle"
    initial, smallest = config.warmup_learning_rate, config.min_learning_rate
    if initial is None and one_cycle:
        initial = config.learning_rate / DIVISOR
    elif initial is None:  # where it is that of a whole epoch, it is not 0, with which nothing would be learnt
        initial = config.learning_rate / (warmup + 1) if by_epoch else 0.0
    if smallest is None:
        smallest = initial / FINAL_DIVISOR if one_cycle else 0.0
    return Schedule(
        config.schedule,
        config.learning_rate,
        steps // config.accumulation_steps if one_cycle and not by_epoch else config.epochs * scale,
        warmup,
        initial,
        smallest,
        config.warmup_prefix,
        None if config.decay_every is None else length(config.decay_every),
        None if config.milestones is None else [length(each) for each in config.milestones],
        config.decay_rate,
        config.power,
        steps_per_epoch if by_epoch else None,
        config.accumulation_steps,
    )

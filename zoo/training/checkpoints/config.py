"""When checkpoints are written and how many stay: the `checkpoints` group of the configuration."""

import math
from dataclasses import dataclass


@dataclass
class CheckpointsConfig:
    """A checkpoint is written after every epoch, and where the training is stopped; more often where it is asked for.

    Example:
        >>> from zoo.training.checkpoints.config import CheckpointsConfig
        >>> CheckpointsConfig(every_minutes=5).keep
        2
    """

    keep: int = 2  # the last so many stay, and the one with the best val_top1; 0 writes none
    every_steps: int | None = None  # within an epoch too, after so many training steps; None is never
    every_minutes: float | None = 15.0  # within an epoch too, after so many minutes; None is never


def check(config: CheckpointsConfig) -> None:
    """Raise ValueError, in one sentence, for the first invalid value.

    Example:
        >>> from zoo.training.checkpoints.config import CheckpointsConfig, check
        >>> check(CheckpointsConfig(keep=-1))
        Traceback (most recent call last):
            ...
        ValueError: checkpoints.keep=-1 is not allowed: it must be 0 (none is written) or more.
    """
    if config.keep < 0:
        raise ValueError(f"checkpoints.keep={config.keep} is not allowed: it must be 0 (none is written) or more.")
    if config.every_steps is not None and config.every_steps < 1:
        raise ValueError(
            f"checkpoints.every_steps={config.every_steps} is not allowed: use at least 1, or null for epochs alone."
        )
    minutes = config.every_minutes
    if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
        raise ValueError(
            f"checkpoints.every_minutes={minutes:g} is not allowed: use a finite number above 0, or null for epochs "
            "alone."
        )

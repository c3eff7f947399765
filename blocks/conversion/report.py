"""What a conversion did to a model."""

import warnings
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ConversionReport:
    """What became of the layers of a model; those of nested models and layers are written `model/layer`.

    exchanged: layer -> its class before and after.
    absorbed: activation, padding or sum -> the layer that computes it; empty after `restore`.
    left: layer that could have been exchanged, and was not -> why.

    Example:
        >>> print(blocks.ConversionReport(exchanged={"stem": "Conv2D -> GroupedConv2D"}, absorbed={"relu": "norm"}))
        exchanged  stem: Conv2D -> GroupedConv2D
        absorbed   relu by norm
    """

    exchanged: dict[str, str] = field(default_factory=dict)
    absorbed: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"exchanged  {layer}: {classes}" for layer, classes in self.exchanged.items()]
        lines += [f"absorbed   {layer} by {by}" for layer, by in self.absorbed.items()]
        return "\n".join(lines + [f"left       {layer}: {reason}" for layer, reason in self.left.items()])

    def warn(self, model: str) -> None:
        """Warn of the layers that were left, if there are any."""
        if self.left:
            layer, reason = next(iter(self.left.items()))
            count = f"{len(self.left)} layers stay as they are" if len(self.left) > 1 else "One layer stays as it is"
            warnings.warn(f"{model}: {count}, as {layer}: {reason}. report=True lists all.", UserWarning, stacklevel=4)

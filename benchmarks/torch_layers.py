"""Single convolutions in PyTorch, eager, channels last."""

from collections.abc import Callable

import torch
from worker import Calls


class Layers(Calls):
    """The convolutions that are timed in this process."""

    def prepare(
        self, key: str, contender: str, mode: str, precision: str, batch: int, shape: dict, least: float
    ) -> dict:
        """Build one; how many calls of it last `least` seconds, and the seconds of one.

        Args:
            contender: "torch", nothing else.
            mode: "forward", or "gradients": forward, and the gradients of inputs and kernel.
            precision: of inputs, kernel and arithmetic: "float32" or "bfloat16".

        Raises:
            ValueError: for another contender.
        """
        if contender != "torch":
            raise ValueError(f"PyTorch does not offer the contender {contender!r}")
        return self.add(key, loop(mode == "gradients", getattr(torch, precision), batch, **shape), least)


def loop(
    gradients: bool,
    dtype: torch.dtype,
    batch: int,
    size: int,
    channels: int,
    filters: int,
    kernel: int,
    strides: int,
    groups: int,
) -> Callable[[int], float]:
    """A function that calls the convolution a number of times and fetches a number of the last result."""
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(channels, filters, kernel, strides, kernel // 2, groups=groups, bias=False)
    layer = layer.to(dtype=dtype, memory_format=torch.channels_last)
    inputs = torch.randn(batch, channels, size, size, dtype=dtype).contiguous(memory_format=torch.channels_last)
    inputs.requires_grad_(gradients)
    with torch.no_grad():
        cotangent = torch.randn_like(layer(inputs))  # channels last, as the outputs are

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return layer(inputs)

    def both() -> torch.Tensor:
        return torch.autograd.grad(layer(inputs), (inputs, layer.weight), cotangent)[1]

    def repeat(calls: int) -> float:
        for _ in range(calls):
            result = None  # its memory serves the next one
            result = both() if gradients else forward()
        return float(result.flatten()[0])

    return repeat

"""The machine that a comparison ran on, and the least time that its ceilings leave a network. Imports no framework."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import this_copy  # noqa: F401

from zoo.benchmarking.load import busy_share  # noqa: F401  (for the benchmarks)
from zoo.hardware import cores, instructions, processor

IDENTITY = ("date", "cpu", "cores", "instructions")  # keys of `identity()`
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}

# Bytes that a training step moves at least, per entry. An activation is written, read by the next layer, read again
# for that layer's gradient, and its own gradient is written and read. A weight is read forward and backward, its
# gradient written and read, weight and momentum read and written; they are float32 in mixed precision too.
TRAINING_ACTIVATION = 5
TRAINING_WEIGHT = 8
INFERENCE_ACTIVATION = 2  # written and read
INFERENCE_WEIGHT = 1


def identity() -> dict:
    """Date, processor, its vector instructions and the number of cores, for the rows of a table."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": processor(),
        "cores": cores(),
        "instructions": " ".join(instructions()),
    }


def warn_if_busy(share: float) -> None:
    """Say so where other programs take more than a tenth of the machine."""
    if share > 0.1:
        print(
            f"Other programs use {share:.0%} of the processors: ratios are off, and most where threads wait for each "
            "other, as PyTorch's do.",
            flush=True,
        )


@dataclass(frozen=True)
class Ceilings:
    """The best of what the contenders measured: 10^9 operations a second by type, 10^9 bytes a second copied."""

    gflops: Mapping[str, float]
    copy_gbs: float

    @classmethod
    def best(cls, measured: Iterable[Mapping[str, float]]) -> "Ceilings":
        """Of several contenders' measurements, each the largest. Raises ValueError where there is none."""
        measured = list(measured)
        if not measured:
            raise ValueError("No contender measured what the machine can do.")
        names = {name for each in measured for name in each}
        highest = {name: max(each[name] for each in measured if name in each) for name in names}
        suffix = "_gflops"
        gflops = {name.removesuffix(suffix): value for name, value in highest.items() if name.endswith(suffix)}
        return cls(gflops, highest["copy_gbs"])

    def __str__(self) -> str:
        rates = ", ".join(f"{rate:,.0f} GFLOP/s {precision}" for precision, rate in sorted(self.gflops.items()))
        return f"{rates}, {self.copy_gbs:.1f} GB/s copied (read + written)"


@dataclass(frozen=True)
class Work:
    """What one step of a network has to do at least.

    gflop: 10^9 operations: two a multiply-accumulate forward, and in training twice as many again backward.
    gbytes: 10^9 bytes to and from memory: the outputs of all convolutions, and the weights, as counted above. A lower
        bound: it holds no input image, no output of normalisation or activation, no statistics, no type conversion.
    """

    gflop: float
    gbytes: float

    @classmethod
    def of(cls, facts: Mapping, mode: str, precision: str, batch: int) -> "Work":
        """From `parameters`, and `macs` and `activations` of one image."""
        train = mode == "train"
        activations = facts["activations"] * batch * BYTES[precision]
        weights = facts["parameters"] * BYTES["float32"]
        moved = activations * (TRAINING_ACTIVATION if train else INFERENCE_ACTIVATION) + weights * (
            TRAINING_WEIGHT if train else INFERENCE_WEIGHT
        )
        return cls(2 * facts["macs"] * batch * (3 if train else 1) / 1e9, moved / 1e9)

    def least_seconds(self, ceilings: Ceilings, precision: str) -> float:
        """The roofline: no step is shorter than its arithmetic, nor than its traffic, at the machine's ceilings."""
        return max(self.gflop / ceilings.gflops[precision], self.gbytes / ceilings.copy_gbs)

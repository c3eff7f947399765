"""Chooses how a grouped 2-D convolution is computed under TensorFlow.

Every formulation computes the same; what differs is time. The rules rest on `benchmarks/formulations.py`, which times
every formulation of 35 layers, marks the fastest and the one chosen, and lists the choices that were not the fastest;
with `--xla` and `--no-onednn` too. Those for processors with matrix units rest on older measurements of oneDNN alone.
`implementation=` of the layers overrides the choice.
"""

import difflib
from dataclasses import dataclass

NAMES = ("native", "split", "depthwise", "matmul", "hybrid", "taps", "float32", "kernel")

# Channels of a group from which on matrix units have enough to multiply.
MATRIX_CHANNELS = 16


@dataclass(frozen=True)
class Situation:
    """All that the choice depends on."""

    device: str  # "CPU" or "GPU"
    dtype: str
    groups: int
    inputs: int  # channels of one group
    outputs: int  # filters of one group
    kernel_size: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    positions: int | None  # pixels of an output; None where the size is open
    onednn: bool  # whether TensorFlow differentiates grouped and dilated convolutions of this type
    xla: bool  # whether the graph is compiled by XLA
    kernels: int  # the fewest channels that our kernels take here; 0 where they can't be used
    matrix_units: bool  # whether the processor multiplies bfloat16 matrices in hardware (AMX)
    exporting: bool = False  # whether the graph is for other runtimes, which need no gradients

    @property
    def pointwise(self) -> bool:
        return self.kernel_size == (1, 1)

    @property
    def differentiable(self) -> bool:
        """Whether TensorFlow has the gradient of a grouped or dilated convolution here, or none is needed."""
        return self.onednn or self.xla or self.exporting or self.device != "CPU"

    @property
    def depthwise(self) -> bool:
        """One input channel a group, any number of filters."""
        return self.inputs == 1 and self.groups > 1


def check_implementation(name: str | None) -> None:
    """Raise ValueError unless `name` is None or one of NAMES."""
    if name is not None and name not in NAMES:
        near = difflib.get_close_matches(str(name), NAMES, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"implementation={name!r} is not known.{hint} Allowed: None, which chooses, or {', '.join(NAMES)}."
        )


def obstacle(name: str, s: Situation) -> str | None:
    """Why formulation `name` can't compute this convolution; None where it can."""
    dilated = s.dilation != (1, 1)
    if name in ("native", "depthwise") and _paired(s):
        return f"oneDNN multiplies {s.dtype} channels in pairs, and with an odd number one of them is another group's"
    match name:
        case "native":
            if (s.groups > 1 or dilated) and not s.differentiable:
                return f"TensorFlow has no gradient of grouped or dilated {s.dtype} convolutions on this CPU"
        case "depthwise":
            if not s.depthwise or s.strides[0] != s.strides[1] or (dilated and max(s.strides) > 1):
                return "it takes one input channel a group, equal strides, and no dilation beside them"
        case "matmul":
            if not s.pointwise or s.groups > 1:
                return "it takes a kernel of 1 x 1 and one group"
        case "hybrid":
            if not s.pointwise or s.groups > 1:
                return "it takes a kernel of 1 x 1 and one group"
        case "taps":
            if s.positions is None:
                return "it takes images of a known size"
        case "float32":
            if s.dtype not in ("bfloat16", "float16"):
                return f"the type is {s.dtype} already"
        case "kernel":
            return _kernel_obstacle(s)
    return None


def _paired(s: Situation) -> bool:
    """Whether oneDNN multiplies a channel of the next group by 0, which NaN and infinities survive.

    It does in the processor's bfloat16 instructions, forwards or backwards; depthwise kernels have code of their own,
    but for the gradient of strided ones.
    """
    if s.depthwise and s.outputs == 1 and s.strides == (1, 1):
        return False
    low = s.dtype in ("bfloat16", "float16") and s.onednn and not s.xla and not s.exporting and s.device == "CPU"
    return low and s.groups > 1 and (s.inputs % 2 == 1 or s.outputs % 2 == 1)


def _kernel_obstacle(s: Situation) -> str | None:
    if not s.kernels:
        return "the CPU kernels are not built, switched off, or of no use here (a GPU, XLA, a model being exported)"
    if s.dtype not in ("float32", "bfloat16"):
        return f"it takes float32 and bfloat16, not {s.dtype}"
    if s.pointwise:
        return None
    if s.dilation != (1, 1) or max(s.kernel_size) > 11:
        return "it takes kernels up to 11 x 11, undilated"
    if s.groups == 1:
        return None
    if s.depthwise and (s.outputs != 1 or s.groups < s.kernels):
        return f"of depthwise kernels it takes those of one filter an input channel, {s.kernels} channels or more"
    if not s.depthwise and min(s.inputs, s.outputs) <= 8 and (s.inputs not in (2, 4, 8) or s.inputs != s.outputs):
        return "it takes groups of 2, 4 or 8 input channels and as many filters, or of more than 8 of both"
    return None


def choose(s: Situation) -> str:
    """The formulation that is fastest in this situation, forward and backward together.

    In a graph for other runtimes it is one operation, of the two kinds that LiteRT, ONNX and their delegates know.
    """
    if s.exporting:
        # TensorFlow takes a dilated depthwise convolution apart, into shapes and batches.
        return "depthwise" if obstacle("depthwise", s) is None and s.dilation == (1, 1) else "native"
    if s.device != "CPU":
        return "native"
    if s.xla:
        return _choose_for_xla(s)
    if obstacle("kernel", s) is None and not _library_multiplies(s) and not _library_convolves(s):
        return "kernel"
    if _paired(s) or (s.dtype == "bfloat16" and _slow_bfloat16(s)):
        return "float32"
    if s.pointwise and s.groups == 1:
        return _choose_dense_pointwise(s)
    if s.depthwise and obstacle("depthwise", s) is None:
        return "depthwise" if not s.onednn else "native"
    if (s.groups > 1 or s.dilation != (1, 1)) and not s.onednn:
        return "split"
    return "native"


def _slow_bfloat16(s: Situation) -> bool:
    """Whether float32 arithmetic, casts included, beats TensorFlow's bfloat16.

    It does without oneDNN (up to 30 times), and with it where the processor has no matrix units; but for strided
    grouped convolutions, whose inputs are four times as large as their outputs.
    """
    return not s.onednn or (not s.matrix_units and (s.groups == 1 or s.strides == (1, 1)))


def _library_multiplies(s: Situation) -> bool:
    """Whether oneDNN's product beats ours: with matrix units, which ours does not use."""
    return s.dtype == "bfloat16" and s.matrix_units and s.onednn and s.inputs >= MATRIX_CHANNELS


def _library_convolves(s: Situation) -> bool:
    """Whether TensorFlow's convolution is as fast as ours: of large groups, and in groups of kernels beyond 3 x 3.

    Ours reads less memory, which counts most where a group has few channels, and differentiates strided ones faster.
    """
    if s.pointwise or s.depthwise:
        return False
    if s.groups == 1:
        most = 256 if not s.onednn else 128 if s.dtype == "bfloat16" or s.strides != (1, 1) else 0
        return s.inputs > 4 and max(s.inputs, s.outputs) > most
    if not s.onednn:
        return False
    most = 48 if s.strides == (1, 1) and s.dtype == "float32" else 64
    return max(s.inputs, s.outputs) > most or max(s.kernel_size) > 3


def _choose_dense_pointwise(s: Situation) -> str:
    # oneDNN rearranges the filters at every call: at few positions a plain product is up to 7 times as fast.
    if s.positions is not None and s.positions <= 64:
        return "matmul"
    return "hybrid" if s.dtype == "bfloat16" or not s.onednn else "native"


def _choose_for_xla(s: Situation) -> str:
    """XLA's own gradients of grouped convolutions take seconds on a CPU: they are split, or summed over taps.

    Taps win where a group has little to multiply, and up to 1.6 times for strided convolutions in float32.
    """
    if s.groups == 1:
        return "native"
    strided = s.strides != (1, 1) and s.dtype == "float32"
    return "taps" if (s.depthwise or s.pointwise or strided) and s.positions is not None else "split"

"""Chooses how a grouped 2-D convolution is computed under TensorFlow.

Every implementation computes the same; what differs is time. The rules rest on `benchmarks/implementations.py`, which
times all of them on 35 layers, marks the fastest and the one chosen, and lists the choices that were not the fastest;
with `--xla` and `--no-onednn` too. Those for processors with matrix units rest on older measurements of oneDNN alone.
`implementation=` of the layers overrides the choice.
"""

import difflib
from dataclasses import dataclass

NAMES = ("native", "split", "depthwise", "matmul", "hybrid", "taps", "float32", "custom_op")
ALIASES = {"kernel": "custom_op"}  # former names, which arguments and saved files may have

# Channels of a group from which on matrix units have enough to multiply.
MATRIX_CHANNELS = 16


@dataclass(frozen=True)
class ConvSpec:
    """A convolution and what it runs on: all that the choice depends on.

    Example:
        >>> from blocks.ops.implementation import ConvSpec
        >>> sizes = {"groups": 32, "in_channels_per_group": 4, "out_channels_per_group": 4, "kernel_size": (3, 3)}
        >>> runs_on = {"onednn": True, "xla": False, "min_kernel_channels": None, "matrix_units": False}
        >>> spec = ConvSpec("CPU", "float32", **sizes, strides=(1, 1), dilation=(1, 1), positions=3136, **runs_on)
        >>> spec.depthwise, spec.pointwise, spec.differentiable
        (False, False, True)
    """

    device: str  # "CPU" or "GPU"
    dtype: str
    groups: int
    in_channels_per_group: int
    out_channels_per_group: int
    kernel_size: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    positions: int | None  # pixels of an output; None where the size is unknown
    onednn: bool  # whether TensorFlow differentiates grouped and dilated convolutions of this type
    xla: bool  # whether the graph is compiled by XLA
    min_kernel_channels: int | None  # the fewest channels that our kernels take; None where they are not available
    matrix_units: bool  # whether the processor multiplies bfloat16 matrices in hardware (AMX)
    exporting: bool = False  # whether the graph is for other runtimes, which need no gradients
    bfloat16_dot_products: bool = False  # whether the processor has them (AVX-512's): oneDNN uses them, and our kernels

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
        return self.in_channels_per_group == 1 and self.groups > 1


def check_implementation(name: str | None) -> None:
    """Raise ValueError unless `name` is None or one of NAMES or ALIASES.

    Example:
        >>> from blocks.ops.implementation import check_implementation
        >>> check_implementation("split")
    """
    if name is not None and name not in NAMES and name not in ALIASES:
        near = difflib.get_close_matches(str(name), (*NAMES, *ALIASES), n=1)
        hint = f" Did you mean {ALIASES.get(near[0], near[0])!r}?" if near else ""
        raise ValueError(
            f"implementation={name!r} is not known.{hint} Allowed: None, which chooses, or {', '.join(NAMES)}."
        )


def unsupported_reason(name: str, spec: ConvSpec) -> str | None:
    """Why implementation `name` can't compute this convolution; None where it can.

    Example:
        >>> from blocks.ops.implementation import ConvSpec, unsupported_reason
        >>> sizes = {"groups": 32, "in_channels_per_group": 4, "out_channels_per_group": 4, "kernel_size": (3, 3)}
        >>> runs_on = {"onednn": True, "xla": False, "min_kernel_channels": None, "matrix_units": False}
        >>> spec = ConvSpec("CPU", "float32", **sizes, strides=(1, 1), dilation=(1, 1), positions=3136, **runs_on)
        >>> unsupported_reason("native", spec), unsupported_reason("float32", spec)
        (None, 'the type is float32 already')
    """
    dilated = spec.dilation != (1, 1)
    if name in ("native", "depthwise") and _paired(spec):
        return (
            f"oneDNN multiplies {spec.dtype} channels in pairs, and with an odd number one of them is another group's"
        )
    match name:
        case "native":
            if (spec.groups > 1 or dilated) and not spec.differentiable:
                return f"TensorFlow has no gradient of grouped or dilated {spec.dtype} convolutions on this CPU"
        case "depthwise":
            if not spec.depthwise or spec.strides[0] != spec.strides[1] or (dilated and max(spec.strides) > 1):
                return "it takes one input channel a group, equal strides, and no dilation beside them"
        case "matmul":
            if not spec.pointwise or spec.groups > 1:
                return "it takes a kernel of 1 x 1 and one group"
        case "hybrid":
            if not spec.pointwise or spec.groups > 1:
                return "it takes a kernel of 1 x 1 and one group"
        case "taps":
            if spec.positions is None:
                return "it takes images of a known size"
        case "float32":
            if spec.dtype not in ("bfloat16", "float16"):
                return f"the type is {spec.dtype} already"
        case "custom_op":
            return _custom_op_unsupported_reason(spec)
    return None


def _paired(spec: ConvSpec) -> bool:
    """Whether oneDNN multiplies a channel of the next group by 0, which NaN and infinities survive.

    It does in the processor's bfloat16 instructions, forwards or backwards; depthwise kernels have code of their own,
    but for the gradient of strided ones.
    """
    if spec.depthwise and spec.out_channels_per_group == 1 and spec.strides == (1, 1):
        return False
    low = (
        spec.dtype in ("bfloat16", "float16")
        and spec.onednn
        and not spec.xla
        and not spec.exporting
        and spec.device == "CPU"
    )
    return low and spec.groups > 1 and (spec.in_channels_per_group % 2 == 1 or spec.out_channels_per_group % 2 == 1)


def _custom_op_unsupported_reason(spec: ConvSpec) -> str | None:
    if spec.min_kernel_channels is None:
        return "the CPU kernels are not available: not built, switched off, or on a GPU, in XLA or in an export"
    if spec.dtype not in ("float32", "bfloat16"):
        return f"it takes float32 and bfloat16, not {spec.dtype}"
    if spec.pointwise:
        return None
    if spec.dilation != (1, 1) or max(spec.kernel_size) > 11:
        return "it takes kernels up to 11 x 11, undilated"
    if spec.groups == 1:
        return None
    if spec.depthwise and (spec.out_channels_per_group != 1 or spec.groups < spec.min_kernel_channels):
        channels = spec.min_kernel_channels
        return f"of depthwise kernels it takes those of one filter an input channel, {channels} channels or more"
    if (
        not spec.depthwise
        and min(spec.in_channels_per_group, spec.out_channels_per_group) <= 8
        and (spec.in_channels_per_group not in (2, 4, 8) or spec.in_channels_per_group != spec.out_channels_per_group)
    ):
        return "it takes groups of 2, 4 or 8 input channels and as many filters, or of more than 8 of both"
    return None


def choose(spec: ConvSpec) -> str:
    """The implementation that is fastest for `spec`, forward and backward together.

    In a graph for other runtimes it is one operation, of the two kinds that LiteRT, ONNX and their delegates know.

    Example:
        >>> from blocks.ops.implementation import ConvSpec, choose
        >>> sizes = {"groups": 32, "in_channels_per_group": 4, "out_channels_per_group": 4, "kernel_size": (3, 3)}
        >>> runs_on = {"xla": False, "min_kernel_channels": None, "matrix_units": False}
        >>> where = {"strides": (1, 1), "dilation": (1, 1), "positions": 3136}
        >>> spec = ConvSpec("CPU", "float32", **sizes, **where, onednn=False, **runs_on)
        >>> choose(spec)
        'split'
    """
    if spec.exporting:
        # TensorFlow takes a dilated depthwise convolution apart, into shapes and batches.
        return "depthwise" if unsupported_reason("depthwise", spec) is None and spec.dilation == (1, 1) else "native"
    if spec.device != "CPU":
        return "native"
    if spec.xla:
        return _choose_for_xla(spec)
    if unsupported_reason("custom_op", spec) is None and not _library_multiplies(spec) and not _library_convolves(spec):
        return "custom_op"
    if _paired(spec) or (spec.dtype == "bfloat16" and _slow_bfloat16(spec)):
        return "float32"
    if spec.pointwise and spec.groups == 1:
        return _choose_dense_pointwise(spec)
    if spec.depthwise and unsupported_reason("depthwise", spec) is None:
        return "depthwise" if not spec.onednn else "native"
    if (spec.groups > 1 or spec.dilation != (1, 1)) and not spec.onednn:
        return "split"
    return "native"


def _slow_bfloat16(spec: ConvSpec) -> bool:
    """Whether float32 arithmetic, casts included, beats TensorFlow's bfloat16.

    It does without oneDNN (up to 30 times), and with it where the processor has neither matrix units nor dot products
    of bfloat16; but for strided grouped convolutions, whose inputs are four times as large as their outputs.
    """
    in_hardware = spec.matrix_units or spec.bfloat16_dot_products
    return not spec.onednn or (not in_hardware and (spec.groups == 1 or spec.strides == (1, 1)))


def _library_multiplies(spec: ConvSpec) -> bool:
    """Whether oneDNN's product beats ours: of bfloat16 on matrix units, which ours does not use."""
    return (
        spec.dtype == "bfloat16" and spec.matrix_units and spec.onednn and spec.in_channels_per_group >= MATRIX_CHANNELS
    )


def _library_convolves(spec: ConvSpec) -> bool:
    """Whether TensorFlow's convolution is as fast as ours: of large groups, and in groups of kernels beyond 3 x 3.

    Ours reads less memory, which counts most where a group has few channels, and differentiates strided ones faster.
    Its dot products of bfloat16 are faster for all.
    """
    if spec.pointwise or spec.depthwise or (spec.dtype == "bfloat16" and spec.bfloat16_dot_products):
        return False
    if spec.groups == 1:
        most = 256 if not spec.onednn else 128 if spec.dtype == "bfloat16" or spec.strides != (1, 1) else 0
        return spec.in_channels_per_group > 4 and max(spec.in_channels_per_group, spec.out_channels_per_group) > most
    if not spec.onednn:
        return False
    most = 48 if spec.strides == (1, 1) and spec.dtype == "float32" else 64
    return max(spec.in_channels_per_group, spec.out_channels_per_group) > most or max(spec.kernel_size) > 3


def _choose_dense_pointwise(spec: ConvSpec) -> str:
    # oneDNN rearranges the filters at every call: at few positions a plain product is up to 7 times as fast.
    few = 1024 if spec.dtype == "bfloat16" and spec.bfloat16_dot_products else 64
    if spec.positions is not None and spec.positions <= few:
        return "matmul"
    return "hybrid" if spec.dtype == "bfloat16" or not spec.onednn else "native"


def _choose_for_xla(spec: ConvSpec) -> str:
    """XLA's own gradients of grouped convolutions take seconds on a CPU: they are split, or summed over taps.

    Taps win where a group has little to multiply, and up to 1.6 times for strided convolutions in float32.
    """
    if spec.groups == 1:
        return "native"
    strided = spec.strides != (1, 1) and spec.dtype == "float32"
    return "taps" if (spec.depthwise or spec.pointwise or strided) and spec.positions is not None else "split"

"""Grouped convolution in 1, 2 and 3 dimensions as a function, on every backend of Keras."""

import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

import keras
from keras import ops

from blocks.ops.arguments import data_format_of, did_you_mean, per_axis
from blocks.ops.geometry import Padding, output_shape, padding_of, resolve_causal
from blocks.ops.group_sizes import groups_of
from blocks.ops.implementation import check_implementation
from blocks.ops.inputs import real
from blocks.typing import Tensor

VOLUMES = ("native", "frames", "split")  # the implementations of a 3-D convolution


def prepare_kernels() -> None:
    """Begin to compile what this backend's operations need, as a layer is built; none of them waits for it.

    Example:
        >>> from blocks.ops.grouped_conv import prepare_kernels
        >>> prepare_kernels()
    """
    if keras.backend.backend() == "tensorflow":
        from blocks.ops.tensorflow.runtime import prepare

        prepare()


def grouped_convolution(
    inputs: Tensor,
    kernel: Tensor | Sequence[Tensor],
    strides: int | tuple[int, ...] = 1,
    padding: str | int | tuple[Any, ...] = "valid",
    dilation_rate: int | tuple[int, ...] = 1,
    data_format: str = "channels_last",
    groups: int | tuple[int, ...] | None = None,
    implementation: str | None = None,
) -> Tensor:
    """Convolve each of several slices of the input channels with filters of its own.

    Args:
        inputs: (B, ..., C), or (B, C, ...) with "channels_first"; one, two or three axes stand for the dots. Integers
            and booleans are cast to the type of `kernel`.
        kernel: equal groups, (..., C / groups, filters), as `keras.layers.Conv2D(groups=)` holds it: its axis before
            the last says how many groups there are, and the first filters / groups outputs see the first
            C / groups inputs, and so on. Uneven groups: a list with one kernel (..., c, f) for each, of c inputs and
            f outputs; the c add up to C.
        strides, dilation_rate: one integer, or one for each axis.
        padding: "same", "valid", "causal" (one axis only), or zeros: n, or n or (before, after) for each axis.
        groups: how many groups, or the size of each, where that is to be checked against `kernel`.
        implementation: as in `GroupedConv2D`.

    Returns:
        (B, ..., filters), or (B, filters, ...).

    Raises:
        ValueError: for a wrong argument, kernels that do not fit the inputs or `groups`, or inputs smaller than them.

    Source: Krizhevsky et al. 2012, ImageNet Classification with Deep Convolutional Neural Networks, section 3.5.

    Example:
        >>> images, kernel = np.ones((2, 8, 8, 6)), np.ones((3, 3, 2, 12))  # 6 / 2 = 3 groups
        >>> y = blocks.grouped_convolution(images, kernel, padding="same")
        >>> tuple(y.shape), float(y[0, 4, 4, 0]), float(y[0, 0, 0, 0])
        ((2, 8, 8, 12), 18.0, 8.0)
        >>> uneven = [np.ones((1, 1, 2, 3)), np.ones((1, 1, 4, 5))]  # groups of 2 and 4 channels
        >>> tuple(blocks.grouped_convolution(images, uneven).shape)
        (2, 8, 8, 8)
    """
    uneven = isinstance(kernel, (tuple, list))
    kernels = [ops.convert_to_tensor(each) for each in (cast(Sequence[Tensor], kernel) if uneven else (kernel,))]
    inputs = inputs if hasattr(inputs, "shape") else ops.convert_to_tensor(inputs)
    inputs = real(inputs, kernels[0].dtype if keras.backend.is_float_dtype(kernels[0].dtype) else keras.config.floatx())
    rank = len(inputs.shape) - 2
    if rank not in (1, 2, 3) or any(len(each.shape) != rank + 2 for each in kernels):
        shapes = [tuple(each.shape) for each in kernels]
        raise ValueError(
            f"inputs of shape {tuple(inputs.shape)} and kernels of shape {shapes} do not go together: both must have "
            "3, 4 or 5 axes."
        )
    data_format = data_format_of(data_format, "channels_last")
    channels = inputs.shape[-1 if data_format == "channels_last" else 1]
    sizes = [each.shape[-2] for each in kernels] if uneven else _equal_sizes(channels, kernels[0].shape[-2])
    _check_sizes(sizes, channels, groups)
    implementation = implementation_of(implementation, rank)
    if uneven:
        kernels, sizes = _merge_equal_neighbours(kernels)
    return convolve_group_runs(
        inputs,
        kernels,
        sizes if uneven else [channels],
        per_axis(strides, "strides", rank),
        padding_of(padding, rank),
        per_axis(dilation_rate, "dilation_rate", rank),
        data_format,
        implementation,
    )


def _equal_sizes(channels: int, size: int) -> list[int]:
    if channels % size:
        raise ValueError(
            f"A kernel of {size} channels a group does not fit {channels} input channels: {size} must divide them."
        )
    return [size] * (channels // size)


def _check_sizes(sizes: list[int], channels: int, groups: object) -> None:
    if sum(sizes) != channels:
        raise ValueError(
            f"The kernels have {sizes} input channels, {sum(sizes)} together, but the input has {channels}."
        )
    if groups is None:
        return
    expected = groups_of(groups)
    if (len(sizes) if isinstance(expected, int) else tuple(sizes)) != expected or (
        isinstance(expected, int) and len(set(sizes)) > 1
    ):
        kernel_groups = len(sizes) if len(set(sizes)) == 1 else tuple(sizes)
        raise ValueError(
            f"groups={expected} is not what the kernel has on {channels} input channels: groups={kernel_groups}."
        )


def _merge_equal_neighbours(kernels: Sequence[Tensor]) -> tuple[list[Any], list[int]]:
    """One kernel for neighbouring groups of one shape, and how many input channels each of the results has."""
    merged, sizes = [], []
    for shape, equal in itertools.groupby(kernels, key=lambda kernel: tuple(kernel.shape)):
        members = list(equal)
        merged.append(members[0] if len(members) == 1 else ops.concatenate(members, axis=-1))
        sizes.append(shape[-2] * len(members))
    return merged, sizes


def implementation_of(implementation: str | None, rank: int) -> str | None:
    """`implementation`, which a convolution of `rank` axes has on the backend in use; raises ValueError otherwise.

    Example:
        >>> from blocks.ops.grouped_conv import implementation_of
        >>> implementation_of(None, rank=2), implementation_of("native", rank=2)
        (None, 'native')
    """
    if implementation is None:
        return None
    backend = keras.backend.backend()
    if backend == "tensorflow" and implementation == "merge":  # in files of earlier versions
        warnings.warn(
            "implementation='merge' is no longer there: it carried NaN and infinities of one group into others. None, "
            "which chooses, takes its place.",
            stacklevel=3,
        )
        return None
    if rank < 3 and implementation != "merge":
        check_implementation(implementation)
    if backend != "tensorflow" and implementation != "native":
        raise ValueError(
            f"implementation={implementation!r} exists on Keras's TensorFlow backend only, and this is {backend}: use "
            'None or "native".'
        )
    if rank == 3 and implementation not in VOLUMES:
        raise ValueError(
            f"implementation={implementation!r} is not one of a 3-D convolution: use None, "
            f"{', '.join(map(repr, VOLUMES))}.{did_you_mean(implementation, VOLUMES)}"
        )
    return implementation


def convolve_group_runs(
    inputs: Tensor,
    kernels: Sequence[Tensor],
    channels: Sequence[int],
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    data_format: str,
    implementation: str | None = None,
    *,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """activation(convolution + bias + residual), the core of the function above and of the layers.

    Every kernel is one grouped convolution over the next of the `channels`; arguments are in their checked form.

    Raises:
        ValueError: for inputs smaller than the kernel.

    Example:
        >>> from blocks.ops.grouped_conv import convolve_group_runs
        >>> x = np.ones((1, 4, 4, 5), "float32")
        >>> kernels = [np.ones((1, 1, 1, 4), "float32"), np.ones((1, 1, 3, 2), "float32")]  # of 2 and of 1 group
        >>> y = convolve_group_runs(x, kernels, [2, 3], (1, 1), "valid", (1, 1), "channels_last", activation="relu")
        >>> y[0, 0, 0].numpy()
        array([1., 1., 1., 1., 3., 3.], dtype=float32)
    """
    rank, first = len(strides), data_format == "channels_first"
    tensorflow = keras.backend.backend() == "tensorflow"
    padding = resolve_causal(padding, kernels[0].shape, dilation)
    # Refuses inputs that are too small; their outputs would have no pixels.
    output_shape(inputs.shape, None, kernels[0].shape[:rank], strides, dilation, padding, data_format)
    if tensorflow and len(kernels) == 1 and rank < 3 and not first:
        fused = bias, activation, residual
        return _tensorflow_images(inputs, kernels[0], strides, padding, dilation, implementation, *fused)
    # TensorFlow's CPU kernels take channels last only; on a GPU its graph optimiser cancels these transpositions.
    swap = tensorflow and first
    outputs = ops.transpose(inputs, (0, *range(2, rank + 2), 1)) if swap else inputs
    axis = 1 if first and not swap else -1
    parts = ops.split(outputs, list(itertools.accumulate(channels))[:-1], axis) if len(kernels) > 1 else [outputs]
    convolve: Callable[..., Tensor] = _keras_convolution
    own: tuple[str | None, ...] = (data_format,)
    if tensorflow:
        convolve, own = _tensorflow_volumes if rank == 3 else _tensorflow_images, (implementation,)
    outputs = [
        convolve(part, kernel, strides, padding, dilation, *own) for part, kernel in zip(parts, kernels, strict=True)
    ]
    outputs = ops.concatenate(outputs, axis) if len(outputs) > 1 else outputs[0]
    if bias is not None:
        shape = (1, -1, *(1,) * rank) if axis == 1 else (*(1,) * (rank + 1), -1)
        # The operator, not `ops.add`: that takes a bias of this shape for one of channels last where sizes agree.
        outputs = outputs + ops.cast(ops.reshape(bias, shape), outputs.dtype)
    outputs = ops.transpose(outputs, (0, rank + 1, *range(1, rank + 1))) if swap else outputs
    if residual is not None:
        outputs = ops.add(outputs, residual)
    return outputs if activation is None else getattr(keras.activations, activation)(outputs)


def _keras_convolution(
    inputs: Tensor,
    kernel: Tensor,
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    data_format: str,
) -> Tensor:
    if keras.backend.backend() == "jax":
        from blocks.ops.jax.grouped_conv import convolve

        inputs = ops.convert_to_tensor(inputs)
        return convolve(inputs, ops.cast(kernel, inputs.dtype), strides, padding, dilation, data_format)
    if not isinstance(padding, str):
        first = data_format == "channels_first"
        inputs = ops.pad(inputs, ((0, 0), (0, 0), *padding) if first else ((0, 0), *padding, (0, 0)))
        padding = "valid"
    return ops.conv(inputs, ops.cast(kernel, inputs.dtype), strides, padding, data_format, dilation)


def _tensorflow_images(
    inputs: Tensor,
    kernel: Tensor,
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    implementation: str | None,
    bias: Tensor | None = None,
    activation: str | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """Convolution over one or two axes, channels last; one axis is an image of height 1."""
    from blocks.ops.tensorflow.conv2d import convolve

    inputs, kernel = ops.convert_to_tensor(inputs), ops.convert_to_tensor(kernel)
    bias, residual = (None if each is None else ops.convert_to_tensor(each) for each in (bias, residual))
    line = len(strides) == 1
    if line:
        inputs, kernel = ops.expand_dims(inputs, 1), ops.expand_dims(kernel, 0)
        residual = None if residual is None else ops.expand_dims(residual, 1)
        # Some kernels want both strides to be the same, and with one row the first may be anything.
        strides, dilation = strides * 2, dilation * 2
        padding = padding if isinstance(padding, str) else ((0, 0), *padding)
    outputs = convolve(
        inputs,
        kernel,
        strides,
        padding,
        dilation,
        bias=bias,
        activation=activation,
        residual=residual,
        implementation=implementation,
    )
    return ops.squeeze(outputs, 1) if line else outputs


def _tensorflow_volumes(
    inputs: Tensor,
    kernel: Tensor,
    strides: tuple[int, ...],
    padding: Padding,
    dilation: tuple[int, ...],
    implementation: str | None,
) -> Tensor:
    from blocks.ops.tensorflow.conv3d import convolve

    inputs, kernel = ops.convert_to_tensor(inputs), ops.convert_to_tensor(kernel)
    return convolve(inputs, kernel, strides, padding, dilation, implementation=implementation)

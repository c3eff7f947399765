"""Kernels of convolutions quantised to int8, in the manner of `keras.layers.Dense.quantize`."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import ops

from blocks.ops.keras_internals import mark_quantized, refused_mode, untrack
from blocks.typing import LayerMixin, Tensor

MODE = "int8"


def quantize_kernel(kernel: Tensor, quantizer: Any = None) -> tuple[Tensor, Tensor]:
    """(int8 kernel, float32 scales (filters,)) of a kernel (..., filters): kernel = int8 / scale, up to rounding.

    A scale is 127 / (largest absolute value of its filter + 1e-7), and the product is rounded to the nearest integer.

    Args:
        quantizer: a quantizer of Keras with other limits; its axes are not used, for a filter has one scale.

    Example:
        >>> from blocks.layers.quantization import quantize_kernel
        >>> values, scale = quantize_kernel(np.array([[1.0, -4.0], [0.3, 2.0]], "float32"))
        >>> np.asarray(values).tolist(), np.round(scale, 2).tolist()
        ([[127, -127], [38, 64]], [127.0, 31.75])
    """
    quantizer = quantizer or keras.quantizers.AbsMaxQuantizer()
    wide = ops.cast(kernel, "float32")
    values, scale = quantizer(wide, axis=tuple(range(len(wide.shape) - 1)), to_numpy=True)
    return values, ops.reshape(scale, (-1,))


def dequantized(kernels: Sequence[Tensor], scale: Tensor) -> list[Tensor]:
    """The kernels that int8 `kernels` stand for, in float32; `scale` (filters,) is that of all of their filters.

    Example:
        >>> from blocks.layers.quantization import dequantized
        >>> np.asarray(dequantized([np.array([[127, -64]], "int8")], np.array([127.0, 32.0]))[0]).tolist()
        [[1.0, -2.0]]
    """
    floats, first = [], 0
    for kernel in kernels:
        last = first + kernel.shape[-1]
        floats.append(ops.divide(ops.cast(kernel, "float32"), ops.cast(scale[first:last], "float32")))
        first = last
    return floats


def rounded_to_levels(inputs: Tensor, quantizer: Any) -> Tensor:
    """`inputs` (B, ...) as the int8 values of `quantizer` hold them, with one scale for each of the B examples.

    The gradient is that of the identity: the straight-through estimator.

    Source: Bengio et al. 2013, Estimating or Propagating Gradients Through Stochastic Neurons for Conditional
    Computation, section 4, arXiv:1308.3432.

    Example:
        >>> from blocks.layers.quantization import rounded_to_levels
        >>> values = np.array([[127.0, 3.3], [254.0, 3.3]], "float32")
        >>> np.round(rounded_to_levels(values, keras.quantizers.AbsMaxQuantizer())).tolist()
        [[127.0, 3.0], [254.0, 4.0]]
    """
    axes = tuple(range(1, len(inputs.shape)))

    @ops.custom_gradient
    def straight_through(values: Tensor) -> tuple[Tensor, Callable[..., Any]]:
        if type(quantizer) is keras.quantizers.AbsMaxQuantizer:
            # Its own computation, but for a batch without examples, whose maximum Keras refuses to take.
            low, high = quantizer.value_range
            largest = ops.max(ops.abs(values), axis=axes, keepdims=True, initial=0)
            scale = ops.divide(high, largest + quantizer.epsilon)
            levels = ops.clip(ops.round(values * scale), low, high)
        else:
            levels, scale = quantizer(values, axis=axes)

        def gradient(*args: Any, upstream: Any = None) -> Any:
            return args[0] if upstream is None else upstream

        return ops.divide(ops.cast(levels, values.dtype), ops.cast(scale, values.dtype)), gradient

    return straight_through(inputs)


class Int8Quantization(LayerMixin):
    """Mixin, before the Keras class, for a convolution whose kernels can be quantised to int8.

    Every kernel becomes int8, with one scale for each filter: `kernel_scale`, (filters,) float32. The inputs are
    quantised as they come, with one scale for each example of the batch, unless
    `keras.quantizers.Int8QuantizationConfig(activation_quantizer=None)` says that the weights alone are. Sums are
    taken in float32. Gradients reach the inputs, the bias and the factors of LoRA.

    Attributes: `kernel_scale`, None where the layer is not quantised; `quantization_config`.

    Source: Jacob et al. 2018, Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference, section 2.1, arXiv:1712.05877, with a zero point of 0.

    Example:
        >>> layer = blocks.GroupedConv2D(8, 3, groups=2)
        >>> layer.build((None, 8, 8, 6))
        >>> layer.quantize("int8")
        >>> layer.kernel.dtype, tuple(layer.kernel_scale.shape), layer.dtype_policy.name
        ('int8', (8,), 'int8_from_float32')
    """

    stored_kernels: list[keras.Variable]
    add_kernels: Callable[..., None]
    is_quantizable: Callable[[], bool]
    kernel_scale: keras.Variable | None
    quantization_config: Any

    @property
    def inputs_quantizer(self) -> Any:
        """What the inputs of a quantised layer are quantised by; None where they are not."""
        if self.kernel_scale is None:
            return None
        config = self.quantization_config
        return keras.quantizers.AbsMaxQuantizer() if config is None else config.activation_quantizer

    def quantize(self, mode: str | None = None, type_check: bool = True, config: Any = None) -> None:
        """Turn the kernels of a built layer into int8; `model.quantize("int8")` does so with every layer that can.

        Args:
            mode: "int8".
            type_check: refuse subclasses, which may compute something else with their kernels.
            config: a `keras.quantizers.Int8QuantizationConfig`; its weight quantizer has one scale for each filter,
                whichever axes it names.

        Raises ValueError, from Keras, for a layer that is not built or is quantised already, for float16, and for a
        mode that Keras does not know. A mode of Keras other than "int8" is refused with the exception that Keras's
        layers raise: `model.quantize` leaves such a layer as it is, with a warning.

        Example:
            >>> layer = blocks.GroupedConv2D(8, 3, kernel_initializer="ones", use_bias=False)
            >>> images = np.linspace(0, 1, 128, dtype="float32").reshape(1, 8, 4, 4)
            >>> before = np.asarray(layer(images))
            >>> layer.quantize("int8")
            >>> bool(np.abs(layer(images) - before).max() < 0.01 * before.max())
            True
        """
        self._check_mode(mode)
        if type_check and not self.is_quantizable():
            raise refused_mode(
                self,
                f"{self.name} is a {type(self).__name__}, which may compute something else than the layer that it "
                "extends: type_check=False quantises its kernels nevertheless.",
            )
        kernels = self.stored_kernels
        quantised = [quantize_kernel(kernel, getattr(config, "weight_quantizer", None)) for kernel in kernels]
        self.quantization_config = config
        for kernel in kernels:
            untrack(self, kernel)
        self.quantized_build([tuple(kernel.shape) for kernel in kernels], mode)
        self.assign_quantized(quantised)
        if self.quantization_mode is None:
            self.dtype_policy = keras.dtype_policies.get(f"{MODE}_from_{self.dtype_policy.name}")

    def quantized_build(self, kernel_shapes: Sequence[tuple[int, ...]], mode: str | None = MODE) -> None:
        """Add int8 kernels of these shapes, and their scales, in place of kernels of floats."""
        self._check_mode(mode)
        self.add_kernels(kernel_shapes, ["zeros"] * len(kernel_shapes), dtype=MODE, trainable=False)
        self.kernel_scale = self.add_weight(
            name="kernel_scale",
            shape=(sum(shape[-1] for shape in kernel_shapes),),
            initializer="ones",
            dtype="float32",
            trainable=False,
            autocast=False,
        )
        mark_quantized(self)

    def assign_quantized(self, quantised: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Make these int8 values and scales the kernels of the quantised layer."""
        assert self.kernel_scale is not None  # it is quantised
        for kernel, (values, _) in zip(self.stored_kernels, quantised, strict=True):
            kernel.assign(values)
        self.kernel_scale.assign(ops.concatenate([scale for _, scale in quantised]))

    def quantized_call(self, *args: Any, **kwargs: Any) -> Any:
        """`call`, which knows how the kernels are stored."""
        return self.call(*args, **kwargs)

    def quantization_settings(self) -> dict[str, Any]:
        """What `get_config` has of the quantisation beside the type: nothing where no configuration was given."""
        config = self.quantization_config
        return {} if config is None else {"quantization_config": keras.saving.serialize_keras_object(config)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """The layer that `get_config` describes."""
        if (settings := config.get("quantization_config")) is not None:
            config = {**config, "quantization_config": keras.saving.deserialize_keras_object(settings)}
        return super().from_config(config)

    def _check_mode(self, mode: str | None) -> None:
        if mode != MODE:
            raise refused_mode(
                self, f"mode={mode!r} is not allowed for {self.name} ({type(self).__name__}): give {MODE!r}."
            )

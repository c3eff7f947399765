"""The kernels of a convolution: as floats, adapted by LoRA or quantised to int8, in the layer and in files."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from blocks.layers.lora import LowRankAdaptation
from blocks.layers.quantization import Int8Quantization, dequantized, quantize_kernel
from blocks.ops.keras_internals import check_number_of_weights, own_variables


class ConvolutionKernels(LowRankAdaptation, Int8Quantization):
    """Mixin, before the Keras class, for a layer with one kernel, or one for each run of equal groups, and a bias.

    A file has the weights in Keras's order, but for the factors of LoRA: the kernel that it adapts is merged, as
    Keras's layers write it, so that a layer without adaptation loads it.

    Raises:
        AttributeError: `kernel` is asked for before the layer is built, or where there are several.
        ValueError: `kernels` are asked for before the layer is built; a file is of another layer, or holds int8 kernels
            where those of the layer are floats, or the other way round.

    Example:
        >>> layer = blocks.GroupedConv2D(8, 3, groups=2, lora_rank=2)
        >>> layer.build((None, 8, 8, 6))
        >>> file = {}
        >>> layer.save_own_variables(file)
        >>> {key: tuple(value.shape) for key, value in file.items()}
        {'0': (3, 3, 3, 8), '1': (8,)}
    """

    bias: keras.Variable | None
    _attributes: tuple[str, ...] = ()

    def add_kernels(self, shapes: Sequence[tuple[int, ...]], initializers: Sequence[Any], **more: Any) -> None:
        """Add a kernel of each shape (..., filters), in place of those that there are; `more` as for `add_weight`."""
        names = ["kernel"] if len(shapes) == 1 else [f"kernel_{index}" for index in range(len(shapes))]
        self._attributes = tuple("_kernel" if name == "kernel" else name for name in names)
        for attribute, name, shape, initializer in zip(self._attributes, names, shapes, initializers, strict=True):
            # Each implementation casts it as it needs it, or not at all.
            kernel = self.add_weight(name=name, shape=shape, initializer=initializer, autocast=False, **more)
            setattr(self, attribute, kernel)

    @property
    def stored_kernels(self) -> list[keras.Variable]:  # type: ignore[override]  # the mixins read it alone
        """The kernels as they are stored: without LoRA's product, and int8 where they are quantised."""
        return [getattr(self, attribute) for attribute in self._attributes]

    @property
    def kernel(self) -> Any:
        """The kernel (..., C / groups, filters) of equal groups: what is stored, or its sum with LoRA's product."""
        if not self.built:
            raise AttributeError(f"{self.name} has no kernel yet: build it, or call it on an input.")
        if len(self._attributes) > 1:
            raise AttributeError(f"{self.name} has several kernels, for its groups are uneven: `kernels` lists them.")
        return self.kernels[0]

    @property
    def kernels(self) -> list[Any]:
        """The kernel of every run of equal groups, in the order of their channels; [`kernel`] if all are equal."""
        if not self.built:
            raise ValueError(f"{self.name} has no weights yet: build it, or call it on an input.")
        if not self.lora_enabled:
            return list(self.stored_kernels)
        return [ops.cast(kernel, self.compute_dtype) for kernel in self.computed_kernels()]

    def computed_kernels(self) -> list[Any]:
        """What the layer convolves with, at least as exact as what is stored: dequantised, LoRA's product added."""
        kernels: list[Any] = self.stored_kernels
        if self.kernel_scale is not None:
            kernels = dequantized(kernels, self.kernel_scale)
        return [ops.add(kernels[0], self.low_rank_product())] if self.lora_enabled else kernels

    def save_own_variables(self, store: Any) -> None:
        merged = self._merged_values() if self.built and self.lora_enabled else {}
        for index, variable in enumerate(self._weights_in_files()):
            store[str(index)] = merged.get(variable.name, variable)

    def load_own_variables(self, store: Any) -> None:
        if not self.lora_enabled:
            check_number_of_weights(self, store)
        variables = self._weights_in_files()
        if len(store.keys()) != len(variables):
            raise ValueError(
                f"{self.name} has {len(variables)} weights in a file, its kernel merged, but there are "
                f"{len(store.keys())}: the file is of another layer."
            )
        for index, variable in enumerate(variables):
            if (str(store[str(index)].dtype) == "int8") != (variable.dtype == "int8"):
                stored, own = ("int8", "floats") if variable.dtype != "int8" else ("floats", "int8")
                raise ValueError(
                    f"{variable.name} of {self.name} is stored as {stored} in the file and as {own} in the layer: load "
                    "it before quantize, or into a layer that is quantised as the one that was saved."
                )
        for index, variable in enumerate(variables):
            variable.assign(store[str(index)])
        if self.lora_enabled:  # A stays: with both 0, as Keras's layers have them then, neither would learn
            self.lora_kernel_b.assign(ops.zeros_like(self.lora_kernel_b))

    def _weights_in_files(self) -> list[keras.Variable]:
        factors = (self.lora_kernel_a, self.lora_kernel_b) if self.lora_enabled else ()
        return [weight for weight in own_variables(self) if all(weight is not factor for factor in factors)]

    def _merged_values(self) -> dict[str, Any]:
        """What a file of an adapted layer holds in place of the weights of these names."""
        (merged,) = self.computed_kernels()
        if self.kernel_scale is None:
            return {"kernel": ops.cast(merged, self.stored_kernels[0].dtype)}
        values, scale = quantize_kernel(merged, getattr(self.quantization_config, "weight_quantizer", None))
        return {"kernel": values, "kernel_scale": scale}

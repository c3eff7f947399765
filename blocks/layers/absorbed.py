"""A place holder for a layer whose computation a neighbour has taken over."""

from typing import Any

import keras

from blocks.layers.real_inputs import RealInputs
from blocks.ops.keras_internals import DottedName
from blocks.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="blocks")
class AbsorbedLayer(DottedName, RealInputs, keras.layers.Layer):
    """Hands on what it gets: the layer that was here is computed by the one before or behind it.

    `blocks.convert` puts it in the place of activations and paddings, so that a model keeps the names of its layers,
    and `blocks.restore` makes the layer again from it.

    Args:
        original: that layer's class and configuration, as `keras.saving.serialize_keras_object` gives them.

    (B, ..., C) -> the same shape.

    Raises:
        ValueError: `original` is no serialised layer.

    Source: the layer that was here is Keras's layer of `original`.

    Example:
        >>> relu = keras.saving.serialize_keras_object(keras.layers.ReLU(name="relu"))
        >>> float(blocks.AbsorbedLayer(relu, name="relu")(np.float32(-1.0)))
        -1.0
    """

    def __init__(self, original: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(original, dict) or "class_name" not in original:
            raise ValueError(f"original={original!r} is no layer: give keras.saving.serialize_keras_object(layer).")
        self.original = original
        self.supports_masking = True

    def call(self, inputs: Tensor) -> Tensor:
        return inputs

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "original": dict(self.original)}

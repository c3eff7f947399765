"""The two halves of squeeze and excitation, with gradients that pass over the images once each."""

from typing import Any

import keras
from keras import layers

from blocks.layers.real_inputs import RealInputs
from blocks.ops.arguments import shapes_agree
from blocks.ops.gates import gate, image_mean
from blocks.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="blocks")
class ImageMean(RealInputs, layers.Layer):
    """Mean of each channel over the image, and the image itself: (B, H, W, C) -> (B, 1, 1, C), (B, H, W, C).

    Whatever uses the image further takes the one that comes back: then both of its gradients are added in one pass.

    Raises:
        ValueError: for images of other than four axes.

    Source: Hu et al. 2018, Squeeze-and-Excitation Networks, section 3.1, arXiv:1709.01507.

    Example:
        >>> mean, image = blocks.ImageMean()(np.array([1.0, 2.0, 3.0, 6.0]).reshape(1, 2, 2, 1))
        >>> float(mean[0, 0, 0, 0]), image.shape == (1, 2, 2, 1)
        (3.0, True)
    """

    def __init__(self, **kwargs: Any) -> None:  # the keywords of keras.layers.Layer
        super().__init__(**kwargs)
        self.input_spec = layers.InputSpec(ndim=4)

    def call(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return image_mean(inputs)

    def compute_output_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        batch, _, _, channels = input_shape
        return (batch, 1, 1, channels), tuple(input_shape)


@keras.saving.register_keras_serializable(package="blocks")
class ChannelGate(RealInputs, layers.Layer):
    """Each channel of each image times its gate: (B, H, W, C) and (B, 1, 1, C) -> (B, H, W, C).

    Raises:
        ValueError: for other shapes.

    Source: Hu et al. 2018, Squeeze-and-Excitation Networks, section 3.2, arXiv:1709.01507.

    Example:
        >>> images, gates = np.full((1, 2, 2, 3), 4.0), np.array([0.0, 0.5, 1.0]).reshape(1, 1, 1, 3)
        >>> np.asarray(blocks.ChannelGate()(images, gates))[0, 0]
        array([[0., 2., 4.],
               [0., 2., 4.]], dtype=float32)
    """

    def call(self, inputs: Tensor, gates: Tensor) -> Tensor:
        self.compute_output_shape(inputs.shape, gates.shape)  # refuses gates of another shape
        return gate(inputs, gates)

    def compute_output_shape(self, inputs_shape: Shape, gates_shape: Shape) -> Shape:
        if len(inputs_shape) != 4 or not shapes_agree(gates_shape, (inputs_shape[0], 1, 1, inputs_shape[3])):
            raise ValueError(
                f"Images of shape {tuple(inputs_shape)} and gates of shape {tuple(gates_shape)} do not go together: "
                "give (B, H, W, C) and (B, 1, 1, C)."
            )
        return tuple(inputs_shape)

"""The two halves of squeeze and excitation, with gradients that pass over the images once each."""

import keras
from keras import layers

from blocks.layers.real_inputs import RealInputs
from blocks.ops.gates import gate, image_mean
from blocks.typing import Shape, Tensor


@keras.saving.register_keras_serializable(package="blocks")
class ImageMean(RealInputs, layers.Layer):
    """Mean of each channel over the image, and the image itself: (B, H, W, C) -> (B, 1, 1, C), (B, H, W, C).

    Whatever uses the image further takes the one that comes back: then both of its gradients are added in one pass.

    Source: Hu et al. 2018, Squeeze-and-Excitation Networks, section 3.1, arXiv:1709.01507.
    """

    def call(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        return image_mean(inputs)

    def compute_output_shape(self, input_shape: Shape) -> tuple[Shape, Shape]:
        batch, _, _, channels = input_shape
        return (batch, 1, 1, channels), tuple(input_shape)


@keras.saving.register_keras_serializable(package="blocks")
class ChannelGate(RealInputs, layers.Layer):
    """Each channel of each image times its gate: (B, H, W, C) and (B, 1, 1, C) -> (B, H, W, C).

    Source: Hu et al. 2018, Squeeze-and-Excitation Networks, section 3.2, arXiv:1709.01507.
    """

    def call(self, inputs: Tensor, gates: Tensor) -> Tensor:
        return gate(inputs, gates)

    def compute_output_shape(self, inputs_shape: Shape, gates_shape: Shape) -> Shape:
        return tuple(inputs_shape)

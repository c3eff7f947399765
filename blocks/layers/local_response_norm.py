"""The operations of AlexNet that Keras lacks; images are (B, H, W, C)."""

import keras
from keras import ops

from blocks.layers.real_inputs import RealInputs


@keras.saving.register_keras_serializable(package="blocks")
class LocalResponseNormalization(RealInputs, keras.layers.Layer):
    """x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta, of inputs (..., C).

    The paper's formula does not divide alpha by `size`; its published program does, and so do Caffe's and PyTorch's
    layers, which this one equals. Computed in float32 where the layers compute in less.

    Args:
        size: channels of a window, n in the paper; the channel itself is in its middle.

    Raises:
        ValueError: for a size below 1.

    Source: Krizhevsky et al. 2012, ImageNet Classification with Deep Convolutional Neural Networks, section 3.3.
    """

    def __init__(self, size: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75, **kwargs):
        super().__init__(**kwargs)
        if size < 1:
            raise ValueError(f"size={size} is not allowed: it is a number of channels, of at least 1.")
        self.size = size
        self.k = k
        self.alpha = alpha
        self.beta = beta

    def call(self, inputs):
        if self._has_operation(inputs):
            import tensorflow as tf

            outputs = tf.nn.lrn(tf.cast(inputs, "float32"), self.size // 2, self.k, self.alpha / self.size, self.beta)
            return tf.cast(outputs, self.compute_dtype)
        wide = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        channels = inputs.shape[-1]
        edges = [(0, 0)] * (len(inputs.shape) - 1) + [(self.size // 2, (self.size - 1) // 2)]
        squares = ops.pad(ops.square(wide), edges)
        total = sum(squares[..., start : start + channels] for start in range(self.size))
        scale = ops.power(self.k + self.alpha / self.size * total, -self.beta)
        return ops.cast(wide * scale, self.compute_dtype)

    def _has_operation(self, inputs) -> bool:
        """Whether to use TensorFlow's own operation: one in place of 14 in a graph for other runtimes."""
        if keras.backend.backend() != "tensorflow" or len(inputs.shape) != 4 or self.size % 2 == 0:
            return False
        from blocks.ops.tensorflow.fused import exporting

        return exporting() and self.compute_dtype != "float64"

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "size": self.size, "k": self.k, "alpha": self.alpha, "beta": self.beta}


@keras.saving.register_keras_serializable(package="blocks")
class AdaptiveAveragePooling2D(RealInputs, keras.layers.Layer):
    """Average of images of any size to a size given beforehand: (B, H, W, C) -> (B, height, width, C).

    Output i is the mean of the rows floor(i H / height) to ceil((i + 1) H / height), as in PyTorch; smaller images
    are repeated. Keras's layer of that name wants to know H and W when the network is built.

    Args:
        size: one integer, or two (height, width).
    """

    def __init__(self, size: int | tuple[int, int], **kwargs):
        super().__init__(**kwargs)
        self.size = (size, size) if isinstance(size, int) else tuple(size)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def call(self, inputs):
        _, height, width, channels = ops.shape(inputs)
        rows, columns = self.size
        # Products rather than einsum, which LiteRT cannot read with an open batch.
        x = ops.matmul(self._means(width, columns), inputs)
        x = ops.matmul(self._means(height, rows), ops.reshape(x, (-1, height, columns * channels)))
        return ops.reshape(x, (-1, rows, columns, channels))

    def _means(self, length, outputs: int):
        """Matrix (outputs, length) whose product with a column is the column's averages."""
        index = ops.expand_dims(ops.arange(outputs, dtype="int32"), 1)
        start = ops.floor_divide(index * length, outputs)
        end = ops.floor_divide((index + 1) * length + outputs - 1, outputs)
        place = ops.expand_dims(ops.arange(length, dtype="int32"), 0)
        inside = ops.cast(ops.logical_and(place >= start, place < end), self.compute_dtype)
        return inside / ops.cast(end - start, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.size, input_shape[3])

    def get_config(self):
        return {**super().get_config(), "size": self.size}

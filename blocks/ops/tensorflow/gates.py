"""Mean over the image and gating of channels under TensorFlow: by our kernels, else by its own operations."""

from collections.abc import Sequence

import tensorflow as tf

from blocks.ops.tensorflow.runtime import fits_vectors, kernels


def image_mean(inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean of `inputs` (B, H, W, C) over the image, (B, 1, 1, C), and the inputs, to be used from here on."""
    operations = kernels()
    if fits_vectors(operations, inputs):
        return tuple(operations.blocks_image_means(inputs))
    return tf.reduce_mean(inputs, axis=(1, 2), keepdims=True), inputs


def gate(inputs: tf.Tensor, gates: tf.Tensor) -> tf.Tensor:
    """`inputs` (B, H, W, C) times `gates` (B, 1, 1, C)."""
    operations = kernels()
    return operations.blocks_gate(inputs, gates) if fits_vectors(operations, inputs) else inputs * gates


def softmax_sum(candidates: Sequence[tf.Tensor], logits: tf.Tensor, radix: int) -> tf.Tensor | None:
    """What `blocks.ops.gates.softmax_sum` does, of a tensor or `radix` of them; None where no kernel does."""
    operations = kernels()
    parts = radix // len(candidates)
    if not fits_vectors(operations, candidates[0], parts):
        return None
    return operations.blocks_softmax_sum(candidates, logits, radix=radix)

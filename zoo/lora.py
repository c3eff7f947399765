"""Layers whose kernel is adapted by LoRA: what `enable_lora` adds to those of Keras, and to convolutions of ours.

Source: Hu et al. 2021, LoRA, section 4.1, arXiv:2106.09685.
"""

from typing import Any

import keras
from keras import ops

FACTORS = ("lora_kernel_a", "lora_kernel_b")  # the variables of the low-rank product, beside the kernel


def is_adapted(layer: keras.Layer) -> bool:
    """Whether `enable_lora` was called, on a dense layer, a convolution, ours too, or an embedding.

    Example:
        >>> from zoo.lora import is_adapted
        >>> layer = blocks.Dense(10)
        >>> layer.build((None, 64))
        >>> layer.enable_lora(rank=4)
        >>> is_adapted(layer), is_adapted(blocks.Dense(10))
        (True, False)
    """
    return getattr(layer, "lora_enabled", False)


def stored_kernel(layer: keras.Layer) -> keras.Variable:
    """The kernel as it is stored, without the product: `layer.kernel` is the sum of both. An embedding: its table.

    Example:
        >>> from zoo.lora import stored_kernel
        >>> layer = blocks.Dense(10)
        >>> layer.build((None, 64))
        >>> layer.enable_lora(rank=4)
        >>> tuple(stored_kernel(layer).shape)
        (64, 10)
    """
    return next(each for each in layer.weights if each.name in ("kernel", "embeddings"))


def merged_kernel(layer: keras.Layer) -> Any:
    """Kernel + alpha / rank * product, in the precision of the stored kernel and the factors, float32 at least.

    `layer.kernel` is the same rounded to the type that the layer computes in, bfloat16 in mixed precision.

    Raises AttributeError for a layer that is not adapted: ask `is_adapted` first.

    Example:
        >>> from zoo.lora import merged_kernel
        >>> layer = blocks.Dense(3)
        >>> layer.build((None, 8))
        >>> layer.enable_lora(rank=2)
        >>> tuple(merged_kernel(layer).shape)
        (8, 3)
    """
    product = ops.matmul(layer.lora_kernel_a, layer.lora_kernel_b)
    return ops.add(stored_kernel(layer), (layer.lora_alpha / layer.lora_rank) * product)

"""What operations run on, and are traced for: device, oneDNN, XLA, our kernels, an export."""

import functools
from typing import Any

import tensorflow as tf

from blocks.kernels import build
from blocks.kernels.build import library
from blocks.kernels.levels import processor_flags
from blocks.kernels.tensorflow.internals import GraphOrParentsInXlaContext
from blocks.ops.exporting import is_exportable

KERNEL_DTYPES = (tf.float32, tf.bfloat16)  # of the images that our kernels take


@functools.cache
def native_gradients(dtype: str) -> bool:
    """Whether the default device differentiates grouped and dilated convolutions of `dtype`.

    On a CPU only oneDNN has those kernels, in float32, bfloat16 and float16; TF_ENABLE_ONEDNN_OPTS=0 and some
    builds switch it off. Tried on a tiny convolution, once a process and type: no public API reports it.
    """
    with tf.init_scope():  # out of any graph being built; tapes do not record here, so the gradient's own operation
        try:
            tf.raw_ops.Conv2DBackpropFilter(
                input=tf.ones((1, 5, 5, 4), dtype),
                filter_sizes=(3, 3, 2, 4),
                out_backprop=tf.ones((1, 5, 5, 4), dtype),
                strides=(1, 1, 1, 1),
                padding="SAME",
                dilations=(1, 2, 2, 1),
            )
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True


@functools.cache
def device_kind() -> str:
    """ "GPU" where TensorFlow sees one, else "CPU"."""
    return "GPU" if tf.config.list_logical_devices("GPU") else "CPU"


@functools.cache
def matrix_units() -> bool:
    """Whether the processor multiplies bfloat16 matrices in hardware (Intel's AMX)."""
    return "amx_bf16" in processor_flags().split()


@functools.cache
def bfloat16_dot_products() -> bool:
    """Whether the processor multiplies bfloat16 vectors in hardware, by AVX-512's instructions."""
    return "avx512_bf16" in processor_flags().split()


def in_xla() -> bool:
    """Whether what is traced now will be compiled by XLA."""
    return not tf.executing_eagerly() and GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def exporting() -> bool:
    """Whether what is traced now is for runtimes without our kernels: see `blocks.exportable`."""
    return is_exportable(tracing=not tf.executing_eagerly())


def prepare() -> None:
    """Begin to compile our kernels, where they can be used and are not there yet."""
    if device_kind() == "CPU":
        build.prepare()


def kernels() -> Any:
    """The operations of our kernels, where they can be used now; else None."""
    if device_kind() != "CPU" or in_xla() or exporting() or library() is None:
        return None
    import blocks.kernels.tensorflow.flops
    import blocks.kernels.tensorflow.gradients  # noqa: F401  both register what TensorFlow asks for

    return library()


@functools.cache
def min_channels() -> int:
    """The fewest channels that the kernels of depthwise convolutions, gates and pooling take."""
    with tf.init_scope():
        return int(library().blocks_min_channels())


def fits(operations: Any, inputs: tf.Tensor) -> bool:
    """Whether `operations`, our kernels, are there and take `inputs` (B, ..., C)."""
    return operations is not None and inputs.dtype in KERNEL_DTYPES and inputs.shape[-1] != 0


def fits_vectors(operations: Any, inputs: tf.Tensor, parts: int = 1) -> bool:
    """The same of those kernels of whole images that take a vector of channels, or more, of each of so many parts."""
    return fits(operations, inputs) and inputs.shape[-1] // parts >= min_channels()

"""Kernels of our own for the CPU, as TensorFlow operations: depthwise and pointwise convolution, normalisation.

They are C++ sources, compiled once for each machine (see `build`); where that is not possible, TensorFlow's own
operations compute the same. Only `blocks.ops.tensorflow` uses this package.
"""

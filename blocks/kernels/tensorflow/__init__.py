"""What TensorFlow asks of operations beside their kernels: gradients and counts of floating-point operations."""

"""The operations under TensorFlow: by its own kernels, by ours, and in the form that exported graphs need."""

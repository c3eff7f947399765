"""The operations under JAX that have gradients of their own; all others are Keras's."""

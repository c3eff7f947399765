"""Optimizers: Keras's, fused, in `keras_fused`; those of timm and PyTorch in `timm_optimizers`."""

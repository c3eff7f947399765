"""Augmentation of training images: uint8 in and out, an image at a time, every random choice drawn from a key."""

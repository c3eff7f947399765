"""A network that is built in no time, and images for it."""

from helpers.arrays import draw

NAME = "mobilenetv1_025"
SHAPE = (32, 32, 3)
IMAGES = draw(2, *SHAPE)

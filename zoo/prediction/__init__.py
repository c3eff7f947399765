"""Classes of pictures, by a network in whatever runtime it is made for: what `zoo predict` does."""

MAX_PIXELS = 89_478_485  # of a picture: Pillow's own limit, a quarter of a gigabyte in RGB

"""One module for each family: a frozen dataclass, its variants, `build` and `head`."""

"""Why there are no kernels."""


class BuildError(Exception):
    """Why the kernels are not available, in one clause."""

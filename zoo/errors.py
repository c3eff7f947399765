"""Errors in the user's input."""


class UserError(Exception):
    """Its text is one clear sentence or two; no traceback would help whoever reads it.

    Example:
        >>> from zoo.errors import UserError
        >>> print(UserError("dataset.batch_size=0 must be at least 1."))
        dataset.batch_size=0 must be at least 1.
    """

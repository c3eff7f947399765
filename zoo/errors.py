"""Errors in the user's input."""


class UserError(Exception):
    """Its text is one clear sentence or two; no traceback would help whoever reads it."""

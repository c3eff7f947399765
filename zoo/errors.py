"""What a user can mend."""


class UserError(Exception):
    """Its text is one clear sentence or two; no traceback would help whoever reads it."""

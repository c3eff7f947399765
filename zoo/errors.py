"""Errors in the user's input, and of what else only he can mend."""

import errno

# What the system says where a disk, or a user's share of it, has no room left.
FULL_DISK = tuple(getattr(errno, name) for name in ("ENOSPC", "EDQUOT") if hasattr(errno, name))


class UserError(Exception):
    """Its text is one clear sentence or two; no traceback would help whoever reads it.

    Example:
        >>> from zoo.errors import UserError
        >>> print(UserError("dataset.batch_size=0 must be at least 1."))
        dataset.batch_size=0 must be at least 1.
    """

"""What tests say of results: how near they are to others, and how a thing is refused."""

from collections.abc import Callable, Iterable

import numpy as np
import pytest


def refusal(make: Callable, error: type[Exception] = ValueError) -> str:
    """The one line with which `make()` is refused."""
    with pytest.raises(error) as caught:
        make()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def check_close(actual, expected, tolerance: float = 1e-4, message: str = "") -> None:
    """Equal shapes, and values within `tolerance` of the largest of `expected`."""
    actual, expected = (np.asarray(each).astype("float64") for each in (actual, expected))
    assert actual.shape == expected.shape, message
    limit = tolerance * np.abs(expected).max(initial=0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=limit, err_msg=message)


def check_all_close(actual: Iterable, expected: Iterable, tolerance: float = 1e-5) -> None:
    """The same of as many on both sides."""
    for ours, plain in zip(actual, expected, strict=True):
        check_close(ours, plain, tolerance)

"""Tests of the CPU kernels."""

import pytest

from blocks.kernels import build

needs_kernels = pytest.mark.skipif(build.library() is None, reason="the kernels can't be built on this machine")

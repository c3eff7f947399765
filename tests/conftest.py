"""Fixtures that several test files share."""

import pytest

from zoo.training.data_config import DatasetConfig


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> str:
    """Where data sets are prepared, once for all tests."""
    return str(tmp_path_factory.mktemp("tfds"))


@pytest.fixture
def digits(data_dir) -> DatasetConfig:
    return DatasetConfig(data_dir=data_dir, mean=[0.3], std=[0.4], crop_padding=1)

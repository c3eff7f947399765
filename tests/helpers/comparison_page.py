"""The page of a comparison as a file, and what its table shows."""

from pathlib import Path

import pytest

from zoo.comparison.page import page, write_page
from zoo.comparison.reading import read_runs

# Identifiers of the rows that the table shows.
ROWS = "return [...document.querySelectorAll('#table [data-row]')].map((line) => line.dataset.row)"


def write_page_of(folder: Path) -> str:
    """The address of the page of all runs in a folder."""
    path = folder.parent / f"{folder.name}.html"
    write_page(path, page(read_runs([folder], say=pytest.fail)))
    return path.as_uri()

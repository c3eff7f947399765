"""README.md, CONTRIBUTING.md and docs/: blocks have a known kind, names in Python code exist, links lead somewhere."""

import re

import pytest

from helpers.documents import (
    LANGUAGES,
    MARKER,
    PAGES,
    all_blocks,
    blocks_of,
    dead_links,
    missing_names,
    prose_of,
)
from helpers.paths import ROOT

PYTHON = all_blocks("python")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_have_a_language_and_comments_a_reason(page):
    unknown = [str(block) for block in blocks_of(page) if block.language not in LANGUAGES]
    assert not unknown, f"their language is none of {LANGUAGES}: {unknown}"
    lines = page.read_text(encoding="utf-8").splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("<!--"):
            assert MARKER.match(line) and following.startswith("```"), line


def test_readme_is_short_and_has_one_line_that_runs_the_tests():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    assert len(re.findall(r"^python3 .*pytest$", text, flags=re.MULTILINE)) == 1
    assert len(re.findall(r"!\[[^\]]+\]\([^)]+\.(?:png|svg)\)", text)) == 2


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_compiles_and_its_names_exist(block):
    if "import jax" in block.text:
        pytest.importorskip("jax", reason="the extra 'jax' is not installed")
    imports = "import blocks\nimport keras\nimport numpy as np\nimport zoo\n"
    assert not missing_names(imports + block.text)


def test_a_name_that_is_missing_is_seen():
    assert missing_names("import zoo\nfrom blocks import Conv5D\nzoo.crate('x')") == ["blocks.Conv5D", "zoo.crate"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    assert not dead_links(prose_of(page), page)


def test_blocks_are_found():
    assert len(PYTHON) > 12 and len(all_blocks("bash")) > 15 and len(PAGES) > 15

"""The family of docs/extend.md, as a user who copies it there would have it."""

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from helpers.documents import blocks_of
from helpers.paths import ROOT
from zoo import models, registry

PAGE = ROOT / "docs" / "extend.md"
NAME = "tinygrouped"


def pieces() -> tuple[str, str, str]:
    """The module, the line of FAMILIES and the file of conf/model/ that the page shows."""
    of = {block.language: block.text for block in reversed(blocks_of(PAGE))}
    return of["python"], of["text"], of["yaml"]


@contextmanager
def registered(folder: Path, change: tuple[str, str] = ("", "")) -> Iterator[Path]:
    """The block in which the family is one of the zoo, its files in `folder`; the path of its file of settings.

    Args:
        change: text of the module, and what is put in its place.
    """
    module, line, settings = pieces()
    (folder / f"{NAME}.py").write_text(module.replace(*change) if change[0] else module)
    (folder / "model").mkdir(exist_ok=True)
    (folder / "model" / f"{NAME}.yaml").write_text(settings)
    added = ast.literal_eval(f"{{{line.strip()}}}")
    with (
        mock.patch.object(models, "__path__", [*models.__path__, str(folder)]),
        mock.patch.dict(registry.FAMILIES, added),
    ):
        _forget()
        try:
            yield folder
        finally:
            vars(models).pop(NAME, None)
            sys.modules.pop(f"{models.__name__}.{NAME}", None)  # that alone: others may not be imported twice
            _forget()


def _forget() -> None:
    """What has been read of the families before."""
    registry.variants.cache_clear()
    registry.named.cache_clear()

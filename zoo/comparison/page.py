"""The page of a comparison: one HTML file with its data, its scripts and Plotly, which loads nothing."""

import base64
import contextlib
import hashlib
import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from zoo.comparison.page_data import page_data
from zoo.comparison.runs import Run
from zoo.errors import UserError

# In this order: each file uses those before it.
SCRIPTS = ("data", "rows", "look", "numbers", "scatter", "table", "curves", "chosen", "classes", "filters", "main")


def page(
    runs: Sequence[Run],
    metric: str = "val_top1",
    notes: Sequence[str] = (),
    created_at: datetime | None = None,
    noun: str = "run",
    command: str = "zoo compare",
) -> str:
    """The page as text. `created_at` is now by default; see `page_data` for the rest.

    Args:
        noun: what the runs are called; other ones than training runs have no learning curves and no classes.
        command: that the page is made by.
    """
    from plotly.offline import get_plotlyjs

    created_at = created_at or datetime.now(UTC)
    plotly = _inline(get_plotlyjs())
    parts = "".join(_text(f"{name}.js") for name in SCRIPTS)
    script = _inline(f'(() => {{\n"use strict";\n{parts}}})();\n')
    # Only these two scripts may run, whatever a run has in its name; and nothing may be fetched.
    policy = (
        f"default-src 'none'; script-src '{_digest(plotly)}' '{_digest(script)}'; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    values = {
        "title": f"Comparison of {len(runs):,} {noun if len(runs) == 1 else noun + 's'}",
        "noun": noun,
        "command": command,
        "policy": policy,
        "style": _text("page.css"),
        "data": _json(page_data(runs, metric, notes, created_at) | {"noun": noun}),
        "plotly": plotly,
        "script": script,
    }
    # In one pass: what is put in is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], _text("page.html"))


def write_page(path: Path, text: str, option: str = "--output") -> None:
    """Write the page, whole or not at all. Raises UserError, which names the command's `option`, where that fails."""
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        os.replace(part, path)
    except OSError as error:
        with contextlib.suppress(OSError):  # there may be no file to clear away
            part.unlink()
        reason = error.strerror or error
        raise UserError(f"Cannot write {path}: {reason}; {option} FILE chooses another place.") from error


def _text(name: str) -> str:
    return (files("zoo.comparison") / "page" / name).read_text(encoding="utf-8")


def _json(data: dict[str, Any]) -> str:
    """JSON in ASCII in which nothing can end the script element or begin a comment."""
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _inline(script: str) -> str:
    """JavaScript as it may stand between script tags; the newlines are those that a browser makes of it."""
    script = script.replace("\r\n", "\n").replace("\r", "\n")
    # In strings, where alone they can occur, these mean the same.
    return re.sub(r"</(?=script)", r"<\\/", script, flags=re.IGNORECASE).replace("<!--", "\\x3c!--")


def _digest(script: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"

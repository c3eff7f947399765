"""A notebook of docs/notebooks as a page of the site: its text, its code, and the outputs that it was saved with."""

import html
import json
import re
from pathlib import Path
from typing import Any

ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # colours of a terminal


def page(path: Path) -> str:
    """The Markdown of a notebook, with a link to the file behind its first heading."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    first, *others = (_cell(cell) for cell in notebook["cells"])
    return "\n\n".join([first, f'<a href="../{path.name}" download>Download the notebook</a>', *others]) + "\n"


def _cell(cell: dict[str, Any]) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] != "code":
        return source
    return "\n\n".join([_fenced(source, "python"), *map(_output, cell["outputs"])])


def _output(output: dict[str, Any]) -> str:
    """What a cell printed, its picture, or else its result as text."""
    data = output.get("data", {})
    if "image/png" in data:
        encoded = "".join(data["image/png"]).replace("\n", "")
        text = html.escape("".join(data.get("text/plain", "picture")))
        return f'<img alt="{text}" src="data:image/png;base64,{encoded}">'
    return _fenced("".join(data["text/plain"] if data else output["text"]), "text")


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{ESCAPES.sub('', text).rstrip()}\n```"

"""What `mkdocs build` does beside rendering docs/: the page of the API, notebooks, links to files outside of docs/.

On a checkout those links are relative paths. In the site a picture is copied, and other files are linked where
`extra.repository` of mkdocs.yml says where the repository's files are; without it their link is plain text. A link to a
notebook leads to its page.
"""

import importlib.util
import posixpath
import re
from pathlib import Path
from types import ModuleType
from typing import Any

from mkdocs.structure.files import File

LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PICTURES = (".png", ".svg")


def neighbour(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def outside(page: str, target: str) -> str | None:
    """The path below the repository's root where a link of `page`, a path below docs/, leaves docs/; else None."""
    path = target.partition("#")[0]
    if not path or re.match(r"[a-z]+:", path):
        return None
    resolved = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), path))
    return None if resolved.startswith("docs/") else resolved


def on_files(files: Any, config: Any) -> Any:
    """Add the page of the API, those of the notebooks, and the pictures outside of docs/ that pages show."""
    root = Path(config.config_file_path).parent
    files.append(File.generated(config, "api.md", content=neighbour("api_page").page(root)))
    notebook_page = neighbour("notebook_page")
    for file in [each for each in files if each.src_uri.endswith(".ipynb")]:
        content = notebook_page.page(Path(file.abs_src_path))
        files.append(File.generated(config, file.src_uri.removesuffix(".ipynb") + ".md", content=content))
    for file in list(files.documentation_pages()):
        if file.abs_src_path is None:
            continue
        for link in LINK.finditer(Path(file.abs_src_path).read_text(encoding="utf-8")):
            path = outside(file.src_uri, link["target"])
            if path and path.endswith(PICTURES) and path not in files.src_uris:
                files.append(File.generated(config, path, abs_src_path=str(root / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Exchange the links that leave docs/ or lead to a notebook, but for those in code."""

    def exchanged(link: re.Match[str]) -> str:
        path = outside(page.file.src_uri, link["target"])
        if path is None:
            notebook = link["target"].endswith(".ipynb")
            return f"[{link['text']}]({link['target'].removesuffix('.ipynb')}.md)" if notebook else link[0]
        if path.endswith(PICTURES):
            relative = posixpath.relpath(path, posixpath.dirname(page.file.src_uri) or ".")
            return f"{link['image']}[{link['text']}]({relative})"
        repository = config.extra["repository"].rstrip("/")
        return f"[{link['text']}]({repository}/{path})" if repository else link["text"]

    parts, position = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [LINK.sub(exchanged, markdown[position : fence.start()]), fence[0]]
        position = fence.end()
    return "".join([*parts, LINK.sub(exchanged, markdown[position:])])

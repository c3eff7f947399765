"""What `mkdocs build` does beside rendering docs/: the page of the API, and links to files outside of docs/.

On a checkout those links are relative paths. In the site a picture is copied, and other files are linked where
`extra.repository` of mkdocs.yml says where the repository's files are; without it their link is plain text.
"""

import importlib.util
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PICTURES = (".png", ".svg")


def outside(page: str, target: str) -> str | None:
    """The path below the repository's root where a link of `page`, a path below docs/, leaves docs/; else None."""
    path = target.partition("#")[0]
    if not path or re.match(r"[a-z]+:", path):
        return None
    resolved = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), path))
    return None if resolved.startswith("docs/") else resolved


def on_files(files: Any, config: Any) -> Any:
    """Add the page of the API, and the pictures outside of docs/ that pages show."""
    spec = importlib.util.spec_from_file_location("api_page", Path(__file__).with_name("api_page.py"))
    api_page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(api_page)
    root = Path(config.config_file_path).parent
    files.append(File.generated(config, "api.md", content=api_page.page(root)))
    for file in list(files.documentation_pages()):
        if file.abs_src_path is None:
            continue
        for link in LINK.finditer(Path(file.abs_src_path).read_text(encoding="utf-8")):
            path = outside(file.src_uri, link["target"])
            if path and path.endswith(PICTURES) and path not in files.src_uris:
                files.append(File.generated(config, path, abs_src_path=str(root / path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Exchange the links that leave docs/, but for those in code."""

    def exchanged(link: re.Match[str]) -> str:
        path = outside(page.file.src_uri, link["target"])
        if path is None:
            return link[0]
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

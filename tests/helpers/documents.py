"""README.md, CONTRIBUTING.md and the pages of docs/: their code blocks, what is said of running these, their links."""

import ast
import importlib
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from helpers.paths import ROOT

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
GENERATOR = ROOT / "docs" / "generator"
GENERATED = {ROOT / "docs" / "api.md"}  # what mkdocs writes while it builds the site
LANGUAGES = ("python", "pycon", "bash", "text", "yaml")
MARKER = re.compile(r"^<!-- (heavy|not run): (.+) -->$")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block. marker: "heavy", "not run" or None, by the comment above it; line: of its first line, from 1."""

    page: Path
    line: int
    language: str
    marker: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    blocks, start, above = [], None, ""
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith("```") and start is None:
            marker = MARKER.match(above)
            start, language, mark = number, line.removeprefix("```"), marker and marker[1]
        elif line.startswith("```"):
            blocks.append(Block(page, start + 1, language, mark, "\n".join(lines[start : number - 1]) + "\n"))
            start = None
        above = line
    assert start is None, f"{page}: the block in line {start} does not end"
    return blocks


def all_blocks(*languages: str) -> list[Block]:
    return [block for page in PAGES for block in blocks_of(page) if block.language in languages]


def prose_of(page: Path) -> str:
    """The page without its code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", "`code`", text)


def commands_of(block: Block) -> list[list[str]]:
    """The words of each command of a shell block: continued lines joined, comments left out, "a && b" taken apart."""
    commands = []
    for line in block.text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&;|<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in lexer:
            if set(word) <= set("&;|"):
                commands.append(words)
                words = []
            else:
                words.append(word)
        commands.append(words)
    return [words for words in commands if words]


def anchor_of(heading: str) -> str:
    """The anchor of a heading, as mkdocs and GitHub make it."""
    explicit = re.search(r"\{ ?#([\w.-]+) ?\}$", heading)
    if explicit:
        return explicit[1]
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", text.strip().lower()))


def anchors_of(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return {anchor_of(heading) for heading in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)}


def dead_links(prose: str, page: Path) -> list[str]:
    """Links of a page that lead to no file, or to no heading of it; those to other hosts are not looked at."""
    dead = []
    for target in LINK.findall(prose):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if file in GENERATED:
            continue  # mkdocs checks it, see test_site.py
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors_of(file)):
            dead.append(target)
    return dead


def missing_names(code: str) -> list[str]:
    """Modules and attributes of modules that a block names and that do not exist."""
    tree, modules, missing = ast.parse(code), {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                modules[alias.asname or alias.name.partition(".")[0]] = importlib.import_module(
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            missing += [f"{node.module}.{alias.name}" for alias in node.names if not hasattr(module, alias.name)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            module = modules[node.value.id]
            if not hasattr(module, node.attr):
                missing.append(f"{node.value.id}.{node.attr}")
    return missing


def generator(name: str) -> ModuleType:
    """A module of docs/generator, which is no package."""
    if str(GENERATOR) not in sys.path:
        sys.path.append(str(GENERATOR))
    return importlib.import_module(name)

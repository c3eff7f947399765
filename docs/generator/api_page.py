"""The page of the API: signatures and docstrings of all that `blocks` and `zoo` export, read without importing them."""

import ast
import re
import textwrap
from pathlib import Path

SECTION = re.compile(r"^(Args|Raises|Returns|Example):$")
HEADINGS = {"Args": "Arguments", "Raises": "Raises", "Returns": "Returns", "Example": "Example"}
ITEM = re.compile(r"^(?P<names>[\w*.]+(?:, [\w*.]+)*): (?P<text>.*)$", re.DOTALL)
INTRODUCTION = """# API

Every public function, class and layer: arguments, shapes, errors, source, and an example that a test runs. Paste one
into a Python prompt after these lines:

```python
import numpy as np
import keras
import blocks
import zoo

print(blocks.split_channels(67, 4))
```
"""


class Module:
    """A module's syntax tree, and where its names come from."""

    def __init__(self, root: Path, name: str) -> None:
        base = root.joinpath(*name.split("."))
        path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
        self.root, self.name = root, name
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.definitions = {
            node.name: node for node in self.tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)
        }
        self.sources = {
            alias.asname or alias.name: (node.module, alias.name)
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(("blocks", "zoo"))
            for alias in node.names
        }

    def exported(self) -> list[str]:
        """The names of `__all__`."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
                return ast.literal_eval(node.value)
        raise ValueError(f"{self.name} has no __all__.")

    def resolve(self, name: str) -> "tuple[Module, ast.ClassDef | ast.FunctionDef] | None":
        """The module that defines `name`, and the definition; None where that is another library's."""
        if name in self.definitions:
            return self, self.definitions[name]
        if name in self.sources:
            module, original = self.sources[name]
            return Module(self.root, module).resolve(original)
        return None


def signature(module: Module, node: ast.ClassDef | ast.FunctionDef) -> list[str] | None:
    """The arguments as source text, without annotations; of a class those of `__init__`, its own or inherited."""
    if isinstance(node, ast.ClassDef):
        fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
        if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
            return [ast.unparse(each.target) for each in fields]
        for each in node.body:
            if isinstance(each, ast.FunctionDef) and each.name == "__init__":
                return signature(module, each)
        for base in node.bases:
            resolved = module.resolve(ast.unparse(base))
            inherited = resolved and signature(*resolved)
            if inherited:
                return inherited
        return None
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    parts = [_argument(each, default) for each, default in zip(positional, defaults, strict=True) if each.arg != "self"]
    if arguments.vararg:
        parts.append(f"*{arguments.vararg.arg}")
    elif arguments.kwonlyargs:
        parts.append("*")
    parts += [_argument(*pair) for pair in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [*parts, *([f"**{arguments.kwarg.arg}"] if arguments.kwarg else [])]


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return argument.arg if default is None else f"{argument.arg}={ast.unparse(default)}"


def markdown(docstring: str) -> str:
    """A docstring of this project as Markdown: sections as bold headings, arguments as lists, examples as code."""
    lines: list[str] = []
    section: str | None = None
    body: list[str] = []

    def close() -> None:
        if section is None:
            return
        text = textwrap.dedent("\n".join(body)).strip("\n")
        lines.extend([f"**{HEADINGS[section]}**", ""])
        if section == "Example":
            lines.extend(["```pycon", text, "```", ""])
        elif section == "Returns":
            lines.extend([text, ""])
        else:
            entries = re.split(r"\n(?=\S)", text)
            lines.extend([f"- {_entry(each)}" for each in entries] + [""])

    for line in docstring.splitlines():
        start = SECTION.match(line)
        if start:
            close()
            section, body = start[1], []
        elif section and (not line or line.startswith("    ")):
            body.append(line)
        else:
            close()
            section, body = None, []
            lines.append(line)
    close()
    return "\n".join(lines).strip() + "\n"


def _entry(text: str) -> str:
    flat = " ".join(text.split())
    item = ITEM.match(flat)
    if not item:
        return flat
    names = ", ".join(f"`{name}`" for name in item["names"].split(", "))
    return f"{names}: {item['text']}"


def entry(package: Module, name: str) -> str:
    """The section of one public name."""
    resolved = package.resolve(name)
    if resolved is None:
        raise ValueError(f"{package.name}.{name} is defined in another library.")
    arguments = signature(*resolved) or []
    call = f"{package.name}.{name}({', '.join(arguments)})"
    if len(call) > 100:
        call = f"{package.name}.{name}(\n" + "".join(f"    {argument},\n" for argument in arguments) + ")"
    docstring = ast.get_docstring(resolved[1])
    if not docstring:
        raise ValueError(f"{package.name}.{name} has no docstring.")
    return f"### {name} {{ #{package.name}.{name} }}\n\n```text\n{call}\n```\n\n{markdown(docstring)}"


def page(root: Path) -> str:
    """The whole page, of the project in the folder `root`."""
    sections = [INTRODUCTION]
    for package, subject in (("blocks", "layers and block functions"), ("zoo", "networks")):
        module = Module(root, package)
        sections.append(f"## {package}: {subject} {{ #{package} }}\n")
        sections += [entry(module, name) for name in module.exported()]
    return "\n".join(sections)

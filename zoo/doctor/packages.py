"""This project's version and source, and those of the packages that it needs or can use, against its own bounds."""

from __future__ import annotations

import json
import platform
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from zoo.doctor.rows import NOTE, OK, PROBLEM, Row, path_text, shown
from zoo.environment import DISTRIBUTION, TENSORFLOW_PACKAGES, source

ROOT = Path(__file__).resolve().parent.parent.parent  # what holds the packages `blocks` and `zoo`
DEVELOPMENT = ("test", "benchmark", "dev", "docs")  # extras that nobody needs who uses the project


@dataclass(frozen=True)
class Needed:
    """A package, and where the project asks for it: `extra` is None where it cannot do without."""

    requirement: Requirement
    extra: str | None


def rows() -> Iterator[Row]:
    """The project, Python, and each package."""
    python, requirements = needed()
    yield _project()
    yield _python(python)
    for each in requirements:
        yield _package(each)


def needed(distribution: str = DISTRIBUTION) -> tuple[str, list[Needed]]:
    """The versions of Python and the packages that the project asks for, as installed or as pyproject.toml says.

    Raises:
        FileNotFoundError: it is not installed, and there is no pyproject.toml beside it.
    """
    try:
        installed = metadata.distribution(distribution)
        python = installed.metadata["Requires-Python"] or ""
        lines = [(line, _extra(line)) for line in installed.requires or []]
    except metadata.PackageNotFoundError:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        python = project["requires-python"]
        lines = [(line, None) for line in project["dependencies"]]
        lines += [(line, extra) for extra, some in project["optional-dependencies"].items() for line in some]
    unique: dict[str, Needed] = {}  # of those that several extras have, the first
    for line, extra in lines:
        requirement = Requirement(line)
        if extra not in DEVELOPMENT:
            unique.setdefault(canonicalize_name(requirement.name), Needed(requirement, extra))
    return python, list(unique.values())


def _extra(line: str) -> str | None:
    """The extra of a line in the metadata, `x>=1; extra == "export"`."""
    marker = Requirement(line).marker
    extras = metadata.distribution(DISTRIBUTION).metadata.get_all("Provides-Extra") or []
    if marker is None or marker.evaluate({"extra": ""}):
        return None
    return next((extra for extra in extras if marker.evaluate({"extra": extra})), "")


def _project() -> Row:
    try:
        installed = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        text = f"of unknown version, a copy in {path_text(ROOT)} that is not installed"
        remedy = "pip install -e . in the copy installs it, with what it needs."
        data = {"version": None, "editable": False, "folder": path_text(ROOT), **_source()}
        return Row("project.version", NOTE, text, remedy, data)
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    editable = bool(origin.get("dir_info", {}).get("editable"))
    facts = _source()
    data = {"version": installed.version, "editable": editable, "folder": path_text(ROOT), **facts}
    text = f"{installed.version}, {'editable' if editable else 'installed'}, {path_text(ROOT)}"
    if facts["commit"]:
        text += f", commit {str(facts['commit'])[:12]}{' and changes' if facts['dirty'] else ''}"
    home = Path(url2pathname(urlsplit(origin["url"]).path)) if editable else Path(str(installed.locate_file("")))
    if home.resolve() != ROOT:
        remedy = "Unset PYTHONPATH, or leave the folder, to use what is installed."
        text += f"; what is installed lies in {path_text(home)}"
        return Row("project.version", NOTE, text, remedy, data)
    return Row("project.version", OK, text, None, data)


def _source() -> dict[str, str | bool | None]:
    """The commit of a copy of the source; none of packages in an environment that lies in another repository."""
    return source(ROOT) if (ROOT / "pyproject.toml").exists() else {"commit": None, "dirty": None, "changes": None}


def _python(allowed: str) -> Row:
    version = platform.python_version()
    data = {"version": version, "allowed": allowed, "implementation": platform.python_implementation()}
    text = f"{platform.python_implementation()} {version} ({allowed})"
    if SpecifierSet(allowed).contains(version, prereleases=True):
        return Row("project.python", OK, text, None, data)
    remedy = f"Make a virtual environment with a Python that is {allowed}."
    return Row("project.python", PROBLEM, text, remedy, data)


def _package(needed: Needed) -> Row:
    requirement, extra = needed.requirement, needed.extra
    name, allowed = canonicalize_name(requirement.name), str(requirement.specifier)
    key = f"packages.{name}"
    version = _version(name)
    data = {"version": version, "allowed": allowed, "extra": extra}
    if version is None:
        install = f'pip install "{DISTRIBUTION}[{extra}]"' if extra else f'pip install "{name}{allowed}"'
        text = f"not installed ({allowed}{f', for [{extra}]' if extra else ''})"
        return Row(key, NOTE if extra else PROBLEM, text, f"{install} installs it.", data)
    if requirement.specifier.contains(version, prereleases=True):
        return Row(key, OK, f"{shown(version)} ({allowed})", None, data)
    text = f"{shown(version)}, outside of the versions that are tested ({allowed})"
    return Row(key, NOTE if extra else PROBLEM, text, f'pip install "{name}{allowed}" installs one of those.', data)


def _version(name: str) -> str | None:
    for each in TENSORFLOW_PACKAGES if name == "tensorflow" else (name,):
        try:
            return metadata.version(each)
        except metadata.PackageNotFoundError:
            continue
    return None

"""Libraries that a wheel carries: one for each release of TensorFlow, each with all levels of an architecture."""

import json
import sys
from pathlib import Path
from typing import Any

from blocks.kernels import levels, sources
from blocks.kernels.levels import NATIVE

MANIFEST = "manifest.json"  # {"sources": digest, "levels": [...], "tensorflow": {"2.21": file}}


def folder() -> Path:
    """Where the libraries for this architecture are, if there are any: `wheels/build_kernels.py` writes them."""
    return sources.FOLDER / "prebuilt" / levels.machine()


def suitable(tensorflow_version: str, level: str | None) -> Path | None:
    """The library for this machine and release of TensorFlow; None where there is none.

    One of other sources than those beside it is never used: a line on standard error says so.

    Args:
        level: that is to be used; None for the best.
    """
    manifest = folder() / MANIFEST
    if not sys.platform.startswith("linux") or level == NATIVE or not manifest.exists():
        return None
    facts: dict[str, Any] = json.loads(manifest.read_text())
    usable = [each for each in facts["levels"] if each in levels.available()]
    file = facts["tensorflow"].get(minor(tensorflow_version))
    if file is None or not usable or (level is not None and level not in usable):
        return None
    if facts["sources"] != sources.digest():
        print(
            f"blocks: {manifest.parent} has kernels of other sources than these, which are not used; "
            "wheels/build_kernels.py replaces them.",
            file=sys.stderr,
            flush=True,
        )
        return None
    path = manifest.parent / str(file)
    return path if path.exists() else None


def minor(version: str) -> str:
    """2.21 of 2.21.0."""
    return ".".join(version.split(".")[:2])

"""The C++ files of the kernels, and which of them are compiled together."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
# Folders of sources: operations, which need TensorFlow's headers; what chooses a level and runs threads, compiled for
# any processor of its architecture; and the arithmetic, compiled for a level or for this very processor.
TENSORFLOW, DISPATCH, COMPUTE = "tensorflow", "dispatch", "compute"
# Files of the arithmetic that take long to compile, the longest first: each one by itself. The others go together: the
# headers of most take longer than themselves.
ALONE = ("spatial.cc", "depthwise.cc", "depthwise_gradient.cc", "spatial_gradient.cc")
# Products of matrices, which share their tiles.
PRODUCTS = ("dense.cc", "dense_gradient.cc", "pointwise.cc", "pointwise_gradient.cc")


@dataclass(frozen=True)
class Unit:
    """Sources that are compiled together, as one translation unit."""

    name: str
    is_arithmetic: bool
    sources: tuple[Path, ...]

    def text(self) -> str:
        return "".join(f'#include "{path}"\n' for path in self.sources)


def sources(folder: str = "", suffixes: tuple[str, ...] = (".cc", ".h")) -> list[Path]:
    """The C++ files of `folder` and of those below it, sorted."""
    return sorted(path for path in (FOLDER / folder).rglob("*") if path.suffix in suffixes)


def units() -> list[Unit]:
    """Every source once, in the order in which they begin to be compiled: the longest first, as far as is known.

    The operations are one unit: parsing TensorFlow's headers takes 5 of the 6 s that one file of them takes.
    """
    arithmetic = sources(COMPUTE, (".cc",))
    groups = [(name.removesuffix(".cc"), True, [path for path in arithmetic if path.name == name]) for name in ALONE]
    operations = [*sources(TENSORFLOW, (".cc",)), *sources(DISPATCH, (".cc",))]
    groups.insert(1, ("operations", False, operations))
    rest = [path for path in arithmetic if path.name not in (*ALONE, *PRODUCTS)]
    groups += [("rest", True, rest), ("products", True, [path for path in arithmetic if path.name in PRODUCTS])]
    return [Unit(name, is_arithmetic, tuple(paths)) for name, is_arithmetic, paths in groups if paths]


def digest() -> str:
    """A name for the content of all sources."""
    text = hashlib.sha256()
    for source in sources():
        text.update(f"{source.relative_to(FOLDER).as_posix()}\0".encode() + source.read_bytes())
    return text.hexdigest()[:24]

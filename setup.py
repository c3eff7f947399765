"""The wheel's tag: of the platform whose kernels it carries (see wheels/build_kernels.py), or of any without them."""

import importlib.util
import json
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel

KERNELS = Path(__file__).parent / "blocks" / "kernels"


def manifest() -> tuple[str, dict] | None:
    """Architecture and facts of the kernels that are there; None without any."""
    paths = sorted(KERNELS.glob("prebuilt/*/manifest.json"))
    if not paths:
        return None
    if len(paths) > 1:
        names = " and ".join(path.parent.name for path in paths)
        sys.exit(f"{KERNELS / 'prebuilt'} has kernels for {names}, and a wheel carries those of one: move one away.")
    return paths[0].parent.name, json.loads(paths[0].read_text())


def digest() -> str:
    """Of the sources, without importing the package and what it needs."""
    spec = importlib.util.spec_from_file_location("kernel_sources", KERNELS / "sources.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.digest()


class Project(Distribution):
    def has_ext_modules(self) -> bool:
        """Whether it is installed where what is of one platform goes."""
        return super().has_ext_modules() or any(KERNELS.glob("prebuilt/*/manifest.json"))


class WheelWithKernels(bdist_wheel):
    def run(self) -> None:
        if (kernels := manifest()) and kernels[1]["sources"] != digest():
            sys.exit(f"{KERNELS / 'prebuilt'} is of other sources than these: run wheels/build_kernels.py again.")
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        kernels = manifest()
        if kernels is None:
            return super().get_tag()
        machine, facts = kernels
        return "py3", "none", f"manylinux_{facts['glibc'].replace('.', '_')}_{machine}"


setup(distclass=Project, cmdclass={"bdist_wheel": WheelWithKernels})

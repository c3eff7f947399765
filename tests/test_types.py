"""A type checker finds nothing in blocks, zoo and train.py, and sees what it is there for."""

import subprocess
import sys

import pytest

from helpers.paths import ROOT
from zoo.registry import FAMILIES, config_class

# Mistakes in a user's program -> what is said of them. `Any` in the place of a type would say nothing.
MISTAKES = {
    "blocks.conv_norm([1, 2], 8)": 'expected "Tensor"',
    "blocks.split_channels('64', 5)": 'expected "int"',
    "zoo.create(3)": 'expected "str | ModelConfig | None"',
    "variant('resnet50').with_groups('8')": 'expected "int"',
    "variant('resnet50').depths": 'has no attribute "depths"',
    "zoo.feature_info('resnet50')[0].stride.name": '"int" has no attribute "name"',
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What mypy says, by the project's own settings: of all its files, of every family as a family, of MISTAKES."""
    folder = tmp_path_factory.mktemp("types")
    families = ["from zoo.typing import Family, ModelConfig"]
    for number, (name, module) in enumerate(FAMILIES.items()):
        families += [
            f"import {module} as family{number}",
            f"from {module} import {config_class(name).__name__} as Config{number}",
            f"checked{number}: Family[Config{number}] = family{number}",
            f"def config{number}(config: Config{number}) -> ModelConfig: return config",
        ]
    user = ["import blocks, zoo", "from zoo.registry import variant", *MISTAKES]
    for file, lines in (("families.py", families), ("user.py", user)):
        (folder / file).write_text("\n".join(lines))
    command = [sys.executable, "-m", "mypy", "--no-error-summary", f"--cache-dir={folder / 'cache'}"]
    command += ["blocks", "zoo", "train.py", str(folder / "families.py"), str(folder / "user.py")]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    of_file = {name: [line for line in lines if f"/{name}.py:" in line] for name in ("families", "user")}
    return of_file | {"project": [line for line in lines if line not in (*of_file["families"], *of_file["user"])]}


def test_the_project_is_well_typed(report):
    assert report["project"] == []


def test_every_family_is_one_and_its_dataclass_a_configuration(report):
    """Also one that somebody adds: a missing name, or a method with other arguments, is an error."""
    assert report["families"] == []


def test_users_see_the_types(report):
    """py.typed says that the packages have them."""
    errors = [line for line in report["user"] if ": error: " in line]
    assert len(errors) == len(MISTAKES), errors
    for line, number, expected in zip(errors, range(3, 3 + len(MISTAKES)), MISTAKES.values(), strict=True):
        assert f"user.py:{number}: " in line and expected in line

"""A type checker finds nothing in blocks, zoo and train.py, and sees what it is there for."""

import subprocess
import sys
from pathlib import Path

import pytest

from zoo.registry import FAMILIES, config_class

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Keras is read once for all checks."""
    return tmp_path_factory.mktemp("mypy")


def check(cache, *arguments):
    """What mypy prints, by the project's own settings; of files that it is given, or of all."""
    command = [sys.executable, "-m", "mypy", "--no-error-summary", f"--cache-dir={cache}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout


def test_the_project_is_well_typed(cache):
    assert check(cache) == ""


def test_every_family_is_one_and_its_dataclass_a_configuration(cache, tmp_path):
    """Also of a family that somebody adds: a missing name, or a method with other arguments, is an error."""
    lines = ["from zoo.typing import Family, ModelConfig"]
    for number, (name, module) in enumerate(FAMILIES.items()):
        kind = config_class(name).__name__
        lines += [
            f"from {module} import {kind} as Config{number}",
            f"import {module} as family{number}",
            f"checked{number}: Family[Config{number}] = family{number}",
            f"def config{number}(config: Config{number}) -> ModelConfig: return config",
        ]
    file = tmp_path / "families.py"
    file.write_text("\n".join(lines))
    assert check(cache, file) == ""


def test_users_see_the_types(cache, tmp_path):
    """py.typed says that the packages have them; `Any` in the place of a type would report nothing."""
    reported = {
        "blocks.conv_norm([1, 2], 8)": 'expected "Tensor"',
        "blocks.split_channels('64', 5)": 'expected "int"',
        "zoo.create(3)": 'expected "str | ModelConfig | None"',
        "variant('resnet50').with_groups('8')": 'expected "int"',
        "variant('resnet50').depths": 'has no attribute "depths"',
        "zoo.feature_info('resnet50')[0].stride.name": '"int" has no attribute "name"',
    }
    file = tmp_path / "user.py"
    file.write_text("\n".join(["import blocks, zoo", "from zoo.registry import variant", *reported]))
    lines = check(cache, file).splitlines()
    for number, (code, error) in enumerate(reported.items(), start=3):
        assert any(f"user.py:{number}: error" in line and error in line for line in lines), (code, lines)

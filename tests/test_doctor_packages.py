"""`zoo doctor`: the packages that are installed, and where this project is."""

import json

from helpers.processes import run_code
from zoo.doctor import packages
from zoo.doctor.rows import OK


def test_an_editable_copy_may_lie_in_a_folder_whose_name_has_a_space(monkeypatch, tmp_path):
    class Installed:
        version = "1.0"

        def read_text(self, name):
            return json.dumps({"url": f"{tmp_path.as_uri()}/my%20copy", "dir_info": {"editable": True}})

    monkeypatch.setattr(packages.metadata, "distribution", lambda name: Installed())
    monkeypatch.setattr(packages, "ROOT", tmp_path / "my copy")
    assert packages._project().status == OK


def test_packages_and_bounds(tmp_path):
    _, requirements = packages.needed()
    by_name = {each.requirement.name: each for each in requirements}
    assert by_name["tensorflow"].extra is None and by_name["torch"].extra == "torch"
    assert by_name["tf2onnx"].extra == "export" and not {"pytest", "ruff", "timm"} & set(by_name)
    # As in a copy that is not installed, from pyproject.toml: the same packages, but for what an installation may lack.
    python, from_project = packages.needed("a-distribution-that-is-not-installed")
    assert python == ">=3.11,<3.14" and {each.requirement.name for each in from_project} >= {
        "keras",
        "jax",
        "packaging",
    }
    code = """
import sys, importlib.metadata as m
from zoo.doctor import packages
versions = {"numpy": "1.26.4", "keras": "3.15.0rc0"}
m.version = lambda name: versions.get(name) or (_ for _ in ()).throw(m.PackageNotFoundError(name))
for row in packages.rows():
    print(row.key, row.status, row.text, row.remedy, sep=";")
"""
    rows = dict(line.split(";", 1) for line in run_code(code, cwd=tmp_path).splitlines())
    assert rows["packages.numpy"].startswith("problem;1.26.4, outside of the versions that are tested (<3,>=2.0);")
    assert rows["packages.keras"].startswith("ok;3.15.0rc0")
    assert rows["packages.click"].startswith("problem;not installed")
    assert 'grouped-convolution-zoo[torch]" installs it' in rows["packages.torch"]

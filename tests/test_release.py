"""Versions, and what a release is made of: the changelog, the citation, the list of files, the workflow."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import zoo
from helpers.paths import ROOT
from helpers.processes import git
from zoo.__main__ import run
from zoo.environment import own_version

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ARCHIVED = ROOT / ".git_archival.txt"
WORKFLOW = (ROOT / ".github" / "workflows" / "release.yml").read_text()


def test_the_version_is_the_same_everywhere(capsys):
    own = own_version()
    assert zoo.__version__ == (own or "0+unknown")
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith(f"zoo {own}" if own else "zoo of unknown version")
    assert PROJECT["project"]["dynamic"] == ["version"] and "version" not in PROJECT["project"]


def version_in(folder: Path) -> str:
    """What setuptools-scm takes for the version of a project there."""
    command = [
        sys.executable,
        "-m",
        "setuptools_scm",
        "--root",
        str(folder),
        "--config",
        str(folder / "pyproject.toml"),
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout.strip()


@pytest.mark.parametrize("tagged", [False, True], ids=["without a tag", "with a tag"])
def test_versions_are_those_of_tags(tagged, tmp_path):
    """In a repository, and in what `git archive` makes of it, which has no .git."""
    pytest.importorskip("setuptools_scm", reason="of the extra test")
    repository, archive = tmp_path / "repository", tmp_path / "archive"
    repository.mkdir()
    for name in ("pyproject.toml", ".gitattributes", ".git_archival.txt"):
        shutil.copy(ROOT / name, repository)
    # As it is committed: in an archive of this project, where the tests may run, the pattern has been filled in.
    (repository / ".git_archival.txt").write_text("describe-name: $Format:%(describe:tags=true,match=v*)$\n")
    git(repository, "init", "--quiet")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "a")
    fallback = PROJECT["tool"]["setuptools_scm"]["fallback_version"]

    def archived() -> str:
        shutil.rmtree(archive, ignore_errors=True)
        archive.mkdir()
        git(repository, "archive", "--output", str(tmp_path / "archive.tar"), "HEAD")
        shutil.unpack_archive(tmp_path / "archive.tar", archive, filter="data")
        return version_in(archive)

    if not tagged:
        assert archived() == fallback
        assert re.fullmatch(re.escape(fallback.removesuffix("0")) + r"1\+g[0-9a-f]+", version_in(repository))
        return
    git(repository, "tag", "-a", "v1.2.3", "-m", "x")
    assert archived() == version_in(repository) == "1.2.3"
    git(repository, "commit", "--quiet", "--allow-empty", "-m", "b")
    assert re.fullmatch(r"1\.2\.4\.dev1\+g[0-9a-f]+", version_in(repository))
    assert re.fullmatch(r"1\.2\.4\.dev1\+g[0-9a-f]+", archived())


def test_the_pattern_of_archives_is_there():
    """Filled in, or as it is committed; in an archive of a commit behind no tag it is empty."""
    assert re.fullmatch(r"describe-name: (\$Format:%\(describe:tags=true,match=v\*\)\$|v\S+|)\n", ARCHIVED.read_text())
    assert ".git_archival.txt export-subst" in (ROOT / ".gitattributes").read_text()


def test_the_citation():
    """What version 1.2.0 of the Citation File Format asks for; the release checks it against the whole schema."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0" and citation["type"] == "software"
    assert citation["license"] == PROJECT["project"]["license"] and "version" not in citation
    assert citation["authors"] and all("name" in each or "family-names" in each for each in citation["authors"])


def test_the_changelog():
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "[Unreleased]"
    for heading in headings[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading)
    kinds = set(re.findall(r"^### (.*)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_workflow():
    """Actions are pinned to commits, no job has more rights than it uses, and no token is stored."""
    workflow = yaml.safe_load(WORKFLOW)
    jobs = workflow["jobs"]
    assert workflow[True] == {"push": {"tags": ["v*"]}} and workflow["permissions"] == {}
    steps = [step for job in jobs.values() for step in job["steps"]]
    for step in steps:
        assert "uses" not in step or re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", step["uses"]), step
        assert "${{" not in step.get("run", ""), "names of tags reach a shell as variables alone"
    assert {name: job["permissions"] for name, job in jobs.items() if job["permissions"]} == {
        "source": {"contents": "read"}, "build": {"contents": "read"},
        "attach": {"contents": "write"}, "publish": {"id-token": "write"},
    }  # fmt: skip
    assert "secrets." not in WORKFLOW and "password" not in WORKFLOW
    assert jobs["publish"]["environment"] == "pypi" and jobs["publish"]["needs"] == "attach"
    assert set(jobs["attach"]["needs"]) >= {"wheel", "sdist"}, "nothing is published before it is tested"
    for step in steps:  # what it runs is there
        for path in re.findall(r"\b(?:tests|wheels)/[\w/]+\.py", step.get("run", "")):
            assert (ROOT / path).exists(), path


@pytest.mark.heavy
def test_the_source_is_whole_and_builds_without_git(tmp_path):
    """The sdist has what git has; from it comes a wheel of the same version, without a repository."""
    pytest.importorskip("setuptools_scm", reason="of the extra test")
    if not (ROOT / ".git").exists():
        pytest.skip("no repository")
    listed = set(git(ROOT, "ls-files").splitlines())
    git(tmp_path, "clone", "--quiet", str(ROOT), "clone")
    expected = version_in(tmp_path / "clone")

    def build(kind: str, folder: Path) -> Path:
        code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(tmp_path)!r}))"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=folder)
        return tmp_path / done.stdout.splitlines()[-1]

    sdist = build("sdist", tmp_path / "clone")
    assert sdist.name == f"grouped_convolution_zoo-{expected}.tar.gz"
    shutil.unpack_archive(sdist, tmp_path / "source", filter="data")
    source = tmp_path / "source" / sdist.name.removesuffix(".tar.gz")
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert listed <= files and {"train.py", "conf/config.yaml", "tests/conftest.py", "docs/doctor.md"} <= files
    wheel = build("wheel", source)
    assert wheel.name.startswith(f"grouped_convolution_zoo-{expected}-")

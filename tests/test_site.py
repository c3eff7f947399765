"""The site builds without a warning and loads nothing from elsewhere; the page of blocks is what the blocks say."""

import html
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import blocks
import zoo
from helpers.chromium import IS_LOADED, complaints, requests, show
from helpers.documents import NOTEBOOKS, generator
from helpers.paths import ROOT
from helpers.processes import process_environment

# Attributes whose address a browser loads by itself; of `link` by its rel.
LOADING = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}
PASSIVE_LINKS = {"canonical", "next", "prev", "edit", "alternate"}


class Loaded(HTMLParser):
    """Addresses that a page loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag == "link" and values.get("rel") not in PASSIVE_LINKS:
            self.addresses.append(values.get("href") or "")
        elif tag in LOADING:
            self.addresses.append(values.get(LOADING[tag]) or "")


def elsewhere(text: str) -> list[str]:
    """What an HTML page loads from another server."""
    return [address for address in Loaded(text).addresses if re.match(r"(?:https?:)?//", address)]


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address at which the files in `folder` are served."""
    handler = partial(QuietHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as own:
        threading.Thread(target=own.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{own.server_port}/"
        own.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Nothing: a test's output is its own."""


def build(folder: Path, output: Path) -> subprocess.CompletedProcess:
    """The finished `mkdocs build --strict` of the project in `folder`."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(output)]
    env = process_environment(NO_MKDOCS_2_WARNING="1")
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=200)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    for name in ("mkdocs", "material"):
        pytest.importorskip(name, reason="the extra 'docs' is not installed")
    output = tmp_path_factory.mktemp("site")
    done = build(ROOT, output)
    assert done.returncode == 0, done.stderr
    return output


def test_the_site_has_every_page_and_loads_nothing_from_elsewhere(site):
    pages = {str(path.relative_to(site).parent) for path in site.rglob("index.html")}
    expected = {str(path.relative_to(ROOT / "docs").with_suffix("")) for path in (ROOT / "docs").glob("*.md")}
    notebooks = {f"notebooks/{path.stem}" for path in NOTEBOOKS}
    assert pages == (expected - {"index"}) | {".", "api", "comparison"} | notebooks
    for path in site.rglob("*.html"):
        assert not elsewhere(path.read_text(encoding="utf-8")), path
    for path in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )['\"]?(?:https?:)?//", path.read_text(encoding="utf-8")), path


def test_pictures_outside_of_docs_are_in_the_site(site):
    assert (site / "benchmarks" / "results" / "models-train.svg").is_file()
    text = (site / "index.html").read_text(encoding="utf-8")
    assert 'src="benchmarks/results/models-train.svg"' in text


def test_notebooks_are_pages_with_their_outputs(site):
    """And links to them lead there, not to the files, which can be downloaded."""
    for path in NOTEBOOKS:
        text = (site / "notebooks" / path.stem / "index.html").read_text(encoding="utf-8")
        address = re.search(r'<a href="([^"]+)" download', text)[1]
        assert (site / "notebooks" / path.stem / address).read_bytes() == path.read_bytes()
        printed = [
            "".join(output["text"]).splitlines()[0]
            for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
            for output in cell.get("outputs", ())
            if output["output_type"] == "stream"
        ]
        assert printed and not [line for line in printed if html.escape(line, quote=False) not in text]
    overview = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="notebooks/reuse/">' in overview.partition("<article")[2] and ".ipynb" not in overview


def test_the_api_has_every_public_name_with_its_arguments(site):
    text = (site / "api" / "index.html").read_text(encoding="utf-8")
    names = [f"{package.__name__}.{name}" for package in (blocks, zoo) for name in package.__all__]
    assert not [name for name in names if f'id="{name}"' not in text]
    assert "kernel_initializer=" in text


# What is wider than the page, but for what scrolls by itself or is inside of that.
TOO_WIDE = """
const scrolls = e => !e.matches(".md-content") && (
  ["auto", "scroll", "hidden"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
return [...document.querySelectorAll(".md-content *")]
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e)).map(e => e.outerHTML.slice(0, 80))"""
# Text whose contrast with what is behind it is under 3 to 1 (WCAG 2.2, 1.4.3, of large text).
TOO_FAINT = """
const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
const paint = (colour, behind) => {
  canvas.fillStyle = `rgb(${behind})`; canvas.fillRect(0, 0, 1, 1);
  canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)};
const light = rgb => rgb.map(c => c / 255).map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
const behind = e => e ? paint(getComputedStyle(e).backgroundColor, behind(e.parentElement)) : [255, 255, 255];
const contrast = e => {
  const back = behind(e), [a, b] = [light(paint(getComputedStyle(e).color, back)), light(back)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05)};
return [...document.querySelectorAll(".md-content *")]
  .filter(e => e.checkVisibility({opacityProperty: true, visibilityProperty: true}) && e.getClientRects().length &&
               [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()) && contrast(e) < 3)
  .map(e => `${contrast(e).toFixed(2)} ${e.outerHTML.slice(0, 80)}`)"""


@pytest.mark.heavy
@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_in_a_browser(site, browser, width, scheme):
    """No message on the console, nothing asked from elsewhere, nothing cut off or too faint to read."""
    with server(site) as address:
        for path in sorted(site.rglob("index.html")):
            page = address + str(path.parent.relative_to(site)) + "/"
            show(browser, page, width, scheme=scheme, until=IS_LOADED)
            asked = [each for each in requests(browser) if not each.startswith((address, "data:", "about:", "blob:"))]
            faults = complaints(browser), asked, browser.execute_script(TOO_WIDE), browser.execute_script(TOO_FAINT)
            assert faults == ([], [], [], []), page
            background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
            assert (background == "rgb(255, 255, 255)") == (scheme == "light"), page


def test_a_dead_link_ends_the_build(site, tmp_path):
    """`site` for its reason to be skipped."""
    for name in ("blocks", "zoo"):
        os.symlink(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "docs" / "generator", tmp_path / "docs" / "generator")
    (tmp_path / "docs" / "index.md").write_text("# Here\n\n[there](there.md)\n")
    settings = (ROOT / "mkdocs.yml").read_text().partition("nav:")[0]
    (tmp_path / "mkdocs.yml").write_text(settings.replace("extra_css: [site.css]\n", ""))
    done = build(tmp_path, tmp_path / "out")
    assert done.returncode != 0 and "there.md" in done.stderr


def test_what_a_page_loads_from_elsewhere_is_seen():
    text = '<script src="//a.b/c.js"></script><link rel="stylesheet" href="https://a.b/c.css"><a href="https://a.b">'
    assert elsewhere(text) == ["//a.b/c.js", "https://a.b/c.css"]


def test_docstrings_become_sections():
    text = generator("api_page").markdown("Do.\n\nArgs:\n    x: one\n        of two.\n\nExample:\n    >>> 1\n    1\n")
    assert text == "Do.\n\n**Arguments**\n\n- `x`: one of two.\n\n**Example**\n\n```pycon\n>>> 1\n1\n```\n"


# Some of each kind; the heavy test has all.
SAMPLE = {"GroupedConv2D", "ChannelShuffle", "conv_norm", "resnext_block", "shufflenet_v2_unit", "split_attention"}


def test_sections_and_pictures_of_some_blocks_are_what_the_blocks_say():
    page = (ROOT / "docs" / "blocks.md").read_text(encoding="utf-8")
    texts = generator("block_page").files(SAMPLE)
    sections = re.split(r"(?=^##+ )", texts.pop("blocks.md"), flags=re.MULTILINE)
    assert len([each for each in sections if each.startswith("### ")]) == len(SAMPLE) == len(texts) - 1
    outdated = [each.partition("\n")[0] for each in sections if each.strip() not in page]
    outdated += [path for path, text in texts.items() if (ROOT / "docs" / path).read_text(encoding="utf-8") != text]
    assert not outdated, "python docs/generator/block_page.py writes them anew"


@pytest.mark.heavy
def test_the_page_of_blocks_and_its_pictures_are_what_the_blocks_say():
    outdated = [
        path
        for path, text in generator("block_page").files().items()
        if not (ROOT / "docs" / path).is_file() or (ROOT / "docs" / path).read_text(encoding="utf-8") != text
    ]
    assert not outdated, "python docs/generator/block_page.py writes them anew"


def test_every_public_block_is_on_the_page():
    block_list = generator("block_list")
    names = [block.name for _, entries in block_list.SECTIONS for block in entries]
    assert len(names) == len(set(names))
    assert set(names) | block_list.TOOLS == set(blocks.__all__)


def test_pictures_have_no_box_outside_and_none_left_over():
    names = {block.name for _, entries in generator("block_list").SECTIONS for block in entries}
    pictures = {path.stem: path.read_text() for path in (ROOT / "docs" / "pictures").glob("*.svg")}
    assert set(pictures) == names | {"groups"}
    for name, text in pictures.items():
        width = float(re.search(r"<svg [^>]*width='(\d+)'", text)[1])
        for x, box in re.findall(r"<rect x='(-?\d+)' [^>]*width='(\d+)'", text):
            assert float(x) >= 0 and float(x) + float(box) <= width, name

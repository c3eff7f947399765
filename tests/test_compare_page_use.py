"""The page of a comparison in use, in a real Chromium: by keyboard, on narrow screens, in the dark, with much in it."""

import pytest

from helpers import run_directories
from helpers.chromium import complaints, show, wait
from helpers.comparison_page import ROWS, write_page_of

FOCUS = """
    const at = document.activeElement;
    return [at.tagName, at.id || at.name || at.dataset.sort || "", at.value || ""];
"""
OVERFLOW = """
    const wide = document.documentElement.clientWidth;
    const scrolls = ".scroll, .tall, .front, svg, .skip, option"; // what is in there may be wider
    const outside = [...document.querySelectorAll("body *")].filter((each) => !each.closest(scrolls));
    const beyond = outside.filter((each) => each.getBoundingClientRect().right > wide + 1);
    return [document.documentElement.scrollWidth - wide, beyond.map((each) => each.outerHTML.slice(0, 90))];
"""
WIDTHS = "return [...document.querySelectorAll('#scatters .main-svg')].map((svg) => svg.getBoundingClientRect().width)"
# The luminance of the page, and the least contrast of texts, of labels in charts and of symbols (WCAG 2.2's formulas).
BRIGHTNESS = """
    const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const parts = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((value) => linear(value / 255));
    const luminance = (colour) => parts(colour).reduce((sum, each, at) => sum + each * [0.2126, 0.7152, 0.0722][at], 0);
    const contrast = (one, other) => {
        const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
    };
    const behind = (each) => {
        const colour = getComputedStyle(each).backgroundColor;
        return /, 0\\)$/.test(colour) ? behind(each.parentElement) : colour;
    };
    const least = (selector, property) => {
        const all = [...document.querySelectorAll(selector)].filter((each) => each.getBoundingClientRect().height);
        return Math.min(...all.map((each) => contrast(getComputedStyle(each)[property], behind(each))));
    };
    const texts = "p, h1, h2, h3, h4, td, th, label, legend, li, .badge, button:enabled, .at, .place, .error, select";
    return [luminance(getComputedStyle(document.body).backgroundColor), least(texts, "color"),
        least("#scatters svg text", "fill"), least("#legend .swatch path", "fill")];
"""
RANKS = "return [...document.querySelectorAll('#table [data-row] td:nth-child(2)')].map((cell) => cell.textContent)"
BODIES = "return [...document.querySelectorAll('#table [scope=rowgroup]')].map((cell) => cell.textContent)"
FRONTS = "return document.getElementById('scatter-macs').data.filter((trace) => trace.meta === 'front').length"
MATRIX = """
    const chart = document.querySelector(".matrix .chart");
    return [chart.data[0].z.length, chart.querySelectorAll(".ytick text").length];
"""
MORE_CLASSES = """
    const many = document.getElementById("many");
    many.value = "more";
    many.dispatchEvent(new Event("change", { bubbles: true }));
"""
LABEL = "return document.activeElement.ariaLabel ?? ''"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def address(folder):
    run_directories.write_sweep(folder / "sweep", seeds=2)
    long = run_directories.result("regnet", 8, name="x" * 250, dataset="fashion_mnist")
    run_directories.write_run(folder / "sweep" / "99", long)
    return write_page_of(folder / "sweep")


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    for key in keys:
        ActionChains(browser).send_keys(key).perform()


def tab_to(browser, is_target):
    """Press Tab until the focus is on something of which `wanted` is true; its tag, name and value."""
    from selenium.webdriver.common.keys import Keys

    for _ in range(80):
        press(browser, Keys.TAB)
        focus = browser.execute_script(FOCUS)
        if is_target(focus):
            outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid", f"the focus on {focus} cannot be seen"
            return focus
    pytest.fail("80 times Tab did not lead there")


def test_everything_is_reached_by_keyboard(browser, address):
    from selenium.webdriver.common.keys import Keys

    show(browser, address)
    press(browser, Keys.TAB)
    assert browser.execute_script("return document.activeElement.className") == "skip"
    tab_to(browser, lambda focus: focus[1] == "search")
    tab_to(browser, lambda focus: focus[1] == "metric")
    tab_to(browser, lambda focus: focus[1] == "family" and focus[2] == "regnet")
    press(browser, Keys.SPACE)
    assert len(browser.execute_script(ROWS)) == 2
    press(browser, Keys.SPACE)
    everything = browser.execute_script(ROWS)
    assert len(everything) > 10
    tab_to(browser, lambda focus: focus[1] == "macs")
    sorts = "return document.querySelector('#table [data-sort=macs]').closest('th').ariaSort"
    assert browser.execute_script(sorts) == "none"
    press(browser, Keys.ENTER)
    assert browser.execute_script(sorts) == "ascending"
    cheapest = browser.execute_script(ROWS)
    assert cheapest[0].startswith("mobilenet_v3") and sorted(cheapest) == sorted(everything)
    press(browser, Keys.SPACE)  # the focus has stayed on the button
    assert browser.execute_script(sorts) == "descending"
    assert browser.execute_script(ROWS)[0].startswith("convnext")
    tab_to(browser, lambda focus: browser.execute_script(LABEL).startswith("Choose "))
    press(browser, Keys.SPACE)
    assert len(browser.execute_script("return document.getElementById('chosen').children")) == 3
    assert not complaints(browser)


@pytest.mark.parametrize("width", [400, 700, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_width_in_light_and_dark(browser, address, width, scheme):
    show(browser, address, width, 900, scheme)
    for part in ("curves", "classes", "difference"):
        browser.execute_script(f"document.getElementById('{part}').scrollIntoView()")
        wait(browser, f"return document.getElementById('{part}').querySelector('[data-drawn], table, p')")
    wait(browser, "return document.querySelector('.matrix [data-drawn]')")
    assert browser.execute_script(OVERFLOW) == [0, []]
    charts = browser.execute_script(WIDTHS)
    assert charts and all(200 < each <= width for each in charts)
    background, texts, labels, marks = browser.execute_script(BRIGHTNESS)
    assert (background < 0.05) == (scheme == "dark")
    assert texts >= 4.5 and labels >= 4.5 and marks >= 3
    assert not complaints(browser)


def test_the_button_changes_the_colours_of_page_and_charts(browser, address):
    show(browser, address)
    ink = "return [getComputedStyle(document.body).color, document.getElementById('scatter-macs').layout.font.color]"
    before = browser.execute_script(ink)
    browser.execute_script("document.getElementById('theme').click()")
    after = browser.execute_script(ink)
    assert before[0] != after[0] and before[1] != after[1]
    assert browser.execute_script("return document.getElementById('theme').ariaPressed") == "true"


def test_data_sets_are_ranked_apart(browser, folder):
    for number, (dataset, top1) in enumerate([("digits", 0.9), ("digits", 0.99), ("cifar10", 0.5), ("cifar10", 0.6)]):
        result = run_directories.result("resnext", 2**number, dataset=dataset, name=f"{dataset}-{top1}", val_top1=top1)
        run_directories.write_run(folder / "two" / str(number), result)
    show(browser, write_page_of(folder / "two"))
    assert browser.execute_script(ROWS) == ["cifar10-0.6", "cifar10-0.5", "digits-0.99", "digits-0.9"]
    assert browser.execute_script(RANKS) == ["1", "2", "1", "2"]
    assert browser.execute_script(BODIES) == ["Data set cifar10", "Data set digits"]
    assert browser.execute_script(FRONTS) == 2
    assert "cannot be compared" in browser.execute_script("return document.getElementById('cost-lead').textContent")


@pytest.mark.heavy
def test_a_thousand_classes(browser, folder):
    names = tuple(f"class {number}" for number in range(1000))
    for seed in (0, 1):
        result = run_directories.result("resnext", 32, seed, dataset="imagenet2012")
        result["config"]["recipe"]["batch_size"] = 64 * (seed + 1)
        run_directories.write_run(folder / "many" / str(seed), result, classes=names)
    show(browser, write_page_of(folder / "many"))
    browser.execute_script("document.getElementById('classes').scrollIntoView()")
    wait(browser, "return document.querySelectorAll('.matrix [data-drawn]').length === 2")
    assert browser.execute_script(MATRIX) == [30, 30]
    browser.execute_script(MORE_CLASSES)
    wait(browser, "return document.querySelector('.matrix .chart')?.data?.[0].z.length === 120")
    assert not complaints(browser)
    shown = browser.execute_script("return document.querySelector('#difference table')?.textContent")
    assert shown and "recipe.batch_size" in shown

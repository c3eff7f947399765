"""The page of a comparison as a reader sees it, in a real Chromium: nothing overlaps, is cut off or looks alike."""

import itertools

import pytest

from helpers import run_directories
from helpers.chromium import complaints, show, wait
from helpers.comparison_page import write_page_of
from zoo.comparison import table
from zoo.comparison.ranking import ranked
from zoo.comparison.reading import read_runs

COSTS = ("macs", "parameters", "latency_seconds")
# Boxes of the numbers, and of the chart: left, top, right, bottom.
NUMBERS = """
    const chart = document.getElementById(arguments[0]);
    const box = (each) => {
        const { left, top, right, bottom } = each.getBoundingClientRect();
        return [left, top, right, bottom];
    };
    const numbers = [...chart.querySelectorAll(".annotation-text")].map((each) => [each.textContent, ...box(each)]);
    return [numbers, box(chart)];
"""
MEMBERS = "return document.querySelectorAll(`#front-${arguments[0]} [data-member]`).length"
# How far the table is wider than what is left of its box where a scroll bar takes 17 pixels.
EXCESS = """
    const box = document.getElementById("table-box");
    box.style.paddingRight = "17px";
    const [last] = [...document.querySelectorAll("#table thead th")].slice(-1);
    const right = (each) => each.getBoundingClientRect().right;
    return [box.scrollWidth - box.clientWidth, last.textContent, right(last) - right(box)];
"""
LINES = """
    const lines = (each) => each.getBoundingClientRect().height / parseFloat(getComputedStyle(each).lineHeight);
    const names = [...document.querySelectorAll("#table th.name .clip, .front .name")];
    return names.map((name) => [name.textContent, Math.round(lines(name))]);
"""
CELLS = """
    return [...document.querySelectorAll("#table [data-row]")].map((line) => (
        [line.dataset.row, [...line.children].map((cell) => cell.textContent)]));
"""
HEADINGS = "return [...document.querySelectorAll('#table thead th')].map((cell) => cell.textContent)"
CURVES = """
    return ["val_top1", "train_loss", "val_loss"].map((key) => {
        const chart = document.getElementById(`curve-${key}`);
        return chart.data.map((trace) => ({
            labels: [...new Set(trace.text.filter(Boolean))],
            width: trace.line.width, colour: trace.line.color, opacity: trace.opacity,
        }));
    });
"""
# Where on the screen the last epoch of the run with this label is.
PLACE = """
    const chart = document.getElementById("curve-val_top1");
    chart.scrollIntoView({ block: "center" });
    const trace = chart.data.find((each) => each.text.includes(arguments[0]));
    const at = trace.text.lastIndexOf(arguments[0]);
    const { left, top } = chart.getBoundingClientRect();
    const { xaxis, yaxis } = chart._fullLayout;
    return [left + xaxis._offset + xaxis.d2p(trace.x[at]), top + yaxis._offset + yaxis.d2p(trace.y[at])];
"""
# What the label beside the pointer says first, and what is drawn over the other curves in each chart.
HIGHLIGHTED = """
    const charts = ["val_top1", "train_loss", "val_loss"].map((key) => document.getElementById(`curve-${key}`));
    const label = charts[0].querySelector(".hovertext tspan")?.textContent;
    const drawn = charts.map((chart) => [chart.dataset.highlighted, chart.querySelectorAll(".shapelayer path").length]);
    return label && drawn[0][0] ? [label, drawn] : null;
"""
# How the symbols of each data set are painted: fill, its opacity, width of the edge, outline with its size.
PAINT = """
    const chart = document.getElementById("scatter-macs");
    const groups = [...chart.querySelectorAll(".scatterlayer .trace")];
    return chart.data.filter((trace) => trace.meta === "runs").map((trace) => {
        const full = chart._fullData.find((each) => each.meta === "runs" && each.x[0] === trace.x[0]);
        const point = groups.find((each) => each.__data__[0].trace.uid === full.uid).querySelector(".point");
        const { fill, fillOpacity, strokeWidth } = getComputedStyle(point);
        return [trace.text[0], fill, fillOpacity, strokeWidth, point.getAttribute("d")];
    });
"""

LEGEND = """
    return [...document.querySelectorAll("#datasets li")].map((each) => [each.textContent, each.firstChild.outerHTML]);
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """37 runs on one data set, of which every second is on the front and many lie close together; one goes on."""
    root = tmp_path_factory.mktemp("runs") / "many"
    families = list(run_directories.COSTS)
    for number in range(36):
        result = run_directories.result(
            families[number % 8], 4, seed=0, model=f"network_of_a_long_name_{number:02}_wd4"
        )
        result |= {"name": f"{result['model']}-g4-fashion_mnist", "val_top1": 0.76 + number // 2 / 200}
        result |= {
            "macs": 10**7 + 10**5 * number,
            "parameters": 10**6 * (1 + number // 3),
            "latency_seconds": 0.001 * 1.02**number,
        }
        result["config"]["model"]["variant"] = result["model"]
        result |= {"train_images_per_second": 12345.6, "epochs": 300, "epochs_planned": 300}
        run_directories.write_run(root / f"{number}", result, epochs=6)
    going_on = run_directories.result("resnext", 32, status="running", process={"host": "another"})
    for key in ("val_top1", "epochs", "epochs_planned", "latency_seconds"):
        going_on.pop(key)
    going_on["config"]["recipe"]["epochs"] = 300
    run_directories.write_run(root / "36", going_on, epochs=34)
    return root


@pytest.fixture(scope="module")
def address(folder):
    return write_page_of(folder)


def overlap(one, other):
    """Whether two boxes share more than a pixel of an edge."""
    return min(one[2], other[2]) - max(one[0], other[0]) > 1 and min(one[3], other[3]) - max(one[1], other[1]) > 1


@pytest.mark.parametrize("width", [1400, 900, 400])
def test_numbers_of_the_front_do_not_overlap(browser, address, width):
    show(browser, address, width)
    for cost in COSTS:
        members = browser.execute_script(MEMBERS, cost)
        numbers, chart = wait(browser, NUMBERS, f"scatter-{cost}")
        assert [text for text, *_ in sorted(numbers, key=lambda each: int(each[0]))] == [
            str(place) for place in range(1, members + 1)
        ]
        assert members >= 12
        for one, other in itertools.combinations(numbers, 2):
            assert not overlap(one[1:], other[1:]), (cost, one, other)
        for text, left, top, right, bottom in numbers:
            assert left >= chart[0] and top >= chart[1] and right <= chart[2] and bottom <= chart[3], text


def test_no_column_is_cut_off_at_1400_pixels(browser, address):
    show(browser, address, 1400)
    excess, last, beyond = browser.execute_script(EXCESS)
    assert last.startswith("Epochs") and excess <= 0 and beyond <= 0


def test_names_take_two_lines_at_most_and_do_not_repeat_the_only_data_set(browser, address):
    show(browser, address, 1400)
    names = browser.execute_script(LINES)
    assert len(names) > 50 and max(lines for _, lines in names) <= 2
    assert not [name for name, _ in names if "fashion_mnist" in name]
    titles = browser.execute_script("return [...document.querySelectorAll('#table .label')].map((each) => each.title)")
    assert all("-fashion_mnist" in title for title in titles)  # whole where one points at it


def test_a_run_that_goes_on_shows_its_epochs_of_all(browser, address):
    show(browser, address)
    place = browser.execute_script(HEADINGS).index("Epochs")
    cells = dict(browser.execute_script(CELLS))
    (running,) = [values for values in cells.values() if "running" in values]
    assert running[place] == "34/300"
    assert sorted({values[place] for values in cells.values()}) == ["300", "34/300"]


def test_pointing_at_a_curve_shows_its_run_in_every_chart(browser, address, folder):
    show(browser, address)
    browser.execute_script("document.getElementById('curves').scrollIntoView()")
    wait(browser, "return document.querySelectorAll('#curves [data-drawn]').length === 3")
    x, y = browser.execute_script(PLACE, "network_of_a_long_name_07_wd4-g4-fashion_mnist")
    move = {"type": "mouseMoved", "x": x, "y": y}
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", move | {"x": x - 3})
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", move)
    label, drawn = wait(browser, HIGHLIGHTED)
    assert label.startswith("network_of_a_long_name_") and drawn == [[label, 1]] * 3
    browser.execute_cdp_cmd("Input.dispatchMouseEvent", move | {"x": 5, "y": 5})
    gone = "return [...document.querySelectorAll('#curves .chart')].every((chart) => !chart.dataset.highlighted)"
    assert wait(browser, gone) and not browser.execute_script("return document.querySelector('.shapelayer path')")
    assert not complaints(browser)


def test_chosen_runs_stand_out_among_the_curves(browser, address, folder):
    show(browser, address)
    browser.execute_script(
        "document.getElementById('clear').click(); document.getElementById('curves').scrollIntoView()"
    )
    wait(browser, "return document.querySelectorAll('#curves [data-drawn]').length === 3")
    everything = browser.execute_script(CURVES)[0]
    label = "network_of_a_long_name_07_wd4-g4-fashion_mnist"
    choose = "document.querySelector(`[aria-label='Choose ${arguments[0]}']`).click()"
    browser.execute_script(choose, label)
    wait(browser, "return document.querySelector('#curves-legend li')")
    wait(browser, f"return (() => {{ {CURVES} }})()[0].some((trace) => trace.width === 3)")
    for traces in browser.execute_script(CURVES):
        (chosen,) = [trace for trace in traces if trace["labels"] == [label]]
        others = [trace for trace in traces if trace is not chosen]
        assert label not in {name for trace in others for name in trace["labels"]}
        assert chosen["width"] > 2 * max(trace["width"] for trace in others)
        assert chosen["colour"] not in {trace["colour"] for trace in others}
        assert max(trace["opacity"] for trace in others) < chosen["opacity"]
        count = len({name for trace in traces for name in trace["labels"]})
        assert count == len({name for trace in everything for name in trace["labels"]}) == 37
    assert not complaints(browser)


def test_symbols_of_data_sets_do_not_look_alike(browser, folder):
    datasets = ("cifar10", "digits", "fashion_mnist", "imagenette", "mnist")
    for number, dataset in enumerate(datasets):
        result = run_directories.result("resnext", 4, dataset=dataset, name=dataset, macs=10**8 * (number + 1))
        run_directories.write_run(folder.parent / "sets" / dataset, result)
    show(browser, write_page_of(folder.parent / "sets"))
    looks = {text.split("<")[1]: tuple(look) for text, *look in browser.execute_script(PAINT)}
    assert len(looks) == len(datasets)
    assert len(set(looks.values())) == len(datasets)
    named = dict(browser.execute_script(LEGEND))
    assert set(named) == set(datasets) and len(set(named.values())) == len(datasets)
    show(browser, write_page_of(folder))
    assert browser.execute_script("return document.getElementById('datasets').hidden")


def test_repeats_and_invalid_values_are_shown_as_in_the_table_of_the_terminal(browser, folder):
    root = folder.parent / "seeds"
    sets = {"resnext": [0, 0, 1, 2], "regnet": [0] * 5, "convnext": [0, 1], "mobilenet_v1": [3]}
    for number, (family, seed) in enumerate((family, seed) for family, seeds in sets.items() for seed in seeds):
        result = run_directories.result(family, None, seed, val_top1=0.7 + number / 50)
        run_directories.write_run(root / str(number), result)
    diverged = run_directories.result("mobilenet_v3", None, 0, val_top1=None)
    run_directories.write_run(root / "90", diverged)
    run_directories.write_run(root / "91", run_directories.result("convnext", None, 7, val_top1=None))
    show(browser, write_page_of(root))
    rows = {row.label: table.figure_text(row, "val_top1") for row in ranked(read_runs([root], say=pytest.fail))}
    place = browser.execute_script(HEADINGS).index("validation top-1")
    shown = {label: cells[place] for label, cells in browser.execute_script(CELLS)}
    assert shown.keys() == rows.keys()
    of = {label.partition("-")[0]: text for label, text in shown.items()}
    assert of["mobilenet_v3"] == "invalid" and of["regnet"].endswith("%5 repeats")
    assert of["resnext"].endswith("3 seeds, 4 runs") and of["convnext"].endswith("2 seeds, 1 invalid")
    for label, text in rows.items():
        assert shown[label].startswith(text.partition(" (")[0])  # mean and deviation of both are the same

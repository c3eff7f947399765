"""The page of a comparison in a real Chromium: what it draws, what it loads (nothing), and names that hold HTML."""

import statistics

import pytest

from helpers import run_directories
from helpers.chromium import complaints, requests, show, wait
from helpers.comparison_page import ROWS
from zoo.comparison.page import page, write_page
from zoo.comparison.reading import read_runs

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>document.title='ran'</script>",
    "<b>x</b>",
    "&lt;i&gt; &amp; %{x} $a^2$",
    "line\u2028end\u2029 \u202emirrored\u202c \u05e9\u05dc\u05d5\u05dd",
    "a very long name " * 30,
)
DRAWN = {"macs": 1, "parameters": 1, "latency_seconds": 1000}  # seconds are drawn as milliseconds

# Every mark of the chart that is a run: its coordinates, and whether it is really there.
POINTS = """
    const chart = document.getElementById(arguments[0]);
    const groups = [...chart.querySelectorAll(".scatterlayer .trace")];
    const runs = chart._fullData.filter((trace) => trace.meta === "runs");
    const group = (trace) => groups.find((each) => each.__data__[0].trace.uid === trace.uid);
    const marks = runs.flatMap((trace) => [...group(trace).querySelectorAll(".point")]);
    const coordinates = runs.flatMap((trace) => [...trace.x].map((x, at) => [x, trace.y[at]]));
    return [coordinates, marks.filter((mark) => mark.getBBox().width > 0).length];
"""
MEMBERS = """
    const named = [...document.querySelectorAll(`#front-${arguments[0]} [data-member]`)];
    const traces = document.getElementById(`scatter-${arguments[0]}`).data.filter((trace) => trace.meta === "members");
    const coordinates = traces.flatMap((trace) => trace.x.map((x, at) => [x, trace.y[at]]));
    return [named.map((item) => item.dataset.member), coordinates];
"""
MARKED = "return [...document.querySelectorAll('#table tr.member')].map((line) => line.dataset.row)"
CURVES = "return document.getElementById(arguments[0]).data.map((trace) => [trace.x, trace.text])"
HOVER = """
    const chart = document.getElementById("scatter-macs");
    chart.scrollIntoView();
    for (const [curve, trace] of chart.data.entries()) {
        const point = trace.meta === "runs" ? trace.text.findIndex((text) => text.includes(arguments[0])) : -1;
        if (point >= 0) Plotly.Fx.hover(chart, [{ curveNumber: curve, pointNumber: point }]);
    }
    return chart.querySelector(".hovertext")?.textContent.includes(arguments[1]);
"""
CHOOSE = """
    document.getElementById("clear").click();
    const isChosen = (tick) => arguments[0].some((text) => tick.ariaLabel.includes(text));
    [...document.querySelectorAll("[data-choose]")].filter(isChosen).forEach((tick) => tick.click());
"""
TICKS = """
    const ticks = [...document.querySelectorAll("#classes .matrix .ytick text")].map((tick) => tick.textContent);
    return ticks.length === arguments[0] && ticks;
"""
SEARCH = """
    const box = document.getElementById("search");
    box.value = arguments[0];
    box.dispatchEvent(new Event("input", { bubbles: true }));
"""
INJECT = """
    const [added, done] = [document.createElement("script"), arguments[0]];
    added.textContent = "window.injected = true";
    document.body.append(added);
    document.body.insertAdjacentHTML("beforeend", "<img src='data:,' onerror='window.injected = true'>");
    setTimeout(() => done(window.injected ?? "blocked"), 200);
"""
FETCH = "fetch('http://127.0.0.1:9/').then(() => arguments[0]('loaded'), (error) => arguments[0](error.name))"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """Runs of several families and seeds, some with hostile names, classes and settings, one that failed."""
    folder = tmp_path_factory.mktemp("sweep")
    run_directories.write_sweep(folder, seeds=2)
    for number, name in enumerate(HOSTILE):
        values = run_directories.result("regnet", 8, seed=number, name=name, model=name)
        values["config"]["recipe"] |= {"note": name, name: number}
        run_directories.write_run(folder / f"1{number:02}", values, classes=(*HOSTILE, "shirt"))
    failed = run_directories.result("mobilenet_v1", None, 9, status="failed", error=HOSTILE[0], latency_seconds=None)
    run_directories.write_run(folder / "200", failed, epochs=2, classes=None)
    return read_runs([folder], say=pytest.fail)


@pytest.fixture(scope="module")
def address(sweep, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "comparison.html"
    write_page(path, page(sweep))
    return path.as_uri()


def settle(browser):
    """Let every part of the page come into view and be drawn."""
    for part, inside in (("curves", "[data-drawn]"), ("classes", ".matrix [data-drawn]"), ("difference", "table")):
        browser.execute_script(f"document.getElementById('{part}').scrollIntoView()")
        wait(browser, f"return document.getElementById('{part}').querySelector('{inside}')")


def points_of(runs, cost):
    """(cost as it is drawn, accuracy in percent) of each run that has both."""
    known = [run for run in runs if run.result.get(cost) is not None]
    return [(DRAWN[cost] * run.result[cost], 100 * run.result["val_top1"]) for run in known]


def undominated(points):
    """By the definition: no other point is at least as good in both and better in one."""

    def beats(one, other):
        return one[0] <= other[0] and one[1] >= other[1] and (one[0] < other[0] or one[1] > other[1])

    return sorted({point for point in points if not any(beats(other, point) for other in points)})


def test_every_run_is_a_point_and_nothing_is_loaded(browser, address, sweep):
    show(browser, address)
    settle(browser)
    for cost in DRAWN:
        points, marks = browser.execute_script(POINTS, f"scatter-{cost}")
        expected = points_of(sweep, cost)
        assert sorted(map(tuple, points)) == [pytest.approx(point) for point in sorted(expected)]
        assert marks == len(expected) == len(sweep) - (cost == "latency_seconds")
    missing = browser.execute_script("return document.getElementById('missing-latency_seconds').textContent")
    assert missing.startswith("1 run without")
    drawn = sum(each is not None for x, _ in browser.execute_script(CURVES, "curve-val_top1") for each in x)
    assert drawn == sum(len(run.history["epoch"]) for run in sweep)
    asked = requests(browser)
    assert address in asked and {url for url in asked if not url.startswith(("data:", "blob:"))} == {address}
    assert not complaints(browser)


@pytest.mark.parametrize("single", [True, False], ids=["single runs", "means over seeds"])
def test_the_front_is_the_one_of_the_definition(browser, address, sweep, single):
    show(browser, address)
    if single:
        browser.execute_script("document.querySelector('[name=seeds][value=single]').click()")
    together = {}
    for number, run in enumerate(sweep):
        alone = single or run.status != "finished"
        together.setdefault(number if alone else run.name, []).append(run)
    for cost in DRAWN:
        of = {}
        for runs in together.values():
            if points := points_of(runs, cost):
                of[tuple(statistics.fmean(each) for each in zip(*points, strict=True))] = runs[0].name
        members, drawn = browser.execute_script(MEMBERS, cost)
        expected = undominated(of)
        assert drawn == [pytest.approx(point) for point in expected] and len(expected) > 2
        for label, point in zip(members, expected, strict=True):
            assert label.startswith(of[point][:250])
        assert set(members) <= set(browser.execute_script(MARKED))


def test_a_filter_hides_the_others_everywhere(browser, address, sweep):
    show(browser, address)
    browser.execute_script("document.querySelector('#facet-family input[value=resnext]').click()")
    chosen = [run for run in sweep if run.result["family"] == "resnext"]
    settle(browser)
    for cost in DRAWN:
        points, marks = browser.execute_script(POINTS, f"scatter-{cost}")
        assert sorted(map(tuple, points)) == [pytest.approx(point) for point in sorted(points_of(chosen, cost))]
        assert marks == len(chosen)
    assert sorted(browser.execute_script(ROWS)) == sorted({run.name for run in chosen})
    curves = {text for _, texts in browser.execute_script(CURVES, "curve-train_loss") for text in texts if text}
    assert curves == {f"{run.name} (seed={run.result['seed']})" for run in chosen}
    assert browser.execute_script("return location.hash") == "#family=resnext"
    # The front is that of what is left.
    means = {run.name: [other for other in chosen if other.name == run.name] for run in chosen}
    points = [tuple(map(statistics.fmean, zip(*points_of(runs, "macs"), strict=True))) for runs in means.values()]
    assert browser.execute_script(MEMBERS, "macs")[1] == [pytest.approx(point) for point in undominated(points)]
    # Filters of two kinds hold together; a search for a setting too; the button shows all again.
    browser.execute_script("document.querySelector('#facet-groups input[value=\"8\"]').click()")
    assert len(browser.execute_script(POINTS, "scatter-macs")[0]) == 2
    browser.execute_script("document.getElementById('reset').click()")
    assert len(browser.execute_script(POINTS, "scatter-macs")[0]) == len(sweep)
    browser.execute_script(SEARCH, "mobilenet v3")
    wait(browser, "return document.querySelectorAll('#table [data-row]').length === 1")
    show(browser, f"{address}#family=resnext&groups=8")
    assert browser.execute_script("return document.getElementById('shown').textContent").startswith(
        f"2 of {len(sweep)}"
    )
    assert not complaints(browser)


def test_hostile_names_are_text(browser, address):
    show(browser, address)
    settle(browser)
    assert browser.title.startswith("Comparison of")
    texts = browser.execute_script("return document.querySelector('main').textContent")
    assert all(name in texts for name in HOSTILE[:5]) and HOSTILE[5][:250] in texts
    added = "return document.querySelectorAll('main img, main script, main b, main i').length + document.scripts.length"
    assert browser.execute_script(added) == 3  # scripts: the data, Plotly and the page's own
    browser.execute_script(CHOOSE, ["<b>x", "alert(1)"])
    ticks = wait(browser, TICKS, 2 * (len(HOSTILE) + 1))
    assert "<b>x</b>" in ticks and "<img src=x onerro…" in ticks and "&lt;i&gt; &amp; %…" in ticks
    differences = wait(browser, "return document.querySelector('#difference table')?.textContent")
    assert "recipe.<img src=x onerror=alert(1)>" in differences and "recipe.<b>x</b>" in differences
    wait(browser, HOVER, "&lt;b&gt;x", "<b>x</b>regnet, groups 8")
    wait(browser, HOVER, "%{x}", "&lt;i&gt; &amp; %{x} $a^2$regnet, groups 8")
    assert not complaints(browser)


def test_the_page_can_neither_load_nor_run_anything_else(browser, address):
    show(browser, address)
    assert browser.execute_async_script(FETCH) == "TypeError"
    assert browser.execute_async_script(INJECT) == "blocked"
    messages = complaints(browser)
    assert len(messages) >= 3 and all("Content Security Policy" in line for line in messages)
    assert not [url for url in requests(browser) if url.startswith("http")]

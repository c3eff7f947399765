"""The page of many runs: how large it is, how long it takes, and when a browser shows its first charts.

usage: python benchmarks/compare_page.py [--runs 200] [--epochs 100] [--rounds 3] [--folder FOLDER]

Writes run directories with made-up figures (10 classes each), calls `zoo compare` on them as a user does, and opens the
page in headless Chromium: from the start of the navigation to the first charts drawn. The first round has a cold
browser, with nothing compiled or cached. Needs Chromium and its driver, and Selenium.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers import run_directories  # noqa: E402
from helpers.chromium import open_browser, show  # noqa: E402

DRAWN = "return performance.getEntriesByName('zoo:drawn')[0].startTime"


def write_runs(folder: Path, runs: int, epochs: int) -> None:
    """So many runs of all families, with several groups and seeds."""
    families = list(run_directories.COSTS)
    for number in range(runs):
        groups = 2 ** (number // len(families) % 5)
        seed = number // (5 * len(families))
        result = run_directories.result(families[number % len(families)], groups, seed)
        result |= {"epochs": epochs, "epochs_planned": epochs}
        run_directories.write_run(folder / str(number), result)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3, help="times that the page is opened, each in a new browser")
    parser.add_argument("--folder", type=Path, help="where runs and page are left; by default nowhere")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    try:
        measure(folder, arguments.runs, arguments.epochs, arguments.rounds)
    finally:
        if not arguments.folder:
            shutil.rmtree(folder)


def measure(folder: Path, runs: int, epochs: int, rounds: int) -> None:
    """Print the figures."""
    write_runs(folder / "runs", runs, epochs)
    path = folder / "comparison.html"
    command = [sys.executable, "-m", "zoo", "compare", str(folder / "runs"), "--output", str(path)]
    begin = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    print(f"{runs} runs of {epochs} epochs: table and page in {time.perf_counter() - begin:.2f} s")
    print(f"page: {path.stat().st_size / 1e6:.2f} MB")
    for number in range(1, rounds + 1):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            browsers = open_browser(Path(profile))
            browser = next(browsers)
            show(browser, path.as_uri())
            print(f"first charts drawn after {browser.execute_script(DRAWN) / 1000:.2f} s (round {number})")
            browsers.close()


if __name__ == "__main__":
    main()

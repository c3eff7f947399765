"""A headless Chromium for tests of a page: opening it, waiting for it, and what it asked for."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
)
PATIENCE = 20  # seconds


def open_browser(profile: Path) -> Iterator[Any]:
    """The browser, closed at the end. Without Chromium: a skipped test, or a failed one where CI is set."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        missing = "Chromium and its driver are not installed: `apt install chromium chromium-driver` gives both."
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    yield browser
    browser.quit()


CHARTS_ARE_DRAWN = "return document.documentElement.dataset.drawn === 'true'"
IS_LOADED = "return document.readyState === 'complete'"


def show(
    browser, address: str, width: int = 1400, height: int = 900, scheme: str = "light", until: str = CHARTS_ARE_DRAWN
) -> None:
    """Open a page afresh in a window of this size, and wait until a script says that it is there."""
    browser.get("about:blank")
    browser.get_log("browser")
    requests(browser)
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.get(address)
    wait(browser, until)


def wait(browser, script: str, *arguments: Any) -> Any:
    """What the script returns, as soon as that is true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := browser.execute_script(script, *arguments):
            return value
        time.sleep(0.05)
    pytest.fail(f"in {PATIENCE} seconds this did not become true: {script}")


def requests(browser) -> list[str]:
    """Addresses of everything that the browser asked for since the last call."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [event for event in events if event["method"] == "Network.requestWillBeSent"]
    return [event["params"]["request"]["url"] for event in sent]


def complaints(browser) -> list[str]:
    """What the browser's console says since the last call."""
    return [entry["message"] for entry in browser.get_log("browser")]

"""A real browser for the pages, where there is one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """Headless Chromium that notes what a page asks for and complains about."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, path: Path) -> list[str]:
        """Open a page, wait until its figures are drawn, and tell every address it asked for."""
        self.messages()
        self.driver.get_log("performance")
        self.driver.get(path.as_uri())
        self.wait(lambda: self.js("return document.documentElement.dataset.ready"))
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in sent if not url.startswith(("data:", "blob:"))]

    def messages(self) -> list[str]:
        """What stands in the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def wait(self, ready: Callable[[], Any]) -> None:
        """Wait until `ready` says so; half a minute at most."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 30).until(lambda _: ready())

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def resize(self, width: int, height: int = 900) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def hover_text(self, figure: str, name: str, point: int) -> str:
        """What is shown over a point of the trace `name`."""
        text: str = self.js(
            """
            const plot = document.getElementById(arguments[0]);
            const curve = plot.data.findIndex((trace) => trace.name === arguments[1]);
            Plotly.Fx.hover(plot, [{curveNumber: curve, pointNumber: arguments[2]}]);
            const lines = plot.querySelectorAll(".hoverlayer .hovertext text tspan.line");
            return [...lines].map((line) => line.textContent).join("\\n");
            """,
            figure,
            name,
            point,
        )
        return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    from selenium.webdriver.chrome.service import Service

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("no Chromium with a chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()

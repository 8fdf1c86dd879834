"""A figure of a report as a PNG: `python scripts/picture.py STUDY/report.html OUT.png` (needs Chromium)."""

from __future__ import annotations

import argparse
import base64
import shutil
from pathlib import Path

from cpmodel.files import replacing

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def picture(report: Path, figure: str, width: int, scale: float) -> bytes:
    """The PNG of the figure whose element has this id, on a page of this width."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.support.ui import WebDriverWait

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    helper = shutil.which("chromedriver")
    if program is None or helper is None:
        raise SystemExit("picture.py needs chromium and chromedriver on the PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"):
        options.add_argument(argument)
    # named programs: Selenium would look for others on the network
    with webdriver.Chrome(options=options, service=Service(helper)) as driver:
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        driver.get(report.resolve().as_uri())
        WebDriverWait(driver, 60).until(
            lambda d: d.execute_script("return document.documentElement.dataset.ready")
        )
        box = driver.execute_script(
            "const found = document.getElementById(arguments[0]);"
            "if (!found) return null;"
            "const box = found.getBoundingClientRect();"
            "return {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height};",
            figure,
        )
        if box is None:
            raise SystemExit(f"{report}: no figure '{figure}'")
        taken = driver.execute_cdp_cmd(
            "Page.captureScreenshot",
            {"format": "png", "captureBeyondViewport": True, "clip": {**box, "scale": scale}},
        )
    return base64.b64decode(taken["data"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--figure", default="cloud", help="id of its element: cloud, agreement-precision, ..."
    )
    parser.add_argument("--width", type=int, default=1000, help="of the page, CSS pixels")
    parser.add_argument("--scale", type=float, default=2.0, help="pixels of the picture for each of those")
    given = parser.parse_args()
    if not given.report.exists():
        parser.error(f"{given.report}: no such file")
    png = picture(given.report, given.figure, given.width, given.scale)
    with replacing(given.out) as temporary:
        temporary.write_bytes(png)


if __name__ == "__main__":
    main()

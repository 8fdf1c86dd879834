"""The page in a real browser: nothing fetched, nothing complained of, every point drawn, nothing run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from paper_study import content
from test_report_page import EVIL, poisoned

from cpmodel.report.render import write_report

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(content(), path)
    return path


def test_nothing_is_fetched_and_nothing_complained_of(browser: Any, page: Path) -> None:
    assert browser.open(page) == [page.as_uri()]
    assert browser.messages() == []


def test_every_point_is_drawn(browser: Any, page: Path) -> None:
    browser.resize(1400)
    browser.open(page)
    drawn, given = browser.js(
        """
        const plots = [...document.querySelectorAll(".plot")];
        const marked = (trace) => (trace.mode ?? "").includes("markers");
        return [
          plots.map((plot) => plot.querySelectorAll(".scatterlayer path.point").length),
          plots.map((plot) => plot._fullData.filter(marked).reduce((n, t) => n + t._length, 0)),
        ];
        """
    )
    assert drawn == given
    assert all(count > 0 for count, name in zip(drawn, given, strict=True) if name)
    full = content()
    assert full.cloud is not None
    traces = dict(
        browser.js("return document.getElementById('cloud')._fullData.map((t) => [t.name, t._length])")
    )
    assert traces["configurations, predicted"] == len(full.cloud.complexity)
    assert traces["measured, mean over seeds"] == len(set(full.samples.usable.keys))


def test_hover_says_t_p_and_c(browser: Any, page: Path) -> None:
    browser.open(page)
    lines = browser.hover_text("cloud", "answer, verified on test images", 0).split("\n")
    full = content()
    assert full.verdict is not None
    assert lines[0].split() == ["T", *full.verdict.key.replace(",", ", ").split(), "(verified)"]
    assert lines[1].split()[0] == "P"
    assert "90.4 % on test, 90.1 % to 90.8 %" in lines[1]
    assert lines[2].split()[0] == "C"
    assert lines[2].endswith("k MACs")
    assert lines[3].strip().endswith("of the baseline")


@pytest.mark.parametrize("width", [380, 700, 1000, 1600])
def test_page_fits_the_screen(browser: Any, page: Path, width: int) -> None:
    sizes = (
        "return [...document.querySelectorAll('.plot')]"
        ".map((p) => [p.clientWidth, p._fullLayout.width, p._fullLayout.height])"
    )
    browser.resize(1400)
    browser.open(page)
    heights = [height for _, _, height in browser.js(sizes)]
    browser.resize(width)
    browser.wait(lambda: all(abs(inside - drawn) <= 1 for inside, drawn, _ in browser.js(sizes)))
    assert browser.js("return document.documentElement.scrollWidth") <= width
    assert [height for _, _, height in browser.js(sizes)] == heights
    browser.resize(1400)


def test_dark_screens_get_light_ink(browser: Any, page: Path) -> None:
    def scheme(value: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": value}]
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    colours = (
        "const p = document.getElementById('cloud');"
        "return [getComputedStyle(document.body).backgroundColor, p._fullLayout.font.color]"
    )
    try:
        scheme("dark")
        browser.open(page)
        assert browser.js(colours) == ["rgb(23, 27, 31)", "#e8ebee"]
    finally:
        scheme("light")
    browser.open(page)
    assert browser.js(colours) == ["rgb(255, 255, 255)", "#1c2126"]


def test_paper_is_light_and_figures_fit_it(browser: Any, page: Path) -> None:
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": dark})
    look = (
        "const p = document.getElementById('cloud');"
        "return [p._fullLayout.font.color, Math.abs(p.clientWidth - p._fullLayout.width) <= 1]"
    )
    try:
        browser.open(page)
        browser.js("dispatchEvent(new Event('beforeprint'))")
        assert browser.js(look) == ["#1c2126", True]
        browser.js("dispatchEvent(new Event('afterprint'))")
        browser.wait(lambda: browser.js(look) == ["#e8ebee", True])
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_no_button_uploads_a_figure(browser: Any, page: Path) -> None:
    browser.open(page)
    assert browser.js("return document.getElementById('cloud')._context.showSendToCloud") is False
    titles = browser.js("return [...document.querySelectorAll('.modebar-btn')].map((b) => b.dataset.title)")
    assert not any("loud" in (title or "") or "dit" in (title or "") for title in titles)


def test_texts_of_a_study_never_run(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(poisoned(), path)
    assert browser.open(path) == [path.as_uri()]  # an open alert would have ended in an exception
    assert browser.messages() == []
    assert browser.js("return document.querySelector('h1').textContent") == EVIL
    assert browser.js("return document.querySelectorAll('img, .plot a').length") == 0
    assert EVIL in browser.js("return document.getElementById('agreement-complexity').textContent")


def test_injected_script_would_not_run_either(browser: Any, page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    path = tmp_path / "report.html"
    path.write_text(text.replace("</main>", "<script>window.pwned = 1</script></main>"), encoding="utf-8")
    browser.open(path)
    assert browser.js("return window.pwned ?? null") is None
    assert any("Content Security Policy" in message for message in browser.messages())


def test_tables_open_from_the_keyboard(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.open(page)
    summary = browser.driver.find_elements("css selector", "summary")[-1]
    summary.send_keys(Keys.ENTER)
    table = summary.find_element("xpath", "../div/table")
    assert table.is_displayed()
    assert len(table.find_elements("css selector", "tbody tr")) == len(content().samples)

"""The page as a file: whole, escaped, and right for every kind of study."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paper_study import MACS, choice, content, macs, precision_fit, space, trained

from cpmodel.cost import Cost
from cpmodel.errors import BadInputError
from cpmodel.records.sample import Purpose, Sample
from cpmodel.report.page import Page as Results
from cpmodel.report.render import render, write_report
from cpmodel.report.tables import MOST_ROWS, samples_table
from cpmodel.samples import Samples, read_csv

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """Ids, headings, tags and the figures of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.headings: list[str] = []
        self.feed(text)
        found = re.search(r'id="figures">(.*?)</script>', text, re.DOTALL)
        assert found
        self.figures: dict[str, Any] = json.loads(found.group(1))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id" and value]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "h2" and data.strip():
            self.headings.append(data.strip())


def test_full_page_has_every_figure() -> None:
    page = Page(render(content()))
    curves = {f"curve-{name}" for name in space().names}
    expected = {"cloud", "agreement-precision", "agreement-complexity", "course", "learning", *curves}
    expected.add("surface-f-s")
    assert set(page.figures) == expected <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_same_content_gives_the_same_page() -> None:
    assert render(content()) == render(content())


def test_page_asks_nobody_for_anything() -> None:
    text = render(content())
    without_plotly = re.sub(r'id="plotly">.*?</script>', "", text, flags=re.DOTALL)
    assert not re.search(r"""(src|href)=["'](?!data:)""", without_plotly)
    assert "default-src 'none'" in text


def test_plotly_is_in_the_page_once_and_whole() -> None:
    from plotly.offline import get_plotlyjs

    found = re.findall(r'id="plotly">(.*?)</script>', render(content()), re.DOTALL)
    assert len(found) == 1
    assert gzip.decompress(base64.b64decode(found[0])).decode() == get_plotlyjs()


def poisoned() -> Results:
    """A study whose every text is an attack."""
    page = content()
    assert page.settings is not None and page.modelled is not None
    frame = page.samples.frame.assign(purpose=EVIL)
    frame["reason"] = [EVIL if status == "failed" else "" for status in frame["status"]]
    settings = replace(page.settings, dataset=EVIL, class_names=(EVIL, "b"), split_sizes={EVIL: 3})
    modelled = replace(
        page.modelled,
        cost=replace(page.modelled.cost, name=EVIL, label=EVIL),
        fit=replace(page.modelled.fit, name=EVIL, why=EVIL),
        eq1=replace(page.modelled.eq1, name=EVIL, warnings=(EVIL,)),
    )
    cost = replace(page.cost, name=EVIL, unit=EVIL, label=EVIL)
    return replace(
        page,
        title=EVIL,
        samples=Samples(page.space, frame),
        settings=settings,
        family=EVIL,
        machine=EVIL,
        command=EVIL,
        cost=cost,
        notes=(EVIL,),
        precision=(replace(page.precision[0], name=EVIL, warnings=(EVIL,)),),
        modelled=modelled,
        costs=tuple(replace(line, cost=cost) for line in page.costs),
    )


def test_texts_of_a_study_are_never_markup() -> None:
    clean, attacked = Page(render(content())), render(poisoned())
    page = Page(attacked)
    assert page.tags.count("script") == clean.tags.count("script")
    assert "img" not in page.tags
    assert "<script>alert" not in attacked


def test_texts_in_figures_are_not_plotlys_markup() -> None:
    figures = json.dumps(Page(render(poisoned())).figures)
    assert "&lt;/script&gt;" in figures
    assert "<script" not in figures


class Pooling:
    noise_std_, coefficients_ = 0.01, ()

    def predict(self, X: Any) -> Any:
        return 0.9 + X[:, 0] / 1000

    def predict_interval(self, X: Any, level: float) -> Any:
        return self.predict(X) - 0.01, self.predict(X) + 0.01


def test_page_of_a_csv_with_categories(tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("depth,pool,acc,joules\n2,<max>,91,5\n4,<max>,93,9\n4,<avg>,94,10\n2,<avg>,90,4\n")
    samples = read_csv(table, parameters=("depth", "pool"), precision="acc")
    page = Results(
        "mine",
        samples,
        Cost("joules", "J"),
        complexity=samples.cost("joules"),
        precision=(precision_fit(samples.precision, np.full(4, np.nan), model=Pooling()),),
        notes=samples.notes,
    )
    text = render(page)
    parsed = Page(text)
    assert set(parsed.figures) == {"cloud", "curve-depth", "curve-pool"}
    assert parsed.figures["cloud"]["layout"]["xaxis"]["title"]["text"] == "joules"
    assert parsed.figures["curve-pool"]["layout"]["xaxis"]["ticktext"] == ["&lt;avg&gt;", "&lt;max&gt;"]
    assert "&lt;max&gt;" in text
    assert "Measured" in text
    assert "percentages" in text


def test_one_sample_has_no_figures() -> None:
    here = space()
    table = trained(here, [(dict(here.baseline), 0, Purpose.DESIGN)], np.random.default_rng(0))
    page = Page(render(Results("one", table, MACS)))
    assert page.figures == {}
    assert "plot" not in page.ids
    assert page.headings == ["What was trained", "How it was made"]


def test_failures_alone() -> None:
    here = space()
    failed = Sample(dict(here.baseline), 3, None, status="failed", reason="out of memory <b>")
    text = render(Results("none", Samples.of(here, [failed]), MACS))
    assert "seed 3: out of memory &lt;b&gt;" in text
    assert Page(text).figures == {}


def test_empty_study() -> None:
    here = space()
    text = render(Results("empty", Samples.of(here, []), MACS))
    assert "no training yet" in text


def test_unreachable_target_still_shows_the_cloud() -> None:
    found = choice(space(), 0.99)
    page = content(choice=found, verdict=None, costs=(), evidence=())
    text = render(page)
    assert "Out of reach" in text
    target = Page(text).figures["cloud"]["layout"]["annotations"][0]["text"]
    assert target == "target 99 %"


def five() -> Samples:
    here = space()
    rows = [(c, 0, Purpose.DESIGN) for c in here.configurations(here.candidates()[:5])]
    return trained(here, rows, np.random.default_rng(0))


def test_fit_without_validation_or_complexity() -> None:
    table = five()
    fit = precision_fit(table.precision, np.full(5, np.nan))
    page = Page(render(Results("t", table, MACS, precision=(fit,))))
    assert set(page.figures) == {*(f"curve-{name}" for name in space().names), "learning"}


def test_interval_that_is_not_known_draws_no_bar() -> None:
    table = five()
    fit = precision_fit(table.precision, table.precision)
    figure = Page(render(Results("t", table, MACS, precision=(fit,)))).figures["agreement-precision"]
    assert "error_y" not in figure["data"][0]


def test_figures_of_the_whole_split_have_their_own_units() -> None:
    table = samples_table(content())
    first = dict(zip(table.columns, table.rows[0], strict=True))
    assert first["nll"] == "0.312 nats"
    assert first["balanced"].endswith(" %")
    frame = content().samples.frame.assign(metric_auroc=0.25)
    table = samples_table(replace(content(), samples=Samples(space(), frame)))
    assert dict(zip(table.columns, table.rows[0], strict=True))["auroc"] == "0.25"


def test_long_tables_are_cut_and_say_so() -> None:
    here = space()
    rows = [(dict(here.baseline), seed, Purpose.DESIGN) for seed in range(MOST_ROWS + 1)]
    table = trained(here, rows, np.random.default_rng(0), epochs=1)
    shown = samples_table(Results("t", table, MACS, complexity=macs(table.X)))
    assert len(shown.rows) == MOST_ROWS
    assert shown.caption == "The first 2,000 of 2,001 trainings"


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_report(content(), tmp_path / "new" / "report.html")
    written = (tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert written.startswith("<!DOCTYPE html>")
    assert written.rstrip().endswith("</html>")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="cannot write"):
        write_report(content(), tmp_path / "file" / "report.html")

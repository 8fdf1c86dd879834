"""The answer at the top of the page, for every kind of study."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from paper_study import MACS, choice, content, space, trained

from cpmodel.cost import ComparedCost, Cost
from cpmodel.metrics import Balanced
from cpmodel.records.sample import Purpose, Sample
from cpmodel.report.page import Page
from cpmodel.report.words import answer_text, comparison, marked
from cpmodel.samples import Samples
from cpmodel.verify import Comparison, Interval


def told(page: Page) -> tuple[str, str, str]:
    answer = answer_text(page)
    return answer.badge, answer.tone, " ".join(answer.sentences).replace("\xa0", " ")


def test_reached() -> None:
    page = content()
    badge, tone, text = told(page)
    assert page.verdict is not None
    assert (badge, tone) == ("Reached", "good")
    assert f"<code>{page.verdict.key.replace(',', ', ')}</code> reaches 90 %" in text
    assert "its precision on 5,000 test images is 90.4 % (mean of 3 fresh trainings)" in text
    assert "times less</strong> in MACs of one image and <strong>" in text
    assert "times less</strong> in run-time of one batch than the baseline <code>f=64" in text
    missed = replace(page.verdict, status="missed")
    assert told(replace(page, verdict=missed))[:2] == ("Missed", "bad")
    undecided = replace(page.verdict, status="undecided")
    assert told(replace(page, verdict=undecided))[:2] == ("Undecided", "open")


def test_a_verdict_about_an_earlier_test_split_says_so() -> None:
    page = content()
    said = "The study has other test images now"
    assert said not in told(page)[2]
    text = told(replace(page, outdated=True))[2]
    assert "its precision on 5,000 test images is 90.4 %" in text
    assert said in text


def test_the_metric_is_named() -> None:
    page = content(metric=Balanced())
    assert "its balanced accuracy on 5,000 test images is 90.4 %" in told(page)[2]
    assert [row.label for row in comparison(page)[:2]] == [
        "Balanced accuracy, validation",
        "Balanced accuracy, test",
    ]


def test_the_baseline_beside_the_answer() -> None:
    page = content()
    rows = comparison(page)
    labels = [row.label for row in rows]
    assert labels[:3] == ["Precision, validation", "Precision, test", "MACs of one image"]
    assert labels[-1] == "Run-time of one batch, 64 images"
    assert rows[0].detail == "baseline: 5 seeds; answer: 3 fresh seeds"
    assert rows[0].answer == "90.6 %"
    assert rows[1].baseline == "–"
    assert "95.0 % interval 90.1 % to 90.8 %. This is opening 1 of the study's test images" in rows[1].detail
    assert rows[-1].detail == "Example CPU (2 cores), pytorch 2.13.0, float32, batch 64, 1 thread"
    assert rows[2].difference.endswith("x less")


def test_a_drop_is_told_against_the_baseline() -> None:
    page = content()
    assert page.verdict is not None
    difference = Interval(-0.012, -0.018, 0.001, 0.97, 0.001, 9.0)
    against = Comparison("f=64", 0.02, (0, 1, 2), (0.92, 0.92, 0.92), (0.916, 0.917, 0.915), difference)
    page = replace(page, verdict=replace(page.verdict, comparison=against, opening=2))
    assert "stays within 2.0 points of the baseline" in told(page)[2]
    row = comparison(page)[1]
    assert (row.label, row.baseline) == ("Precision, test", "91.6 %")
    assert row.difference.startswith("−")
    assert "opening 2 of the study's test images" in row.detail


def test_predicted_names_the_plain_and_the_safe_answer() -> None:
    page = content(verdict=None)
    found = page.choice
    assert found is not None and found.plain is not None and found.safe is not None
    page = replace(page, costs=(ComparedCost(MACS, found.baseline.complexity, found.plain.complexity),))
    badge, tone, text = told(page)
    assert (badge, tone) == ("Predicted", "open")
    assert f"Of 540 configurations, <code>{found.plain.key.replace(',', ', ')}</code> is expected" in text
    assert "not yet verified" in text
    assert f"<code>{found.safe.key.replace(',', ', ')}</code>" in text
    rows = comparison(page)
    assert [row.label for row in rows] == ["Precision", "MACs of one image"]
    assert rows[0].detail.endswith("answer: predicted")


def test_unreachable() -> None:
    found = choice(space(), 0.99)
    page = content(choice=found, verdict=None, costs=())
    badge, tone, text = told(page)
    assert (badge, tone) == ("Out of reach", "bad")
    assert "None of 540 configurations is predicted to reach 99 %" in text
    assert f"<code>{found.best.key.replace(',', ', ')}</code>" in text
    assert not comparison(page)


def test_samples_alone() -> None:
    here = space()
    table = trained(here, [(dict(here.baseline), 0, Purpose.DESIGN)], np.random.default_rng(0))
    badge, tone, text = told(Page("t", table, MACS))
    assert (badge, tone) == ("Measured", "none")
    assert "1 training of 1 configuration; the best is <code>f=64" in text
    assert "No target has been set" in text


def test_nothing_but_failures() -> None:
    here = space()
    table = Samples.of(here, [Sample(dict(here.baseline), 0, None, status="failed", reason="no memory")])
    badge, _, text = told(Page("t", table, MACS))
    assert badge == "No result"
    assert "1 of 1 training failed" in text
    assert math.isnan(table.precision[0])


def test_baseline_as_the_answer() -> None:
    page = content()
    assert page.verdict is not None
    same = replace(page, verdict=replace(page.verdict, key=page.baseline_key))
    assert "That is the baseline itself." in told(same)[2]


def test_a_cost_of_a_family_s_own_is_shown_first() -> None:
    page, joules = content(), Cost("joules", "J", "energy of one image")
    page = replace(page, cost=joules, costs=(ComparedCost(joules, 8.0, 2.0), *page.costs))
    assert "It costs <strong>4.0 times less</strong> in energy of one image and" in told(page)[2]
    row = comparison(page)[2]
    assert (row.label, row.baseline, row.answer) == ("Energy of one image", "8 J", "2 J")
    assert row.difference == "4.0x less"


def test_a_column_of_a_table_keeps_its_name() -> None:
    page = content()
    page = replace(page, costs=(ComparedCost(Cost("mJ", known="measured"), 8.0, 8.0),))
    row = comparison(page)[2]
    assert (row.label, row.difference) == ("mJ", "the same")


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "\"'><b>", "f=1,<i>"])
def test_words_escape(evil: str) -> None:
    page = content()
    assert page.verdict is not None
    _, _, text = told(replace(page, verdict=replace(page.verdict, key=evil)))
    assert evil not in text
    assert evil.replace(",", ", ") not in text


def test_the_longest_configuration_is_marked() -> None:
    said = marked("f=1,k=3 beats f=1 and k=3,f=1 by 2 MACs at 3 ms.", ["f=1", "f=1,k=3", ""])
    assert said == (
        "<code>f=1, k=3</code> beats <code>f=1</code> and k=3,<code>f=1</code> by 2\xa0MACs at 3\xa0ms."
    )

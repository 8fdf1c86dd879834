"""The answer in words, for every kind of study."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from paper_study import choice, content, space, trained

from cpmodel.records.sample import Sample
from cpmodel.report import ReportContent
from cpmodel.report.words import answer_text, comparison, page_digits
from cpmodel.samples import Samples
from cpmodel.verify import Comparison, Interval


def told(page: ReportContent) -> tuple[str, str, str]:
    answer = answer_text(page, page_digits(page))
    return answer.badge, answer.tone, " ".join(answer.sentences).replace("\xa0", " ")


def test_reached() -> None:
    page = content()
    badge, tone, text = told(page)
    assert page.verdict is not None
    assert (badge, tone) == ("Reached", "good")
    assert f"<code>{page.verdict.key.replace(',', ', ')}</code> reaches 90 %" in text
    assert "90.4 % of 5,000 test images rightly (mean of 3 fresh trainings)" in text
    assert (
        "With 95.0 % confidence, over seeds and images, its precision lies between 90.1 % and 90.8 %" in text
    )
    assert "times less</strong> in multiply-accumulates and" in text


def test_missed_and_undecided() -> None:
    page = content()
    assert page.verdict is not None
    missed = replace(page.verdict, status="missed", test=(0.89, 0.88, 0.885), low=0.88, high=0.895)
    badge, tone, text = told(replace(page, verdict=missed))
    assert (badge, tone) == ("Missed", "bad")
    assert "all of that is below the target, though it stood on validation with 90.6 %" in text
    undecided = replace(page.verdict, status="undecided", low=0.8996)
    badge, tone, text = told(replace(page, verdict=undecided))
    assert (badge, tone) == ("Undecided", "open")
    # one decimal would print 90.0 %, which looks like the target
    assert "between 89.96 % and 90.79 %, and the target is among these" in text


def test_a_drop_is_told_against_the_baseline() -> None:
    page = content()
    assert page.verdict is not None
    difference = Interval(-0.012, -0.018, 0.001, 0.97, 0.001, 9.0)
    against = Comparison("f=64", 0.02, (0, 1, 2), (0.92, 0.92, 0.92), (0.916, 0.917, 0.915), difference)
    badge, tone, text = told(replace(page, verdict=replace(page.verdict, comparison=against, opening=2)))
    assert (badge, tone) == ("Reached", "good")
    assert "stays within 2.0 points of the baseline" in text
    assert "it lies −0.1 to 1.8 points below 3 networks of the baseline on the same images" in text
    row = comparison(replace(page, verdict=replace(page.verdict, comparison=against, opening=2)), 1)[1]
    assert (row.label, row.baseline.replace("\xa0", " ")) == ("Precision, test", "91.6 %")
    assert row.difference.startswith("−")
    assert "opening 2 of this split" in row.detail
    beyond = replace(page.verdict, status="missed", comparison=replace(against, drop=0.001))
    _, _, text = told(replace(page, verdict=beyond))
    assert "is not within 0.1 points of the baseline" in text


def test_one_seed_says_what_its_interval_leaves_out() -> None:
    page = content()
    assert page.verdict is not None
    _, _, text = told(replace(page, verdict=replace(page.verdict, test=(0.904,), validation=(0.905,))))
    assert "over images alone, there being one seed" in text
    assert "(one fresh training)" in text


def test_predicted_names_the_plain_and_the_safe_answer() -> None:
    page = content(verdict=None, answer=None, costs=())
    found = page.choice
    assert found is not None and found.plain is not None and found.safe is not None
    badge, tone, text = told(page)
    assert (badge, tone) == ("Predicted", "open")
    assert f"Of 540 configurations, <code>{found.plain.key.replace(',', ', ')}</code> is expected" in text
    assert "not yet verified" in text
    assert found.safe.key.replace(",", ", ") in text
    rows = comparison(page, 1)
    assert [row.label for row in rows] == ["Precision", "MACs of one image"]
    assert rows[0].detail.endswith("answer: predicted")


def test_unreachable() -> None:
    found = choice(space(), 0.99)
    badge, tone, text = told(content(choice=found, verdict=None, answer=None, costs=()))
    assert (badge, tone) == ("Out of reach", "bad")
    assert "None of 540 configurations is predicted to reach 99 %" in text
    assert found.best.key.replace(",", ", ") in text
    assert not comparison(content(choice=found, verdict=None, answer=None, costs=()), 1)


def test_samples_alone() -> None:
    here = space()
    import numpy as np

    table = trained(here, [(dict(here.baseline), 0, "")], np.random.default_rng(0))
    badge, tone, text = told(ReportContent("t", here, table))
    assert (badge, tone) == ("Measured", "none")
    assert "1 training of 1 configuration; the best is" in text
    assert "No target has been set" in text


def test_nothing_but_failures() -> None:
    here = space()
    table = Samples.of(here, [Sample(dict(here.baseline), 0, None, status="failed", reason="no memory")])
    badge, _, text = told(ReportContent("t", here, table))
    assert badge == "No result"
    assert "1 of 1 training failed" in text
    assert math.isnan(table.precision[0])


def test_baseline_as_the_answer() -> None:
    page = content()
    assert page.verdict is not None
    same = replace(page, verdict=replace(page.verdict, key=page.baseline_key))
    assert "That is the baseline itself." in told(same)[2]


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", "\"'><b>"])
def test_words_escape(evil: str) -> None:
    page = content()
    assert page.verdict is not None
    _, _, text = told(replace(page, verdict=replace(page.verdict, key=evil)))
    assert evil not in text

"""The page of a table, and of networks of a family that nobody knew."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from own_family import Squeezed

from cpmodel.errors import BadInputError
from cpmodel.families import Task
from cpmodel.optimize import Choice, Problem, cheapest
from cpmodel.pipeline.costing import complexity_of
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.stages import Fits, fit
from cpmodel.records.sample import Sample
from cpmodel.report.build import page_of
from cpmodel.report.render import drawings_of, render
from cpmodel.report.words import comparison
from cpmodel.samples import Samples, read_csv


def own() -> tuple[Material, Fits]:
    """Twelve trainings of a family with costs of its own and a conditional parameter."""
    task = Task(4, 4, 1, 3)
    space = Squeezed().space(task)
    rows = space.configurations(space.candidates())
    samples = [Sample(c, 0, 1 - 0.5 / (float(c["w"]) + float(c.get("v", 6)))) for c in rows]
    material = Material(Samples.of(space, samples), Squeezed(), task)
    return material, fit(material, "logpower")


def chosen(material: Material, fits: Fits, complexity: str, target: float) -> Choice:
    price = complexity_of(material, complexity).of
    model = fits.precision.model
    return cheapest(Problem(material.space, model, price, complexity), target, 0.6)


def test_a_cost_of_a_family_s_own_is_listed_and_drawn_first() -> None:
    material, fits = own()
    for name in ("weights", "cents"):
        choice = chosen(material, fits, name, 0.95)
        assert choice.plain is not None
        page = page_of(material, fits, title="mine", choice=choice)
        assert [line.cost.name for line in page.costs] == sorted(
            {"weights", "cents"}, key=lambda n: n != name
        )
        assert page.costs[0].answer == pytest.approx(choice.plain.complexity)
        assert page.costs[0].baseline == page.base == pytest.approx(choice.baseline.complexity)
        assert comparison(page)[1].answer
        text = render(page)
        assert "macs" not in text.partition('id="plotly"')[0].lower()
        label = page.cost.label
        assert f"here {label};" in text
        axis = drawings_of(page)["cloud"][0].figure.layout.xaxis
        assert axis.title.text.startswith(label)


def test_what_is_drawn_without_a_choice_is_what_the_family_minimises() -> None:
    material, fits = own()
    assert page_of(material, fits, title="t").cost.name == "cents"
    assert page_of(material, fits, title="t", complexity="weights").cost.name == "weights"


def test_conditional_parameters_have_curves_where_the_baseline_has_them() -> None:
    material, fits = own()
    drawings = drawings_of(page_of(material, fits, title="t"))
    assert [d.name for d in drawings["curves"]] == ["curve-w", "curve-l", "curve-v"]
    assert all(d.figure.layout.template.layout.font.size == 13 for d in drawings["curves"])


TABLE = "".join(
    f"{f},{k},{1 - 0.4 / f - 0.1 / k:.4f},{f * k * 3}\n" for f in (2, 4, 8, 16) for k in (1, 2, 4)
)


def test_the_page_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("f,k,acc,joules\n" + TABLE)
    samples = read_csv(tmp_path / "mine.csv", parameters=("f", "k"), precision="acc")
    material = Material(samples, source="mine.csv")
    fits = fit(material, "logpower")
    page = page_of(material, fits, title="mine", choice=chosen(material, fits, "joules", 0.9))
    assert page.settings is None
    assert [line.cost.name for line in page.costs] == ["joules"]
    text = render(page)
    assert "<dt>Recipe</dt>" not in text
    rows = re.findall(r'<th scope="row">(.*?)</th>', text)
    assert rows == ["Precision", "joules"]


def test_a_column_that_tells_too_little_is_not_drawn_unless_asked_for() -> None:
    space = Squeezed().space(Task(4, 4, 1, 3))
    rows = [Sample(c, 0, 1 - 0.5 / float(c["w"])) for c in space.configurations(space.candidates())]
    samples = Samples.of(space, rows)
    samples = replace(samples, frame=samples.frame.assign(joules=[1.0, 2.0, *[np.nan] * 10]))
    material = Material(samples, source="mine.csv")
    fits = fit(material, "logpower")
    page = page_of(material, fits, title="t")
    assert page.complexity is None
    assert np.isnan(page.base)
    assert not drawings_of(page)["cloud"]
    assert "No target has been set" in render(page)
    for unknown in ("joules", "latency_s"):
        with pytest.raises(BadInputError):
            page_of(material, fits, title="t", complexity=unknown)

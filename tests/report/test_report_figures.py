"""What the figures are told to draw, against tables small enough to work out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from paper_study import MACS, complexity_fit, content, precision_fit

from cpmodel.cost import Cost
from cpmodel.errors import BadInputError
from cpmodel.metrics import Accuracy
from cpmodel.optimize import Cloud
from cpmodel.pipeline.costing import Complexity
from cpmodel.pipeline.curve import Curve
from cpmodel.records.sample import Sample
from cpmodel.report.agreement import complexity_agreement, draw_precision_agreement, precision_agreement
from cpmodel.report.cloud import DRAWN, cloud_data, draw_cloud, draw_paper, paper_data
from cpmodel.report.curves import curves_data, draw_surfaces, line, plane, surfaces_data
from cpmodel.report.page import Page, Points, key_text
from cpmodel.report.render import drawings_of
from cpmodel.report.style import PrecisionAxis, complexity_axis, parameter_axis
from cpmodel.report.tables import band_table
from cpmodel.report.training import course_data, learning_data, training_facts
from cpmodel.report.words import answer_text
from cpmodel.samples import Samples
from cpmodel.space import Condition, Parameter, Space
from cpmodel.surrogates.complexity.fit import Apart

SPACE = Space((Parameter("f", (2, 4, 8)), Parameter("k", (3, 5))))


class Plane:
    """A model of P that is linear in f and k."""

    noise_std_, coefficients_ = 0.01, ()

    def predict(self, X: Any) -> Any:
        return X[:, 0] / 10 + (X[:, 1] / 100 if X.shape[1] > 1 else 0)

    def predict_interval(self, X: Any, level: float) -> Any:
        return self.predict(X) - 0.1, self.predict(X) + 0.1


def small(*rows: tuple[int, int, int, float | None], **changes: Any) -> Page:
    """Rows of (f, k, seed, precision); complexity is f * k."""
    made = [
        Sample({"f": f, "k": k}, seed, p, status="complete" if p is not None else "failed")
        for f, k, seed, p in rows
    ]
    cost = np.array([float(f * k) for f, k, _, _ in rows])
    given: dict[str, Any] = {"complexity": cost, "base": 40.0}
    return Page("small", Samples.of(SPACE, made), MACS, **(given | changes))


def test_means_gather_seeds_and_leave_failures_out() -> None:
    means = small((8, 5, 0, 0.9), (2, 3, 0, 0.5), (8, 5, 1, 0.8), (4, 3, 0, None)).means
    assert means.keys == ("f=8,k=5", "f=2,k=3")
    assert means.mean == pytest.approx([0.85, 0.5])
    assert means.low.tolist() == [0.8, 0.5]
    assert means.high.tolist() == [0.9, 0.5]
    assert means.seeds.tolist() == [2, 1]
    assert means.complexity.tolist() == [40.0, 6.0]
    assert means.of("f=4,k=3") is None


def test_cloud_shows_means_baseline_and_says_t_p_c() -> None:
    data = cloud_data(small((8, 5, 0, 0.9), (8, 5, 1, 0.8), (2, 3, 0, 0.5)))
    assert data.measured.x.tolist() == [40.0, 6.0]
    assert data.measured.y == pytest.approx([0.85, 0.5])
    assert data.baseline.y == pytest.approx([0.85])
    text = data.measured.hover[1].replace("\xa0", " ")
    assert "f=2, k=3" in text
    assert "50.0 % measured, 1 training" in text
    assert "6 MACs" in text
    assert "0.15 of the baseline" in text
    assert len(data.configurations) == len(data.envelope) == len(data.verified) == 0


def test_cloud_leaves_out_what_a_log_axis_cannot_show() -> None:
    X = SPACE.candidates()
    cost = np.array([0.0, -1.0, np.nan, 10.0, 20.0, 30.0])
    data = cloud_data(small((8, 5, 0, 0.9), cloud=Cloud(X, cost, np.full(6, 0.5))))
    assert data.configurations.x.tolist() == [10.0, 20.0, 30.0]
    assert data.total == 6


def test_large_cloud_is_drawn_in_part_the_same_each_time() -> None:
    rng = np.random.default_rng(1)
    X = SPACE.candidates()[rng.integers(0, SPACE.size, 10 * DRAWN)]
    cloud = Cloud(X, rng.uniform(1, 40, len(X)), rng.uniform(0.4, 0.9, len(X)))
    drawn = [cloud_data(small((8, 5, 0, 0.9), cloud=cloud)) for _ in range(2)]
    assert len(drawn[0].configurations) == DRAWN
    assert drawn[0].configurations.hover == drawn[1].configurations.hover
    caption = draw_cloud(drawn[0], small((8, 5, 0, 0.9))).caption
    assert "3,000 of 30,000" in caption


def test_full_cloud_has_the_answer_as_predicted_and_as_verified() -> None:
    full = content()
    data = cloud_data(full)
    assert full.chosen is not None and full.verdict is not None and full.choice is not None
    assert len(data.configurations) == data.total == full.space.size
    assert data.envelope.y.tolist() == full.choice.envelope.precision.tolist()
    assert data.predicted.y.tolist() == [full.chosen.precision]
    assert data.verified.y == pytest.approx([np.mean(full.verdict.test)])
    assert (data.verified.low, data.verified.high) == (
        [full.verdict.interval.low],
        [full.verdict.interval.high],
    )
    drawn = sum(len(trace.x) for trace in draw_cloud(data, full).figure.data)
    assert drawn == len(data)


def band(**changes: object) -> Curve:
    """C(P) at three precisions; perhaps nothing reaches the last one."""
    told: dict[str, object] = {
        "status": "open",
        "reason": "the budget of 9 trainings is spent",
        "complexity": "macs",
        "unit": 40.0,
        "level": 0.9,
        "targets": np.array([0.5, 0.7, 0.9]),
        "keys": ("f=2,k=3", "f=4,k=3", ""),
        "least": np.array([6.0, 12.0, np.nan]),
        "low": np.array([6.0, 10.0, 20.0]),
        "high": np.array([6.0, 20.0, np.inf]),
        "reachable": np.array([1.0, 1.0, 0.4]),
        "width": np.array([0.0, 0.2, 0.5]),
        "trainings": 9,
        "train_s": 12.0,
    }
    return Curve(**(told | changes))  # type: ignore[arg-type]


def test_the_band_is_an_outline_and_a_table() -> None:
    cloud = Cloud(SPACE.candidates(), np.array([6.0, 10, 12, 20, 24, 40]), np.linspace(0.5, 0.8, 6))
    page = small((8, 5, 0, 0.9), curve=band(), cloud=cloud)
    data = cloud_data(page)
    # up the cheap side and down the dear one, which ends with the dearest configuration where it is open
    assert data.band.x.tolist() == [6, 10, 20, 40, 20, 6]
    assert data.band.y.tolist() == [0.5, 0.7, 0.9, 0.9, 0.7, 0.5]
    figure = draw_cloud(data, page).figure
    assert sum(len(trace.x) for trace in figure.data) == len(data)
    (area,) = [trace for trace in figure.data if trace.fill == "toself"]
    assert area.name.replace("\xa0", " ") == "least complexity, 90 % band"
    table = band_table(page)
    assert table is not None
    rows = [[cell.replace("\xa0", " ") for cell in row] for row in table.rows]
    assert [row[0] for row in rows] == ["50.0 %", "70.0 %", "90.0 %"]
    assert [row[3] for row in rows] == ["6 MACs to 6 MACs", "10 MACs to 20 MACs", "20 MACs to none"]
    assert rows[2][1:3] == ["none", ""]
    assert rows[2][4:] == ["40 %", "none"]
    assert band_table(small((8, 5, 0, 0.9))) is None


def test_the_curve_in_words() -> None:
    def told(**changes: object) -> tuple[str, str, str]:
        answer = answer_text(small((8, 5, 0, 0.9), curve=band(**changes)))
        return answer.badge, answer.tone, " ".join(answer.sentences).replace("\xa0", " ")

    badge, tone, text = told()
    assert (badge, tone) == ("Curve so far", "open")
    assert "rises from 6 MACs for 50.0 % (<code>f=2, k=3</code>) to 12 MACs for 70.0 %" in text
    assert "None is predicted to reach 90.0 % or more." in text
    assert "least certain at 90.0 %, where it may be 1.65 times more or less" in text
    assert told(status="settled")[:2] == ("Curve", "good")
    badge, tone, text = told(least=np.full(3, np.nan), keys=("", "", ""))
    assert (badge, tone, text) == ("Out of reach", "bad", "No configuration is predicted to reach 50.0 %.")


def test_the_paper_s_grid_with_the_curve_below_it() -> None:
    assert paper_data(small((8, 5, 0, 0.9))) is None
    rng = np.random.default_rng(0)
    cost, P = np.exp(rng.normal(3, 1, 5000)), rng.uniform(0.3, 0.9, 5000)
    X = np.column_stack([np.full(5000, 3.2), np.full(5000, 4.75)])
    page = content(paper=Cloud(np.column_stack([X, X]), cost, P))
    data = paper_data(page)
    assert data is not None
    assert (data.total, len(data.configurations)) == (5000, DRAWN)
    order = np.argsort(cost)
    better = P[order] > np.concatenate([[-1], np.maximum.accumulate(P[order])[:-1]])
    assert data.envelope.x.tolist() == cost[order][better].tolist()
    assert "f=3.2" in data.configurations.hover[0]
    drawing = draw_paper(data, page)
    assert drawing.name == "paper-grid"
    assert "Few of these 5,000 points can be built" in drawing.caption
    both = drawings_of(page)["cloud"]
    assert [d.name for d in both] == ["cloud", "paper-grid"]


def test_agreement_keeps_rows_with_a_prediction() -> None:
    page = small((8, 5, 0, 0.5), (4, 5, 0, 0.6), (2, 5, 0, 0.7))
    ends = {"low": np.full(3, 0.4), "high": np.full(3, 0.9)}
    fit = precision_fit(page.samples.precision, [0.5, np.nan, 0.75], name="m<i>", **ends)
    (data,) = precision_agreement(replace(page, precision=(fit,)))
    assert data.points.x.tolist() == [0.5, 0.7]
    assert data.points.y.tolist() == [0.5, 0.75]
    assert data.points.hover[1] == (
        "<b>T</b>  f=2, k=5<br><b>P</b>  70.0 % measured<br>      75.0 % predicted by m&lt;i&gt;"
        "<br>      90 % interval 40.0 % to 90.0 %"
    )


def test_agreement_of_run_times_has_units_and_positive_values() -> None:
    fit = complexity_fit([1e-3, 0.0, 3e-3], [2e-3, 1e-3, 4e-3])
    X = SPACE.candidates()[:3]
    modelled = Complexity(Cost("latency_s", "s"), lambda X: X[:, 0], fit, None, X, fit.measured)
    page = small((8, 5, 0, 0.9), modelled=modelled)
    (data,) = complexity_agreement(page)
    assert data.points.x.tolist() == [1e-3, 3e-3]
    assert "1 ms measured" in data.points.hover[0]
    assert (
        data.errors
        == "Mean relative error 2.00 % by cross-validation (80 % of them within 10 %), 1.00 % in sample."
    )


def test_agreement_shows_the_rows_that_a_fit_had_not_seen() -> None:
    apart = Apart(np.array([False, False, True]), np.array([9.0, 9.0, 2e-3]), 0.5, 0.25)
    fit = replace(complexity_fit([1e-3, 2e-3, 3e-3], [1e-3, 2e-3, 3e-3]), apart=apart)
    X = SPACE.candidates()[:3]
    modelled = Complexity(Cost("latency_s", "s"), lambda X: X[:, 0], fit, None, X, fit.measured)
    (data,) = complexity_agreement(small((8, 5, 0, 0.9), modelled=modelled))
    assert (data.points.x.tolist(), data.points.y.tolist()) == ([3e-3], [2e-3])
    assert "50.00 % by 1 held-out configurations (25 % of them within 10 %)" in data.errors


def test_curves_take_measured_points_on_their_line() -> None:
    rows = ((8, 5, 0, 0.9), (2, 5, 0, 0.5), (2, 3, 0, 0.1), (2, 5, 1, 0.7))
    page = small(*rows)
    data, _ = curves_data(replace(page, precision=(precision_fit([0.9], [0.9], model=Plane()),)))
    assert data.predicted.x[[0, -1]].tolist() == [2.0, 8.0]
    assert data.predicted.y == pytest.approx(data.predicted.x / 10 + 0.05)
    assert data.predicted.low == pytest.approx(data.predicted.y - 0.1)
    assert data.measured.x.tolist() == [2.0, 8.0]
    assert data.measured.y == pytest.approx([0.6, 0.9])
    assert data.measured.low is not None and data.measured.low.tolist() == [0.5, 0.9]
    assert curves_data(page) == ()


def test_curve_along_a_parent_takes_points_without_its_child() -> None:
    space = Space(
        (
            Parameter("second", ("no", "yes"), categorical=True),
            Parameter("f2", (4, 8), when=Condition("second", ("yes",))),
        )
    )
    samples = Samples.of(
        space,
        [
            Sample({"second": "no"}, 0, 0.5),
            Sample({"second": "yes", "f2": 8}, 0, 0.9),
            Sample({"second": "yes", "f2": 4}, 0, 0.7),
        ],
    )
    fit = precision_fit([0.5], [0.5], model=Plane())
    data = curves_data(Page("t", samples, MACS, precision=(fit,)))[0]
    assert data.measured.x.tolist() == [0.0, 1.0]
    assert data.measured.y.tolist() == [0.5, 0.9]


def test_line_is_empty_where_there_is_nothing_to_vary() -> None:
    space = Space(
        (
            Parameter("a", (1,)),
            Parameter("b", ("x", "y"), categorical=True),
            Parameter("c", (1, 2), when=Condition("b", ("x",))),
        )
    )
    assert len(line(space, "a")) == 0
    assert len(line(space, "c")) == 0  # inactive at the baseline
    assert line(space, "b")[:, 1].tolist() == [0.0, 1.0]


def test_training_facts_count_and_name_failures() -> None:
    table = small((8, 5, 0, 0.9), (4, 3, 7, None), (8, 5, 1, 0.8)).samples
    facts = training_facts(table)
    assert (facts.trainings, facts.configurations) == (3, 2)
    assert facts.statuses == (("complete", 2), ("failed", 1))
    assert facts.failures == (("f=4,k=3", 7, ""),)


def test_course_is_in_the_order_of_the_table() -> None:
    full = content()
    points, precision = course_data(full)
    usable = full.samples.usable
    assert points.x.tolist() == list(range(1, len(usable) + 1))
    assert precision.tolist() == usable.precision.tolist()
    assert "training 1 (design)" in points.hover[0]


def test_learning_curves_bear_any_text_in_the_column() -> None:
    page = small(*((8, 5, seed, 0.9) for seed in range(6)))
    frame = page.samples.frame.assign(curve=["[0.5, 0.9]", "", "{}", "[1.2, 0.3]", '["a"]', "[0.1, NaN]"])
    (curve,) = learning_data(replace(page, samples=replace(page.samples, frame=frame)))
    assert (curve.precision, curve.role) == ((0.5, 0.9), "baseline")


@pytest.mark.parametrize("values", [[0.9, 1.0], [1.0], [0.0, 1.0], [0.5], [], [np.nan, 0.7], [0.99999, 0.2]])
def test_precision_axis_holds_whatever_comes(values: list[float]) -> None:
    axis = PrecisionAxis.of(values)
    assert 0 < axis.low < axis.high
    placed = axis.place([v for v in values if v == v])
    assert ((placed >= axis.low) & (placed <= axis.high)).all()
    assert len(axis.ticks) <= 10


def test_precision_axis_bars_reach_to_the_ends() -> None:
    axis = PrecisionAxis.of([0.5, 0.9])
    nan = np.nan
    points = Points(np.zeros(2), np.array([0.8, 0.8]), ("", ""), np.array([0.7, nan]), np.array([0.9, nan]))
    bars = axis.bars(points, "red")
    assert bars is not None
    assert bars["array"] == pytest.approx([0.1, 0])  # towards the larger error
    assert bars["arrayminus"] == pytest.approx([0.1, 0])


class Mistakes(Accuracy):
    label, direction = "share of mistakes", "lower"


def test_precision_axis_is_written_in_the_metric_s_own_unit() -> None:
    axis = PrecisionAxis.of([0.9, 0.99])
    known = content().notation
    assert axis.layout(known, "measured")["title"]["text"] == "measured precision P"
    assert {"90 %", "99 %"} <= set(axis.layout(known)["ticktext"])
    lower = axis.layout(replace(known, metric=Mistakes()))
    assert lower["title"]["text"] == "share of mistakes"
    assert {"10 %", "1 %"} <= set(lower["ticktext"])


def test_complexity_axis_bears_one_value_and_none() -> None:
    for values in ([5.0], [], [1e-6, 1e6]):
        low, high = complexity_axis(MACS, values)["range"]
        assert low < high


def test_complexity_axis_says_its_unit_once() -> None:
    def title(cost: Cost) -> str:
        return str(complexity_axis(cost, [1.0, 2.0])["title"]["text"])

    assert title(MACS) == "MACs of one image"
    assert title(Cost("latency_s", "s", "run-time of one batch")) == "run-time of one batch"
    assert title(Cost("power", "watts")) == "power (watts)"
    assert title(Cost("<i>")) == "&lt;i&gt;"
    assert complexity_axis(Cost("t", "s"), [1e-3, 1.0])["ticktext"][0] == "1 ms"


def test_key_of_a_drawn_grid_lies_between_values() -> None:
    assert key_text(SPACE, [2.4, 5.0]) == "f=2.4,k=5"
    assert key_text(SPACE, [np.nan, 3.0]) == "k=3"


def test_lengths_must_agree() -> None:
    with pytest.raises(BadInputError, match="complexity: expected 1 of them, got 2"):
        small((8, 5, 0, 0.9), complexity=np.zeros(2))


CUBE = Space((Parameter("f", (2, 4, 8)), Parameter("k", (3, 5)), Parameter("l", (1, 2))))


def test_a_plane_is_the_grid_of_two_parameters_at_the_baseline() -> None:
    X = plane(CUBE, ("f", "k"), points=2)
    assert {tuple(row) for row in X.tolist()} == {(f, k, 2.0) for f in (2.0, 4.0, 8.0) for k in (3.0, 5.0)}
    assert len(X) == 6
    single = Space((Parameter("a", (1,)), Parameter("b", (1, 2))))
    assert plane(single, ("a", "b")).shape == plane(single, ("b", "a")).shape == (0, 2)


def test_surfaces_take_the_trainings_of_their_plane() -> None:
    values = (2, 4, 8, 16)
    space = Space((Parameter("f", values), Parameter("k", values), Parameter("l", (1, 2))))
    moved = [{"f": f, "k": k, "l": 2} for f in (2, 4, 8) for k in (2, 4, 8)]
    rows = [Sample(c, seed, 0.5 + 0.2 * seed) for seed in (0, 1) for c in moved]
    rows.append(Sample({"f": 2, "k": 2, "l": 1}, 0, 0.1))
    fit = precision_fit([0.5], [0.5], model=Plane())
    page = Page("t", Samples.of(space, rows), MACS, precision=(fit,))
    (data,) = surfaces_data(page)
    assert (data.first.name, data.second.name) == ("f", "k")
    assert data.along[[0, -1]].tolist() == data.up[[0, -1]].tolist() == [2.0, 16.0]
    expected = data.along[None, :] / 10 + data.up[:, None] / 100
    assert data.predicted == pytest.approx(expected)
    assert data.trained.x.tolist() == [2, 2, 2, 4, 4, 4, 8, 8, 8]
    assert data.trained.y.tolist() == [2, 4, 8] * 3
    assert data.measured == pytest.approx(np.full(9, 0.6))
    (drawing,) = draw_surfaces([data], page)
    contour, circles = drawing.figure.data
    # one scale for both: what is measured as the surface says has the surface's colour
    assert (contour.zmin, contour.zmax) == (circles.marker.cmin, circles.marker.cmax)
    assert np.asarray(contour.z)[0, 0] == pytest.approx(-math.log10(1 - 0.22))
    assert np.asarray(circles.marker.color) == pytest.approx(np.full(9, -math.log10(1 - 0.6)))
    fewer = replace(page, samples=Samples.of(space, rows[:8]))
    assert surfaces_data(fewer) == ()


def test_two_models_of_precision_beside_each_other() -> None:
    fits = (
        precision_fit([0.8, 0.9], [0.81, 0.89], cv_relative_error=0.02),
        precision_fit([0.8, 0.9], [0.7, np.nan], name="explinear", cv_relative_error=0.04),
    )
    page = small((8, 5, 0, 0.8), (4, 5, 0, 0.9), precision=fits)
    drawing = draw_precision_agreement(precision_agreement(page), page)
    assert [trace.name for trace in drawing.figure.data] == ["auto", "explinear"]
    assert [len(trace.x) for trace in drawing.figure.data] == [2, 1]
    assert "auto: mean relative error 2.00 % by cross-validation" in drawing.caption
    assert "explinear: mean relative error 4.00 %" in drawing.caption


def test_a_title_that_is_cut_off_tells_the_name_alone() -> None:
    short, long = (
        Parameter("f", (2, 8), "filters"),
        Parameter("pool", ("a", "b"), "x " * 20, categorical=True),
    )
    assert [parameter_axis(p)["title"]["text"] for p in (short, long)] == ["f  filters", "pool"]

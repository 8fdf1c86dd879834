"""What the figures are told to draw, against tables small enough to work out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from paper_study import content

from cpmodel.errors import BadInputError
from cpmodel.optimize import Cloud
from cpmodel.pipeline.curve import Curve
from cpmodel.records.sample import Sample
from cpmodel.report import CurveView, FitView, ReportContent, SurfaceView, line, plane
from cpmodel.report.agreement import agreement_data, draw_precision_agreement
from cpmodel.report.cloud import DRAWN, cloud_data, draw_cloud, draw_paper, paper_data
from cpmodel.report.curves import curves_data
from cpmodel.report.display import digits_for, key_text
from cpmodel.report.means import means_of
from cpmodel.report.page import drawings_of
from cpmodel.report.style import PrecisionAxis, complexity_axis
from cpmodel.report.surfaces import draw_surfaces, surfaces_data
from cpmodel.report.tables import band_table
from cpmodel.report.training import course_data, learning_data, training_facts
from cpmodel.report.words import answer_text
from cpmodel.samples import Samples
from cpmodel.space import Condition, Parameter, Space

SPACE = Space((Parameter("f", (2, 4, 8)), Parameter("k", (3, 5))))


def small(*rows: tuple[int, int, int, float | None], **changes: object) -> ReportContent:
    """Rows of (f, k, seed, precision); complexity is f * k."""
    samples = Samples.of(
        SPACE,
        [
            Sample({"f": f, "k": k}, seed, p, status="complete" if p is not None else "failed")
            for f, k, seed, p in rows
        ],
    )
    cost = np.array([float(f * k) for f, k, _, _ in rows])
    given = {"sample_complexity": cost, "baseline_complexity": 40.0} | changes
    return ReportContent("small", SPACE, samples, **given)  # type: ignore[arg-type]


def test_means_gather_seeds_and_leave_failures_out() -> None:
    means = means_of(small((8, 5, 0, 0.9), (2, 3, 0, 0.5), (8, 5, 1, 0.8), (4, 3, 0, None)))
    assert means.keys == ("f=8,k=5", "f=2,k=3")
    assert means.mean == pytest.approx([0.85, 0.5])
    assert means.low.tolist() == [0.8, 0.5]
    assert means.high.tolist() == [0.9, 0.5]
    assert means.seeds.tolist() == [2, 1]
    assert means.complexity.tolist() == [40.0, 6.0]
    assert means.of("f=4,k=3") is None


def test_cloud_shows_means_baseline_and_says_t_p_c() -> None:
    data = cloud_data(small((8, 5, 0, 0.9), (8, 5, 1, 0.8), (2, 3, 0, 0.5)))
    assert data.measured.complexity.tolist() == [40.0, 6.0]
    assert data.measured.precision == pytest.approx([0.85, 0.5])
    assert data.baseline.precision == pytest.approx([0.85])
    text = data.measured.hover[1].replace("\xa0", " ")
    assert "f=2, k=3" in text
    assert "50.0 % measured, 1 training" in text
    assert "6 MACs" in text
    assert "0.15 of the baseline" in text
    assert math.isnan(data.target)
    assert len(data.configurations) == len(data.envelope) == len(data.verified) == 0


def test_cloud_leaves_out_what_a_log_axis_cannot_show() -> None:
    X = SPACE.candidates()
    cost = np.array([0.0, -1.0, np.nan, 10.0, 20.0, 30.0])
    data = cloud_data(small((8, 5, 0, 0.9), cloud=Cloud(X, cost, np.full(6, 0.5))))
    assert data.configurations.complexity.tolist() == [10.0, 20.0, 30.0]
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
    assert full.answer is not None and full.verdict is not None and full.choice is not None
    assert len(data.configurations) == data.total == full.space.size
    assert data.envelope.precision.tolist() == full.choice.envelope.precision.tolist()
    assert data.predicted.precision.tolist() == [full.answer.precision]
    assert data.verified.precision == pytest.approx([np.mean(full.verdict.test)])
    assert (data.verified.low, data.verified.high) == ([full.verdict.low], [full.verdict.high])
    assert data.target == full.verdict.target
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
    page = small((8, 5, 0, 0.9), band=band(), cloud=cloud)
    data = cloud_data(page)
    # up the cheap side and down the dear one, which ends with the dearest configuration where it is open
    assert data.band.complexity.tolist() == [6, 10, 20, 40, 20, 6]
    assert data.band.precision.tolist() == [0.5, 0.7, 0.9, 0.9, 0.7, 0.5]
    figure = draw_cloud(data, page).figure
    assert sum(len(trace.x) for trace in figure.data) == len(data)
    (area,) = [trace for trace in figure.data if trace.fill == "toself"]
    assert area.name.replace("\xa0", " ") == "least complexity, 90 % band"
    table = band_table(page, 1)
    assert table is not None
    rows = [[cell.replace("\xa0", " ") for cell in row] for row in table.rows]
    assert [row[0] for row in rows] == ["50.0 %", "70.0 %", "90.0 %"]
    assert [row[3] for row in rows] == ["6 MACs to 6 MACs", "10 MACs to 20 MACs", "20 MACs to none"]
    assert rows[2][1:3] == ["none", ""]
    assert rows[2][4:] == ["40 %", "none"]
    assert band_table(small((8, 5, 0, 0.9)), 1) is None


def test_the_curve_in_words() -> None:
    def told(**changes: object) -> tuple[str, str, str]:
        answer = answer_text(small((8, 5, 0, 0.9), band=band(**changes)), 1)
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
    assert data.envelope.complexity.tolist() == cost[order][better].tolist()
    assert "f=3.2" in data.configurations.hover[0]
    drawing = draw_paper(data, page)
    assert drawing.name == "paper-grid"
    assert "Few of these 5,000 points can be built" in drawing.caption
    both = drawings_of(page, 1)["cloud"]
    assert [d.name for d in both] == ["cloud", "paper-grid"]


def test_agreement_keeps_held_out_rows_with_a_prediction() -> None:
    fit = FitView(
        "m",
        0.1,
        0.2,
        measured=np.array([0.5, 0.6, 0.7, 0.8]),
        predicted=np.array([0.5, np.nan, 0.75, 0.8]),
        low=np.full(4, 0.4),
        high=np.full(4, 0.9),
        keys=["a=1", "a=2", "a=3", "a=4"],
        held_out=np.array([False, True, True, True]),
    )
    data = agreement_data(fit)
    assert data.measured.tolist() == [0.7, 0.8]
    assert data.predicted.tolist() == [0.75, 0.8]
    text = data.hover[0].replace("\xa0", " ")
    assert "a=3" in text
    assert "70.0 % measured" in text
    assert "75.0 % predicted by m" in text
    assert "90 % interval 40.0 % to 90.0 %" in text


def test_agreement_of_run_times_has_units_and_positive_values() -> None:
    fit = FitView("m", 0.1, 0.2, np.array([1e-3, 0.0]), np.array([2e-3, 1e-3]), quantity="latency_s")
    data = agreement_data(fit)
    assert data.measured.tolist() == [1e-3]
    assert "1\xa0ms measured" in data.hover[0]


def test_curves_take_measured_points_on_their_line() -> None:
    X = line(SPACE, "f", points=3)
    view = CurveView("f", X[::-1], np.array([0.9, 0.8, 0.7]))
    rows = ((8, 5, 0, 0.9), (2, 5, 0, 0.5), (2, 3, 0, 0.1), (2, 5, 1, 0.7))
    (data,) = curves_data(small(*rows, curves=(view,)))
    assert data.codes.tolist() == [2.0, 4.0, 8.0]
    assert data.predicted.tolist() == [0.7, 0.8, 0.9]
    assert data.measured_codes.tolist() == [2.0, 8.0]
    assert data.measured == pytest.approx([0.6, 0.9])
    assert data.measured_low.tolist() == [0.5, 0.9]


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
    X = line(space, "second")
    view = CurveView("second", X, np.array([0.5, 0.9]))
    (data,) = curves_data(ReportContent("t", space, samples, curves=(view,)))
    assert data.measured_codes.tolist() == [0.0, 1.0]
    assert data.measured.tolist() == [0.5, 0.9]


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


def test_course_knows_answer_and_baseline() -> None:
    full = content()
    data = course_data(full)
    usable = full.samples.usable
    assert len(data.number) == len(usable)
    assert data.precision.tolist() == usable.precision.tolist()
    assert data.role.count("answer") == usable.keys.count(full.verdict.key if full.verdict else "")
    assert "training 1 (design)" in data.hover[0]


def test_learning_curves_bear_any_text_in_the_column() -> None:
    table = small(*((8, 5, seed, 0.9) for seed in range(6))).samples
    frame = table.frame.assign(curve=["[0.5, 0.9]", "", "{}", "[1.2, 0.3]", '["a"]', "[0.1, NaN]"])
    curves = learning_data(ReportContent("t", SPACE, replace(table, frame=frame)))
    assert [curve.precision for curve in curves] == [(0.5, 0.9)]


@pytest.mark.parametrize("values", [[0.9, 1.0], [1.0], [0.0, 1.0], [0.5], [], [np.nan, 0.7], [0.99999, 0.2]])
def test_precision_axis_holds_whatever_comes(values: list[float]) -> None:
    axis = PrecisionAxis.of(values)
    assert 0 < axis.low < axis.high
    placed = axis.place([v for v in values if v == v])
    assert ((placed >= axis.low) & (placed <= axis.high)).all()
    assert len(axis.ticks) <= 10


def test_precision_axis_bars_reach_to_the_ends() -> None:
    axis = PrecisionAxis.of([0.5, 0.9])
    bars = axis.bars(np.array([0.8, 0.8]), np.array([0.7, np.nan]), np.array([0.9, np.nan]))
    assert bars["array"] == pytest.approx([0.1, 0])  # towards the larger error
    assert bars["arrayminus"] == pytest.approx([0.1, 0])


def test_complexity_axis_bears_one_value_and_none() -> None:
    for values in ([5.0], [], [1e-6, 1e6]):
        low, high = complexity_axis("macs", "", values)["range"]
        assert low < high


def test_numbers_never_look_as_if_on_the_target() -> None:
    assert digits_for([0.93996], target=0.94) == 3
    assert digits_for([0.94], target=0.94) == 1
    assert digits_for([]) == 1


def test_key_of_a_drawn_grid_lies_between_values() -> None:
    assert key_text(SPACE, [2.4, 5.0]) == "f=2.4,k=5"
    assert key_text(SPACE, [np.nan, 3.0]) == "k=3"


def test_lengths_must_agree() -> None:
    with pytest.raises(BadInputError, match="sample_complexity: expected 1 of them, got 2"):
        small((8, 5, 0, 0.9), sample_complexity=np.zeros(2))
    with pytest.raises(BadInputError, match="fit m: predicted"):
        FitView("m", 0.1, 0.1, np.zeros(2), np.zeros(3))
    with pytest.raises(BadInputError, match="curve f: low"):
        CurveView("f", np.zeros((2, 2)), np.zeros(2), np.zeros(1))


CUBE = Space((Parameter("f", (2, 4, 8)), Parameter("k", (3, 5)), Parameter("l", (1, 2))))


def test_a_plane_is_the_grid_of_two_parameters_at_the_baseline() -> None:
    X = plane(CUBE, ("f", "k"), points=2)
    assert {tuple(row) for row in X.tolist()} == {(f, k, 2.0) for f in (2.0, 4.0, 8.0) for k in (3.0, 5.0)}
    assert len(X) == 6
    single = Space((Parameter("a", (1,)), Parameter("b", (1, 2))))
    assert plane(single, ("a", "b")).shape == plane(single, ("b", "a")).shape == (0, 2)


def test_surfaces_take_the_trainings_of_their_plane() -> None:
    X = plane(CUBE, ("f", "k"), points=2)[::-1]
    view = SurfaceView(("f", "k"), X, X[:, 0] / 10 + X[:, 1] / 100)
    rows = (({"f": 2, "k": 3, "l": 2}, 0.5), ({"f": 2, "k": 3, "l": 2}, 0.7), ({"f": 2, "k": 3, "l": 1}, 0.1))
    samples = Samples.of(CUBE, [Sample(c, seed, p) for seed, (c, p) in enumerate(rows)])
    (data,) = surfaces_data(ReportContent("t", CUBE, samples, surfaces=(view,)))
    assert data.along.tolist() == [2.0, 4.0, 8.0]
    assert data.up.tolist() == [3.0, 5.0]
    assert data.predicted == pytest.approx(np.array([[0.23, 0.43, 0.83], [0.25, 0.45, 0.85]]))
    assert (data.at_first.tolist(), data.at_second.tolist()) == ([2.0], [3.0])
    assert data.measured == pytest.approx([0.6])
    contour, circles = draw_surfaces([data])[0].figure.data
    # one scale for both: what is measured as the surface says has the surface's colour
    assert (contour.zmin, contour.zmax) == (circles.marker.cmin, circles.marker.cmax)
    assert np.asarray(contour.z)[0, 1] == pytest.approx(-math.log10(1 - 0.43))
    assert np.asarray(circles.marker.color) == pytest.approx([-math.log10(1 - 0.6)])


def test_two_models_of_precision_beside_each_other() -> None:
    first = FitView("auto", 0.01, 0.02, np.array([0.8, 0.9]), np.array([0.81, 0.89]))
    second = FitView("explinear", 0.03, 0.04, np.array([0.8, 0.9]), np.array([0.7, np.nan]))
    pairs = [(agreement_data(fit), fit) for fit in (first, second)]
    drawing = draw_precision_agreement(pairs)
    assert [trace.name for trace in drawing.figure.data] == ["auto", "explinear"]
    assert [len(trace.x) for trace in drawing.figure.data] == [2, 1]
    text = drawing.caption.replace("\xa0", " ")
    assert "auto: mean relative error 2.00 % by cross-validation" in text
    assert "explinear: mean relative error 4.00 %" in text

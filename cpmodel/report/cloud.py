"""The figure of the method: every configuration by complexity and precision, and the curve below them all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cpmodel.frontier import lower_envelope
from cpmodel.numbers import percent
from cpmodel.optimize import Cloud
from cpmodel.report import style
from cpmodel.report.page import Page, Points, key_text, plain

DRAWN = 3_000  # circles a browser moves smoothly
NOTHING = Points(np.empty(0), np.empty(0), ())


@dataclass(frozen=True, eq=False)
class CloudData:
    """What the cloud shows, those in front last; x is complexity, y precision.

    Parameters
    ----------
    band : Points
        The least complexity of each precision may lie from its first value to its last: a closed outline.
    configurations : Points
        Predicted ones, at most `DRAWN` of them: a fair draw where there are more.
    envelope : Points
        A staircase: the highest predicted P for at most this complexity.
    measured : Points
        One a configuration; bars span its seeds.
    baseline, predicted, verified : Points
        None or one each: the baseline, the answer as predicted, the answer on the test split.
    total : int
        How many configurations there were.
    """

    band: Points = NOTHING
    configurations: Points = NOTHING
    envelope: Points = NOTHING
    measured: Points = NOTHING
    baseline: Points = NOTHING
    predicted: Points = NOTHING
    verified: Points = NOTHING
    total: int = 0

    @property
    def groups(self) -> tuple[Points, ...]:
        """All points."""
        first = self.band, self.configurations, self.envelope, self.measured
        return *first, self.baseline, self.predicted, self.verified

    def __len__(self) -> int:
        return sum(map(len, self.groups))


def cloud_data(page: Page) -> CloudData:
    """What the cloud of a page shows; points without a positive complexity have no place on a log axis."""
    n, means, verdict, answer = page.notation, page.means, page.verdict, page.chosen
    hovers = [page.measured_hover(row) for row in range(len(means.mean))]
    measured = _points(means.complexity, means.mean, hovers, means.low, means.high)
    row = means.of(page.baseline_key)
    baseline = predicted = verified = envelope = NOTHING
    if row is not None:
        cost = means.complexity[row] if math.isnan(page.base) else page.base
        baseline = _points([cost], [means.mean[row]], [hovers[row].replace("<br>", "  (baseline)<br>", 1)])
    elif page.choice is not None:
        there = page.choice.baseline
        baseline = _predicted(page, [there.complexity], [there.precision], [f"{there.key}  (baseline)"])
    if page.envelope is not None:
        keys = [page.space.key(c) for c in page.envelope.configurations]
        envelope = _predicted(page, page.envelope.complexity, page.envelope.precision, keys)
    if answer is not None:
        said = f"{n.P(answer.precision)} predicted, {n.between(answer.low, answer.high)}"
        text = page.hover(f"{answer.key}  (answer)", said, answer.complexity)
        predicted = _points([answer.complexity], [answer.precision], [text])
    if verdict is not None:
        mean, low, high = verdict.interval.mean, verdict.interval.low, verdict.interval.high
        said = f"{n.P(mean)} on test, {n.between(low, high)}"
        text = page.hover(f"{verdict.key}  (verified)", said, page.spent)
        verified = _points([page.spent], [mean], [text], [low], [high])
    drawn, total = _drawn(page, page.cloud)
    return CloudData(_band(page), drawn, envelope, measured, baseline, predicted, verified, total)


def paper_data(page: Page) -> CloudData | None:
    """The paper's figure 2: every point of its grid and the curve below them; None without that grid."""
    grid = page.paper
    if grid is None:
        return None
    rows = lower_envelope(grid.complexity, grid.precision)
    keys = [key_text(page.space, row) for row in grid.X[rows]]
    below = _predicted(page, grid.complexity[rows], grid.precision[rows], keys)
    data, (drawn, total) = cloud_data(page), _drawn(page, grid)
    return CloudData(NOTHING, drawn, below, data.measured, data.baseline, total=total)


def _points(
    complexity: Any, precision: Any, hover: Sequence[str], low: Any = None, high: Any = None
) -> Points:
    cost, P = np.asarray(complexity, dtype=np.float64), np.asarray(precision, dtype=np.float64)
    kept = np.flatnonzero(np.isfinite(cost) & (cost > 0) & np.isfinite(P))
    ends = [None if end is None else np.asarray(end, dtype=np.float64)[kept] for end in (low, high)]
    return Points(cost[kept], P[kept], tuple(hover[i] for i in kept.tolist()), *ends)


def _predicted(page: Page, complexity: Any, precision: Any, keys: Sequence[str]) -> Points:
    rows = zip(keys, precision, complexity, strict=True)
    return _points(
        complexity, precision, [page.hover(k, f"{page.notation.P(p)} predicted", c) for k, p, c in rows]
    )


def _drawn(page: Page, cloud: Cloud | None) -> tuple[Points, int]:
    """A fair draw of a cloud that is the same each time, or all of it; and how many there were."""
    if cloud is None:
        return NOTHING, 0
    total = len(cloud.complexity)
    rows = np.arange(total)
    if total > DRAWN:
        rows = np.sort(np.random.default_rng(0).choice(total, DRAWN, replace=False, shuffle=False))
    keys = [key_text(page.space, row) for row in cloud.X[rows]]
    return _predicted(page, cloud.complexity[rows], cloud.precision[rows], keys), total


def _band(page: Page) -> Points:
    """The outline of the band of C(P): up its cheap side, down its dear one."""
    curve, n = page.curve, page.notation
    if curve is None:
        return NOTHING
    high = curve.high
    if page.cloud is not None and len(page.cloud.complexity):
        high = np.minimum(high, page.cloud.complexity.max())  # perhaps nothing reaches it: to the end
    kept = np.isfinite(curve.low) & (curve.low > 0) & np.isfinite(high)
    P, low, high = curve.targets[kept], curve.low[kept], high[kept]
    texts = [plain(f"{n.P(p)}: {n.C(a)} to {n.C(b)}") for p, a, b in zip(P, low, high, strict=True)]
    there_and_back = np.concatenate([low, high[::-1]]), np.concatenate([P, P[::-1]])
    return Points(*there_and_back, (*texts, *reversed(texts)))


def draw_paper(data: CloudData, page: Page) -> style.Drawing:
    """The paper's figure 2, both of its halves in one."""
    drawing = draw_cloud(data, replace(page, choice=None, verdict=None))
    caption = (
        "The paper's own procedure: every parameter from 0.05 to 1 of the baseline's in steps of 0.05. Few "
        f"of these {data.total:,} points can be built; their complexity is interpolated. {drawing.caption}"
    )
    return replace(drawing, name="paper-grid", caption=caption)


def draw_cloud(data: CloudData, page: Page) -> style.Drawing:
    """The cloud as a figure: complexity on a log axis, precision stretched towards 100 %."""
    axis = style.PrecisionAxis.of(*(end for points in data.groups for end in points.ends), [page.target])
    level = percent(page.curve.level, 0) if page.curve is not None else ""
    area: dict[str, Any] = {"mode": "lines", "fill": "toself", "fillcolor": style.BAND, "line": {"width": 0}}
    staircase = {"mode": "lines+markers", "line": {"color": style.MODEL, "width": 2, "shape": "hv"}}
    looks: list[tuple[str, dict[str, Any]]] = [
        (f"least complexity, {level} band", area),
        ("configurations, predicted", {"marker": style.marker("circle", 5, style.FAINT, width=0)}),
        (
            "least complexity, predicted",
            {"marker": style.marker("circle", 5, style.MODEL, width=0), **staircase},
        ),
        ("measured, mean over seeds", {"marker": style.marker("circle", 9, style.MEASURED)}),
        ("baseline", {"marker": style.marker("diamond", 13, style.INK)}),
        ("answer, predicted", {"marker": style.marker("star-open", 17, style.ANSWER, style.ANSWER, 2)}),
        ("answer, verified on test images", {"marker": style.marker("star", 18, style.ANSWER)}),
    ]
    shapes, annotations = [], []
    if not math.isnan(page.target):
        at = float(axis.place([page.target])[0])
        line = {"color": style.INK, "width": 1.2, "dash": "dash"}
        shapes.append({"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": at, "y1": at, "line": line})
        annotations.append(
            {"xref": "paper", "x": 0.01, "xanchor": "left", "y": math.log10(at), "yanchor": "bottom"}
            | {"text": plain(f"target {page.notation.target(page.target)}"), "showarrow": False}
        )
    splits = sorted(set(page.samples.usable.frame["split"]))
    split = f"({splits[0]})" if len(splits) == 1 and splits[0] else ""
    drawn = [(points, *look) for points, look in zip(data.groups, looks, strict=True) if len(points)]
    return style.Drawing(
        "cloud",
        f"Scatter plot of {page.metric.label} against {page.cost.label} on a log axis: "
        f"{len(data.configurations)} configurations as predicted, {len(data.measured)} measured ones, and "
        "their lower envelope, whose numbers are in the table of the envelope.",
        _caption(data),
        style.figure(
            [style.scatter(name, points, axis, **look) for points, name, look in drawn],
            560,
            showlegend=True,
            xaxis=style.complexity_axis(page.cost, np.concatenate([points.x for points in data.groups])),
            yaxis=axis.layout(page.notation, after=split),
            shapes=shapes,
            annotations=annotations,
        ),
    )


def _caption(data: CloudData) -> str:
    some = f" ({len(data.configurations):,} of {data.total:,} are drawn)"
    some = some if data.total > len(data.configurations) else ""
    parts = [
        (data.configurations, f"Each grey dot is a configuration as the model predicts it{some}."),
        (data.envelope, "The blue staircase is the highest precision predicted for at most that complexity."),
        (data.band, "The blue band is where the least complexity of a precision may truly lie."),
        (
            data.measured,
            "Orange is measured: the mean over seeds, with a bar from the lowest to the highest.",
        ),
        (data.verified, "The filled star is the proof: precision on the test images with its interval."),
    ]
    stretched = "The precision axis is stretched: equal steps divide the error by the same factor."
    return " ".join([*(text for points, text in parts if len(points)), stretched])

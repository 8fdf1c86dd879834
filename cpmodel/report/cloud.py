"""The figure of the method: every configuration by complexity and precision, and the curve below them all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cpmodel.frontier import lower_envelope
from cpmodel.report.content import ReportContent
from cpmodel.report.display import exact_percent, key_text, percent
from cpmodel.report.means import means_of
from cpmodel.report.style import (
    ANSWER,
    BAND,
    FAINT,
    INK,
    MEASURED,
    MODEL,
    PAPER,
    Drawing,
    PrecisionAxis,
    complexity_axis,
    figure,
    hover,
    layout,
    plain,
    spread_text,
)
from cpmodel.space import Floats

DRAWN = 3_000  # circles a browser moves smoothly


@dataclass(frozen=True, eq=False)
class Points:
    """What is drawn in one way.

    Parameters
    ----------
    complexity, precision : shape (n,)
    hover : n texts, Plotly's tags in them, everything of the user's escaped
    low, high : shape (n,), or None
        Ends of the bars.
    """

    complexity: Floats
    precision: Floats
    hover: tuple[str, ...]
    low: Floats | None = None
    high: Floats | None = None

    def __len__(self) -> int:
        return len(self.complexity)


@dataclass(frozen=True, eq=False)
class CloudData:
    """What the cloud shows.

    Parameters
    ----------
    configurations : Points
        Predicted ones, at most `DRAWN` of them: a fair draw where there are more.
    total : int
        How many there were.
    envelope : Points
        A staircase: the highest predicted P for at most this complexity.
    measured : Points
        One a configuration; bars span its seeds.
    baseline, predicted, verified : Points
        None or one each: the baseline, the answer as predicted, the answer on the test split.
    target : float
        NaN without one.
    band : Points
        The least complexity of each precision may lie from its first value to its last: a closed outline.
    """

    configurations: Points
    total: int
    envelope: Points
    measured: Points
    baseline: Points
    predicted: Points
    verified: Points
    target: float
    band: Points

    def __len__(self) -> int:
        parts = (self.configurations, self.envelope, self.measured, self.baseline, self.predicted)
        return sum(map(len, parts)) + len(self.verified) + len(self.band)


def cloud_data(content: ReportContent, digits: int = 1) -> CloudData:
    """What the cloud of a report shows; points without a positive complexity have no place on a log axis."""
    name, base = content.complexity, content.baseline_complexity

    def points(
        complexity: Any,
        precision: Any,
        keys: Sequence[str],
        said: Sequence[str],
        low: Any = None,
        high: Any = None,
    ) -> Points:
        cost, P = np.asarray(complexity, dtype=np.float64), np.asarray(precision, dtype=np.float64)
        kept = [int(i) for i in np.flatnonzero(np.isfinite(cost) & (cost > 0) & np.isfinite(P))]
        texts = [hover(keys[i], said[i], cost[i], cost[i] / base, name, content.unit) for i in kept]
        ends = [None if end is None else np.asarray(end, dtype=np.float64)[kept] for end in (low, high)]
        return Points(cost[kept], P[kept], tuple(texts), *ends)

    def guessed(values: Any) -> list[str]:
        return [f"{percent(value, digits)} predicted" for value in np.asarray(values)]

    nothing = points([], [], [], [])
    configurations, total = nothing, 0
    if content.cloud is not None:
        total = len(content.cloud.complexity)
        rows = _drawn(total)
        keys = [key_text(content.space, row) for row in content.cloud.X[rows]]
        P = content.cloud.precision[rows]
        configurations = points(content.cloud.complexity[rows], P, keys, guessed(P))
    envelope = nothing
    if content.envelope is not None:
        curve = content.envelope
        keys = [content.space.key(c) for c in curve.configurations]
        envelope = points(curve.complexity, curve.precision, keys, guessed(curve.precision))
    means = means_of(content)
    said = [
        spread_text(mean, low, high, int(seeds), digits)
        for mean, low, high, seeds in zip(means.mean, means.low, means.high, means.seeds, strict=True)
    ]
    measured = points(means.complexity, means.mean, means.keys, said, means.low, means.high)
    baseline, row = nothing, means.of(content.baseline_key)
    if row is not None:
        cost = means.complexity[row] if math.isnan(base) else base
        baseline = points([cost], [means.mean[row]], [f"{content.baseline_key}  (baseline)"], [said[row]])
    elif content.choice is not None:
        there = content.choice.baseline
        baseline = points(
            [there.complexity], [there.precision], [f"{there.key}  (baseline)"], guessed([there.precision])
        )
    predicted = nothing
    if content.answer is not None:
        answer = content.answer
        text = f"{percent(answer.precision, digits)} predicted, {_between(answer.low, answer.high, digits)}"
        predicted = points([answer.complexity], [answer.precision], [f"{answer.key}  (answer)"], [text])
    verified, verdict = nothing, content.verdict
    if verdict is not None and name in verdict.savings:
        text = f"{percent(verdict.test_mean, digits)} on test, {_between(verdict.low, verdict.high, digits)}"
        cost = verdict.savings[name].value
        verified = points(
            [cost],
            [verdict.test_mean],
            [f"{verdict.key}  (verified)"],
            [text],
            [verdict.low],
            [verdict.high],
        )
    target = verdict.target if verdict else content.choice.target if content.choice else math.nan
    band = _band(content, digits)
    return CloudData(configurations, total, envelope, measured, baseline, predicted, verified, target, band)


def paper_data(content: ReportContent, digits: int = 1) -> CloudData | None:
    """The paper's figure 2: every point of its grid and the curve below them; None without that grid."""
    grid = content.paper
    if grid is None:
        return None
    left_out: dict[str, Any] = {
        "envelope": None,
        "choice": None,
        "answer": None,
        "verdict": None,
        "band": None,
    }
    data = cloud_data(replace(content, cloud=grid, **left_out), digits)
    rows = lower_envelope(grid.complexity, grid.precision)
    keys = [key_text(content.space, row) for row in grid.X[rows]]
    cost, P, base = grid.complexity[rows], grid.precision[rows], content.baseline_complexity
    said = [f"{percent(p, digits)} predicted" for p in P]
    texts = [
        hover(key, text, c, c / base, content.complexity, content.unit)
        for key, text, c in zip(keys, said, cost, strict=True)
    ]
    return replace(data, envelope=Points(cost, P, tuple(texts)))


def _band(content: ReportContent, digits: int) -> Points:
    """The outline of the band of C(P): up its cheap side, down its dear one."""
    curve = content.band
    if curve is None:
        return Points(np.empty(0), np.empty(0), ())
    there = np.isfinite(curve.low) & (curve.low > 0)
    P, low, high = curve.targets[there], curve.low[there], curve.high[there]
    if content.cloud is not None and len(content.cloud.complexity):
        high = np.minimum(high, content.cloud.complexity.max())  # perhaps nothing reaches it: to the end
    finite = np.isfinite(high)
    P, low, high = P[finite], low[finite], high[finite]
    texts = [f"{percent(p, digits)}: {percent(curve.level, 0)} band of the least complexity" for p in P]
    return Points(np.concatenate([low, high[::-1]]), np.concatenate([P, P[::-1]]), (*texts, *reversed(texts)))


def draw_paper(data: CloudData, content: ReportContent) -> Drawing:
    """The paper's figure 2, both of its halves in one."""
    drawing = draw_cloud(data, content)
    caption = (
        "The paper's own procedure: every parameter from 0.05 to 1 of the baseline's in steps of 0.05. Few "
        f"of these {data.total:,} points can be built; their complexity is interpolated. {drawing.caption}"
    )
    return replace(drawing, name="paper-grid", caption=caption)


def draw_cloud(data: CloudData, content: ReportContent) -> Drawing:
    """The cloud as a figure: complexity on a log axis, precision stretched towards 100 %."""
    import plotly.graph_objects as go

    groups = [data.configurations, data.envelope, data.measured, data.baseline, data.predicted, data.verified]
    groups.append(data.band)
    ends = [end for points in groups for end in (points.low, points.high) if end is not None]
    axis = PrecisionAxis.of(*(points.precision for points in groups), *ends, [data.target])

    def trace(name: str, points: Points, **style: Any) -> Any:
        if points.low is not None and points.high is not None:
            bars = axis.bars(points.precision, points.low, points.high)
            style["error_y"] = bars | {"color": style["marker"]["color"]}
        return go.Scatter(
            x=points.complexity,
            y=axis.place(points.precision),
            hovertext=points.hover,
            hoverinfo="text",
            name=name,
            **({"mode": "markers"} | style),
        )

    def marker(symbol: str, size: int, color: str, line: str = PAPER, width: float = 1) -> dict[str, Any]:
        return {"symbol": symbol, "size": size, "color": color, "line": {"color": line, "width": width}}

    level = percent(content.band.level, 0) if content.band is not None else ""
    area = {"mode": "lines", "fill": "toself", "fillcolor": BAND, "line": {"width": 0}}
    drawn: list[tuple[str, Points, dict[str, Any]]] = [
        (f"least complexity, {level} band", data.band, area),
        ("configurations, predicted", data.configurations, {"marker": marker("circle", 5, FAINT, width=0)}),
        (
            "least complexity, predicted",
            data.envelope,
            {
                "mode": "lines+markers",
                "line": {"color": MODEL, "width": 2, "shape": "hv"},
                "marker": marker("circle", 5, MODEL, width=0),
            },
        ),
        ("measured, mean over seeds", data.measured, {"marker": marker("circle", 9, MEASURED)}),
        ("baseline", data.baseline, {"marker": marker("diamond", 13, INK)}),
        ("answer, predicted", data.predicted, {"marker": marker("star-open", 17, ANSWER, ANSWER, 2)}),
        ("answer, verified on test images", data.verified, {"marker": marker("star", 18, ANSWER)}),
    ]
    shapes, annotations = [], []
    if not math.isnan(data.target):
        at = float(axis.place([data.target])[0])
        shapes.append(
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": at, "y1": at}
            | {"line": {"color": INK, "width": 1.2, "dash": "dash"}}
        )
        annotations.append(
            {"xref": "paper", "x": 0.01, "xanchor": "left", "y": math.log10(at), "yanchor": "bottom"}
            | {"text": f"target {exact_percent(data.target)}", "showarrow": False}
        )
    splits = sorted(set(content.samples.usable.frame["split"]))
    split = plain(f" ({splits[0]})") if len(splits) == 1 and splits[0] else ""
    return Drawing(
        "cloud",
        _alt(data, content),
        _caption(data),
        figure(
            [trace(name, points, **style) for name, points, style in drawn if len(points)],
            layout(
                560,
                showlegend=True,
                xaxis=complexity_axis(
                    content.complexity, content.unit, np.concatenate([g.complexity for g in groups])
                ),
                yaxis=axis.layout(f"precision P{split}"),
                shapes=shapes,
                annotations=annotations,
            ),
        ),
    )


def _alt(data: CloudData, content: ReportContent) -> str:
    parts = [f"Scatter plot of precision against {content.complexity} on a log axis"]
    if len(data.configurations):
        parts.append(f"{len(data.configurations)} configurations as predicted")
    if len(data.measured):
        parts.append(f"{len(data.measured)} measured ones")
    if len(data.envelope):
        parts.append("and their lower envelope, whose numbers are in the table of the envelope")
    return ", ".join(parts) + "."


def _caption(data: CloudData) -> str:
    parts = []
    if len(data.configurations):
        some = f" ({len(data.configurations):,} of {data.total:,} are drawn)"
        parts.append(
            "Each grey dot is a configuration as the model predicts it"
            + (some if data.total > len(data.configurations) else "")
            + "."
        )
    if len(data.envelope):
        parts.append("The blue staircase is the highest precision predicted for at most that complexity.")
    if len(data.band):
        parts.append("The blue band is where the least complexity of a precision may truly lie.")
    if len(data.measured):
        parts.append(
            "Orange is measured: the mean over seeds, with a bar from the lowest seed to the highest."
        )
    if len(data.verified):
        parts.append("The filled star is the proof: precision on the test images with its interval.")
    parts.append(
        "The precision axis is stretched towards 100 %: equal steps divide the error by the same factor."
    )
    return " ".join(parts)


def _drawn(total: int) -> Any:
    """Rows to draw: all, or a fair draw of them that is the same each time."""
    if total <= DRAWN:
        return np.arange(total)
    return np.sort(np.random.default_rng(0).choice(total, DRAWN, replace=False, shuffle=False))


def _between(low: float, high: float, digits: int) -> str:
    return f"{percent(low, digits)} to {percent(high, digits)}"

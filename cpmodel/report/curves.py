"""The 1-D curves: precision along one parameter while the others stay at the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpmodel.report.content import CurveView, ReportContent
from cpmodel.report.display import percent
from cpmodel.report.means import Means, means_of, on_plane
from cpmodel.report.style import (
    BAND,
    MEASURED,
    MODEL,
    PAPER,
    Drawing,
    PrecisionAxis,
    figure,
    hover,
    layout,
    parameter_axis,
    spread_text,
)
from cpmodel.space import Floats, Parameter

_LOG_FROM = 4.0  # a parameter that spans more than this factor gets a log axis


@dataclass(frozen=True, eq=False)
class CurveData:
    """One panel.

    Parameters
    ----------
    parameter : Parameter
    codes : shape (m,)
        Values of the parameter where P was predicted (positions, for a categorical one).
    predicted : shape (m,)
    low, high : shape (m,), or None
    level : float
    measured_codes, measured, measured_low, measured_high : shape (n,)
        Configurations on that line that were trained: mean over seeds, least and greatest.
    hover : n texts
    """

    parameter: Parameter
    codes: Floats
    predicted: Floats
    low: Floats | None
    high: Floats | None
    level: float
    measured_codes: Floats
    measured: Floats
    measured_low: Floats
    measured_high: Floats
    hover: tuple[str, ...]


def curves_data(content: ReportContent, digits: int = 1) -> tuple[CurveData, ...]:
    """The panels of a report, those without a curve left out."""
    means = means_of(content)
    return tuple(_curve(content, means, curve, digits) for curve in content.curves if len(curve.X))


def _curve(content: ReportContent, means: Means, curve: CurveView, digits: int) -> CurveData:
    space = content.space
    column = space.names.index(curve.parameter)
    on = np.flatnonzero(on_plane(space, means.X, [column]))
    order = [int(row) for row in on[np.argsort(means.X[on, column], kind="stable")]]
    texts = [
        hover(
            means.keys[row],
            spread_text(means.mean[row], means.low[row], means.high[row], int(means.seeds[row]), digits),
            means.complexity[row],
            means.complexity[row] / content.baseline_complexity,
            content.complexity,
            content.unit,
        )
        for row in order
    ]
    ascending = np.argsort(curve.X[:, column], kind="stable")
    low, high = (None if end is None else end[ascending] for end in (curve.low, curve.high))
    return CurveData(
        space[curve.parameter],
        curve.X[ascending, column],
        curve.predicted[ascending],
        low,
        high,
        curve.level,
        means.X[order, column],
        means.mean[order],
        means.low[order],
        means.high[order],
        tuple(texts),
    )


def draw_curves(curves: Sequence[CurveData]) -> list[Drawing]:
    """Small multiples: one figure a parameter, all with the same precision axis."""
    parts: list[Floats] = []
    for data in curves:
        parts += [data.predicted, data.measured_low, data.measured_high]
        parts += [np.clip(end, 0, 1) for end in (data.low, data.high) if end is not None]
    axis = PrecisionAxis.of(*parts)
    return [_draw(data, axis) for data in curves]


def _draw(data: CurveData, axis: PrecisionAxis) -> Drawing:
    import plotly.graph_objects as go

    parameter = data.parameter
    x = parameter_axis(parameter)
    traces: list[Any] = []
    discrete = {"mode": "markers", "marker": {"symbol": "line-ew-open", "size": 18, "color": MODEL}}
    smooth = {"mode": "lines", "line": {"color": MODEL, "width": 2}}
    if data.low is not None and data.high is not None and not parameter.categorical:
        around = np.concatenate([axis.place(data.low), axis.place(data.high)[::-1]])
        traces.append(
            go.Scatter(
                x=np.concatenate([data.codes, data.codes[::-1]]),
                y=around,
                fill="toself",
                fillcolor=BAND,
                line={"width": 0},
                mode="lines",
                hoverinfo="skip",
                name="interval",
            )
        )
    model = go.Scatter(
        x=data.codes,
        y=axis.place(data.predicted),
        hovertext=[f"<b>P</b>  {percent(p)} predicted" for p in data.predicted],
        hoverinfo="text",
        name="predicted",
        **(discrete if parameter.categorical else smooth),
    )
    if data.low is not None and data.high is not None and parameter.categorical:
        model.error_y = axis.bars(data.predicted, data.low, data.high) | {"color": MODEL}
    traces.append(model)
    if len(data.measured):
        bars = axis.bars(data.measured, data.measured_low, data.measured_high)
        traces.append(
            go.Scatter(
                x=data.measured_codes,
                y=axis.place(data.measured),
                mode="markers",
                marker={"size": 8, "color": MEASURED, "line": {"color": PAPER, "width": 1}},
                error_y=bars | {"color": MEASURED},
                hovertext=data.hover,
                hoverinfo="text",
                name="measured",
            )
        )
    alt = f"Precision against {parameter.name}: the fitted curve and {len(data.measured)} measured points."
    return Drawing(
        f"curve-{parameter.name}",
        alt,
        "",
        figure(traces, layout(280, xaxis=x, yaxis=axis.layout("precision P"))),
    )

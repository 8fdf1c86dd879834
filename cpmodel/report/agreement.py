"""Predicted against measured, for precision and for complexity: how far a fit can be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpmodel.report.content import FitView
from cpmodel.report.display import amount, percent, quantity
from cpmodel.report.style import (
    FAINT,
    MODEL,
    MUTED,
    PAPER,
    Drawing,
    PrecisionAxis,
    complexity_axis,
    figure,
    layout,
    plain,
)
from cpmodel.space import Floats

_SYMBOLS = (("circle", MODEL), ("square-open", MUTED), ("diamond-open", FAINT))


@dataclass(frozen=True, eq=False)
class AgreementData:
    """One fit against its measurements, rows without a prediction left out.

    Parameters
    ----------
    name : str
        Of the model.
    measured, predicted : shape (n,)
    low, high : shape (n,), or None
        Interval of a new measurement.
    hover : n texts
    """

    name: str
    measured: Floats
    predicted: Floats
    low: Floats | None
    high: Floats | None
    hover: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.measured)


def agreement_data(fit: FitView, digits: int = 1) -> AgreementData:
    """What the figure of a fit shows: of the rows that it had not seen where some were kept apart.

    A complexity must be above 0 to have a place on a log axis.
    """
    of_precision = fit.quantity in ("", "precision")
    unit = quantity(fit.quantity, fit.unit).unit
    kept = np.isfinite(fit.measured) & np.isfinite(fit.predicted)
    if fit.held_out is not None and fit.held_out.any():
        kept &= fit.held_out
    if not of_precision:
        kept &= (fit.measured > 0) & (fit.predicted > 0)
    rows = [int(row) for row in np.flatnonzero(kept)]
    measured, predicted = fit.measured[rows], fit.predicted[rows]
    low, high = (None if end is None else end[rows] for end in (fit.low, fit.high))

    def text(value: float) -> str:
        return percent(value, digits) if of_precision else plain(amount(value, unit))

    symbol = "P" if of_precision else "C"
    texts = []
    for i, row in enumerate(rows):
        lines = [f"<b>T</b>  {plain(fit.keys[row].replace(',', ', '))}"] if len(fit.keys) else []
        lines.append(f"<b>{symbol}</b>  {text(measured[i])} measured")
        lines.append(f"      {text(predicted[i])} predicted by {plain(fit.name)}")
        if low is not None and high is not None and np.isfinite(low[i]):
            lines.append(f"      {percent(fit.level, 0)} interval {text(low[i])} to {text(high[i])}")
        texts.append("<br>".join(lines))
    return AgreementData(fit.name, measured, predicted, low, high, tuple(texts))


def draw_precision_agreement(pairs: Sequence[tuple[AgreementData, FitView]]) -> Drawing:
    """Predicted against measured precision, both stretched towards 100 %, one symbol a model."""
    data, fit = pairs[0]
    ends = [end for end in (data.low, data.high) if end is not None and np.isfinite(end).any()]
    shown = [part for other, _ in pairs for part in (other.measured, other.predicted)]
    axis = PrecisionAxis.of(*shown, *ends)
    traces = [
        _points(one, axis.place(one.measured), axis.place(one.predicted), *style)
        for (one, _), style in zip(pairs, _SYMBOLS, strict=False)
    ]
    if data.low is not None and data.high is not None and ends:
        traces[0].error_y = axis.bars(data.predicted, data.low, data.high) | {"color": MODEL}
    return _square(
        "agreement-precision",
        f"Predicted against measured precision of {len(data)} trainings, with the diagonal.",
        " ".join(
            [
                _caption(fit, "training"),
                f"Bars: {percent(fit.level, 0)} interval of one training." if ends else "",
                *_errors_by_model(pairs),
            ]
        ),
        traces,
        (axis.low, axis.high),
        axis.layout("measured P"),
        axis.layout("predicted P"),
    )


def _errors_by_model(pairs: Sequence[tuple[AgreementData, FitView]]) -> list[str]:
    """The errors of each fit in words, with its name where there are several."""
    if len(pairs) == 1:
        return [errors_text(pairs[0][1])]
    return [f"{data.name}: {errors_text(fit)}".replace("Mean", "mean", 1) for data, fit in pairs]


def draw_complexity_agreement(pairs: Sequence[tuple[AgreementData, FitView]]) -> Drawing:
    """Predicted against measured complexity on log axes, one symbol a model."""
    fits, first = [data for data, _ in pairs], pairs[0][1]
    everything = np.concatenate([part for data in fits for part in (data.measured, data.predicted)])
    name = quantity(first.quantity, first.unit).axis
    axes = [complexity_axis(first.quantity, first.unit, everything) for _ in range(2)]
    for axis, word in zip(axes, ("measured", "predicted"), strict=True):
        axis["title"] = {"text": plain(f"{word} {name}"), "standoff": 8}
    low, high = (10**end for end in axes[0]["range"])
    styles = [_SYMBOLS[min(i, len(_SYMBOLS) - 1)] for i in range(len(fits))]
    traces = [
        _points(data, data.measured, data.predicted, *style) for data, style in zip(fits, styles, strict=True)
    ]
    return _square(
        "agreement-complexity",
        f"Predicted against measured {name} of {len(fits[0])} configurations, with the diagonal.",
        " ".join(
            [
                _caption(first, "configuration"),
                *_errors_by_model(pairs),
                f"Conditions: {first.conditions}." if first.conditions else "",
            ]
        ),
        traces,
        (low, high),
        axes[0],
        axes[1],
    )


def errors_text(fit: FitView) -> str:
    """The relative errors of a fit in words; empty where there are none."""
    told = []
    if math.isfinite(fit.checked_relative_error):
        told.append(f"{percent(fit.checked_relative_error, 2)} by {fit.checked_by}")
        if math.isfinite(fit.checked_within_10):
            told[-1] += f" ({percent(fit.checked_within_10, 0)} of them within 10 %)"
    if math.isfinite(fit.relative_error):
        told.append(f"{percent(fit.relative_error, 2)} in sample")
    return f"Mean relative error {', '.join(told)}." if told else ""


def _caption(fit: FitView, what: str) -> str:
    unseen = f" by a model that had not seen it ({fit.checked_by})" if fit.checked_by else ""
    return f"Each point is a {what}, predicted{unseen}; on the diagonal the prediction is exact."


def _points(data: AgreementData, x: Floats, y: Floats, symbol: str, color: str) -> Any:
    import plotly.graph_objects as go

    line = {"color": color if symbol.endswith("open") else PAPER, "width": 1.5 if "open" in symbol else 0.7}
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"symbol": symbol, "size": 8, "color": color, "line": line},
        hovertext=data.hover,
        hoverinfo="text",
        name=plain(data.name),
    )


def _square(
    name: str,
    alt: str,
    caption: str,
    traces: list[Any],
    ends: tuple[float, float],
    x: dict[str, Any],
    y: dict[str, Any],
) -> Drawing:
    diagonal: dict[str, Any] = {"type": "line", "layer": "below", "line": {"color": MUTED, "width": 1}}
    diagonal |= {"x0": ends[0], "x1": ends[1], "y0": ends[0], "y1": ends[1]}
    return Drawing(
        name,
        alt,
        caption,
        figure(traces, layout(400, showlegend=True, xaxis=x, yaxis=y, shapes=[diagonal])),
    )

"""Predicted against measured, for precision and for complexity: how far a fit can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cpmodel.cost import Cost
from cpmodel.numbers import amount, percent
from cpmodel.pipeline.fitting import PrecisionFit
from cpmodel.report import style
from cpmodel.report.page import Page, Points, plain, spaced
from cpmodel.surrogates.complexity.fit import ComplexityFit

Fit = PrecisionFit | ComplexityFit
_LEVEL = 0.9  # of the intervals of fits of precision
_SYMBOLS = (("circle", style.MODEL), ("square-open", style.MUTED), ("diamond-open", style.FAINT))


@dataclass(frozen=True)
class Agreement:
    """One fit against its measurements, rows without a prediction left out.

    Parameters
    ----------
    points : Points
        x is measured, y predicted.
    errors, checked_by : str
        Its relative errors in words (empty where there are none), and how the rows were kept from the fit.
    """

    name: str
    points: Points
    errors: str
    checked_by: str


def precision_agreement(page: Page) -> tuple[Agreement, ...]:
    """What the figure of the fits of P shows, one a model."""
    keys, n, made = page.measured_on or page.samples.usable.keys, page.notation, []
    for fit in page.precision:
        rows = np.flatnonzero(np.isfinite(fit.measured) & np.isfinite(fit.predicted))
        points = _points("P", fit, fit.predicted, rows, keys, n.P)
        if np.isfinite(fit.low[rows]).any():
            ends = zip(points.hover, fit.low[rows], fit.high[rows], strict=True)
            between = [f"{t}<br>      {percent(_LEVEL, 0)} interval {n.between(a, b)}" for t, a, b in ends]
            points = Points(points.x, points.y, tuple(between), fit.low[rows], fit.high[rows])
        made.append(Agreement(fit.name, points, errors_text(fit, page.checked_by), page.checked_by))
    return tuple(fit for fit in made if len(fit.points))


def complexity_agreement(page: Page) -> tuple[Agreement, ...]:
    """The same of the fits of a complexity: of the rows that a fit had not seen where some were kept apart.

    A complexity must be above 0 to have a place on a log axis.
    """
    source, unit, made = page.modelled, modelled_cost(page).unit, []
    if source is None or source.X is None:
        return ()
    keys = [page.space.key(c) for c in page.space.configurations(source.X)]
    for fit in (source.fit, source.eq1):
        if fit is None:
            continue
        predicted, kept = fit.predicted, np.isfinite(fit.measured) & (fit.measured > 0)
        if fit.apart is not None:
            predicted, kept = fit.apart.predicted, kept & fit.apart.rows
        rows = np.flatnonzero(kept & np.isfinite(predicted) & (predicted > 0))
        points = _points("C", fit, predicted, rows, keys, lambda value: amount(value, unit))
        made.append(Agreement(fit.name, points, errors_text(fit), _checked_by(fit)))
    return tuple(fit for fit in made if len(fit.points))


def _points(
    letter: str,
    fit: Fit,
    predicted: NDArray[np.float64],
    rows: NDArray[np.intp],
    keys: Sequence[str],
    text: Callable[[float], str],
) -> Points:
    hover = [
        f"<b>T</b>  {plain(spaced(keys[row]))}<br><b>{letter}</b>  {plain(text(fit.measured[row]))} measured"
        f"<br>      {plain(text(predicted[row]))} predicted by {plain(fit.name)}"
        for row in rows
    ]
    return Points(fit.measured[rows], predicted[rows], tuple(hover))


def modelled_cost(page: Page) -> Cost:
    """The cost whose model is shown."""
    source = page.modelled
    return page.cost if source is None or source.cost.name == page.cost.name else source.cost


def _checked_by(fit: Fit, otherwise: str = "cross-validation") -> str:
    apart = fit.apart if isinstance(fit, ComplexityFit) else None
    return otherwise if apart is None else f"{apart.rows.sum()} held-out configurations"


def errors_text(fit: Fit, by: str = "cross-validation") -> str:
    """The relative errors of a fit in words; empty where there are none."""
    told, unseen, within = [], fit.cv_relative_error, math.nan
    if isinstance(fit, ComplexityFit):
        within = fit.cv_within_10
        if fit.apart is not None:
            unseen, within = fit.apart.relative_error, fit.apart.within_10
    if math.isfinite(unseen):
        told.append(f"{percent(unseen, 2)} by {_checked_by(fit, by)}")
        if math.isfinite(within):
            told[-1] += f" ({percent(within, 0)} of them within 10 %)"
    if math.isfinite(fit.relative_error):
        told.append(f"{percent(fit.relative_error, 2)} in sample")
    return f"Mean relative error {', '.join(told)}." if told else ""


def draw_precision_agreement(fits: Sequence[Agreement], page: Page) -> style.Drawing:
    """Predicted against measured precision, both stretched towards 100 %, one symbol a model."""
    first = fits[0].points
    axis = style.PrecisionAxis.of(
        *(part for fit in fits for part in (fit.points.x, fit.points.y)), *first.ends
    )
    axes = [axis.layout(page.notation, word) for word in ("measured", "predicted")]
    bars = f"Bars: {percent(_LEVEL, 0)} interval of one training." if first.low is not None else ""
    traces = [_trace(fit, number, axis) for number, fit in enumerate(fits)]
    caption = [_caption("training", fits), bars, *_errors(fits)]
    return _square("precision", page.metric.label, traces, caption, axes, (axis.low, axis.high))


def draw_complexity_agreement(fits: Sequence[Agreement], page: Page) -> style.Drawing:
    """Predicted against measured complexity on log axes, one symbol a model."""
    cost = modelled_cost(page)
    everything = np.concatenate([part for fit in fits for part in (fit.points.x, fit.points.y)])
    axes = [style.complexity_axis(cost, everything, word) for word in ("measured", "predicted")]
    low, high = (10**end for end in axes[0]["range"])
    conditions = f"Conditions: {cost.conditions}." if cost.conditions is not None else ""
    traces = [_trace(fit, number) for number, fit in enumerate(fits)]
    caption = [_caption("configuration", fits), *_errors(fits), conditions]
    return _square("complexity", cost.label, traces, caption, axes, (low, high))


def _errors(fits: Sequence[Agreement]) -> list[str]:
    """The errors of each fit in words, with its name where there are several."""
    if len(fits) == 1:
        return [fits[0].errors]
    return [f"{fit.name}: {fit.errors}".replace("Mean", "mean", 1) for fit in fits]


def _caption(what: str, fits: Sequence[Agreement]) -> str:
    unseen = f"by a model that had not seen it ({fits[0].checked_by})"
    return f"Each point is a {what}, predicted {unseen}; on the diagonal the prediction is exact."


def _trace(fit: Agreement, number: int, axis: style.PrecisionAxis | None = None) -> Any:
    symbol, color = _SYMBOLS[min(number, len(_SYMBOLS) - 1)]
    line = (color, 1.5) if symbol.endswith("open") else (style.PAPER, 0.7)
    points = fit.points
    if axis is not None:
        # one model's bars are enough
        ends = (points.low, points.high) if number == 0 else (None, None)
        points = Points(axis.place(points.x), points.y, points.hover, *ends)
    return style.scatter(fit.name, points, axis, marker=style.marker(symbol, 8, color, *line))


def _square(
    name: str,
    label: str,
    traces: Sequence[Any],
    caption: Sequence[str],
    axes: Sequence[dict[str, Any]],
    ends: tuple[float, float],
) -> style.Drawing:
    alt = f"Predicted against measured {label}, {len(traces[0].x)} points, with the diagonal."
    diagonal: dict[str, Any] = {"type": "line", "layer": "below", "line": {"color": style.MUTED, "width": 1}}
    diagonal |= {"x0": ends[0], "x1": ends[1], "y0": ends[0], "y1": ends[1]}
    drawn = style.figure(traces, 400, showlegend=True, xaxis=axes[0], yaxis=axes[1], shapes=[diagonal])
    return style.Drawing(f"agreement-{name}", alt, " ".join(filter(None, caption)), drawn)

"""What all figures share: colours with a meaning, one template, the stretched precision axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.cost import Cost
from cpmodel.numbers import amount
from cpmodel.pipeline.wording import Notation
from cpmodel.report.page import Points, plain
from cpmodel.space import Floats, Parameter

# Okabe and Ito's hues, told apart by colour-blind eyes; a shape tells the same everywhere.
INK = "#1c2126"  # text, the baseline, the target
MUTED = "#5a646e"  # axis texts
GRID = "#e1e5e9"
FAINT = "#a9b4bf"  # what nobody measured
MODEL = "#0b62a8"  # what a model says
BAND = "#cfe0ee"
MEASURED = "#c2500c"  # what was measured
ANSWER = "#00805c"  # the answer
PAPER = "#ffffff"
# The page's script swaps these when the reader prefers a dark screen, and back for paper.
DARK = {
    INK: "#e8ebee",
    MUTED: "#a3adb7",
    GRID: "#30373e",
    FAINT: "#5d6873",
    MODEL: "#6cb4f0",
    BAND: "#22405a",
    MEASURED: "#ff9a5a",
    ANSWER: "#3ecfa0",
    PAPER: "#171b1f",
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_TICKS = (0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
_LOG_FROM = 4.0  # a parameter that spans more than this factor gets a log axis
_LEAST_ERROR = 1e-3  # below which errors are drawn as this, where no smaller one was met


@dataclass(frozen=True)
class Drawing:
    """A Plotly figure of the page.

    Parameters
    ----------
    name : str
        The element's id.
    alt, caption : str
        What is to be seen, for those who do not see it; what to look for, beneath it.
    """

    name: str
    alt: str
    caption: str
    figure: Any


@cache
def template() -> Any:
    """The Plotly template of every figure: no frame, no title, a transparent ground, one look of axes."""
    import plotly.graph_objects as go

    axis = {
        "gridcolor": GRID,
        "linecolor": GRID,
        "zeroline": False,
        "ticks": "",
        "tickfont": {"color": MUTED, "size": 12},
        "title": {"standoff": 8},
        "automargin": True,
    }
    bar = {"thickness": 12, "outlinewidth": 0, "tickfont": axis["tickfont"]}
    return go.layout.Template(
        layout={
            "margin": {"l": 8, "r": 14, "t": 14, "b": 8},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": FONT, "size": 13, "color": INK},
            "hovermode": "closest",
            "hoverlabel": {"align": "left", "bgcolor": PAPER, "bordercolor": MUTED, "font": {"color": INK}},
            "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0},
            "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": MUTED, "activecolor": INK},
            "showlegend": False,
            "xaxis": axis,
            "yaxis": axis,
        },
        data={
            "scatter": [{"hoverinfo": "text", "error_y": {"thickness": 1.2, "width": 0}}],
            "contour": [{"hoverinfo": "text", "colorbar": bar}],
        },
    )


def figure(traces: Sequence[Any], height: int, **layout: Any) -> Any:
    """A Plotly figure with these parts of a layout beside the template's."""
    import plotly.graph_objects as go

    return go.Figure(list(traces), go.Layout(template=template(), height=height, **layout))


def marker(symbol: str, size: float, color: str, line: str = PAPER, width: float = 1) -> dict[str, Any]:
    """Plotly's marker."""
    return {"symbol": symbol, "size": size, "color": color, "line": {"color": line, "width": width}}


def scatter(name: str, points: Points, axis: PrecisionAxis | None = None, **style: Any) -> Any:
    """Plotly's trace of some points; y is a precision where there is an `axis` of precision."""
    import plotly.graph_objects as go

    if axis is not None:
        style = {"y": axis.place(points.y), **style}
        if points.low is not None:
            style["error_y"] = axis.bars(points, style["marker"]["color"])
    style = {"y": points.y, "mode": "markers", **style}
    return go.Scatter(x=points.x, hovertext=points.hover, name=plain(name), **style)


@dataclass(frozen=True)
class PrecisionAxis:
    """P drawn by its error on a log axis: equal steps halve the error, so the interesting end is wide.

    Parameters
    ----------
    floor : float
        Smallest error that is drawn; P = 1 has no logarithm.
    low, high : float
        Errors at the ends, the better one first.
    """

    floor: float
    low: float
    high: float

    @classmethod
    def of(cls, *precisions: ArrayLike) -> PrecisionAxis:
        """The axis that shows all of them.

        >>> axis = PrecisionAxis.of([0.9, 0.99])
        >>> [round(float(error), 3) for error in axis.place([0.9, 1.0])]
        [0.1, 0.001]
        """
        flat = np.concatenate([np.ravel(np.asarray(p, dtype=np.float64)) for p in precisions])
        errors = 1 - flat[np.isfinite(flat)]
        positive = errors[errors > 1e-12]
        floor = min(_LEAST_ERROR, float(positive.min())) if len(positive) else _LEAST_ERROR
        shown = np.maximum(errors, floor) if len(errors) else np.array([0.1, 1.0])
        low, high = float(shown.min()), min(float(shown.max()), 1.0)
        if high / low < 1.2:
            low, high = low / 1.15, min(high * 1.15, 1.0)
        margin = (high / low) ** 0.05
        return cls(floor, low / margin, high * margin)

    def place(self, precision: ArrayLike) -> Floats:
        """Where P is drawn, shape (n,)."""
        return np.maximum(1 - np.asarray(precision, dtype=np.float64), self.floor)

    def bars(self, points: Points, color: str) -> dict[str, Any] | None:
        """Plotly's error bars from `low` to `high`; none where they are NaN."""
        if points.low is None or points.high is None:
            return None
        at = self.place(points.y)
        ends = self.place(points.low) - at, at - self.place(points.high)
        up, down = (np.nan_to_num(np.maximum(end, 0)) for end in ends)
        return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "color": color}

    @property
    def ticks(self) -> list[float]:
        """Round precisions, not too close to each other."""
        candidates = sorted(
            [*(1 - t for t in _TICKS), *(c * 10.0**-e for e in range(3, 9) for c in (5, 2, 1))]
        )
        inside = [error for error in candidates if self.low <= error <= self.high]
        gap = math.log(self.high / self.low) / 9
        kept: list[float] = []
        # the rounder ones are kept first: 90 % rather than 92 %
        for error in sorted(inside, key=lambda e: (_unround(e), e)):
            if all(abs(math.log(error / other)) >= gap for other in kept):
                kept.append(error)
        return sorted(kept)

    def layout(self, notation: Notation, before: str = "", after: str = "") -> dict[str, Any]:
        """Plotly's axis: its title is the metric's label between these words."""
        label = notation.metric.label + (" P" if notation.metric.direction == "higher" else "")
        return {
            "type": "log",
            "range": [math.log10(self.high), math.log10(self.low)],
            "tickmode": "array",
            "tickvals": self.ticks,
            "ticktext": [plain(notation.target(1 - tick)) for tick in self.ticks],
            "title": {"text": plain(" ".join(filter(None, [before, label, after])))},
        }


def _unround(error: float) -> int:
    """0 for errors like 0.1 and 0.5, more for less round ones."""
    leading = round(error / 10 ** math.floor(math.log10(error) + 1e-9), 6)
    return {1.0: 0, 5.0: 1, 2.0: 2}.get(leading, 3)


def complexity_axis(cost: Cost, values: ArrayLike, before: str = "") -> dict[str, Any]:
    """Plotly's log axis of a cost that takes these values, all above 0."""
    known = np.asarray(values, dtype=np.float64)
    low, high = (float(known.min()), float(known.max())) if len(known) else (1.0, 1.0)
    margin = max((high / low) ** 0.04, 1.15)
    behind = cost.unit if len(cost.unit) == 1 else ""  # s and B stand behind numbers
    title = (
        cost.label if not cost.unit or behind or cost.unit in cost.label else f"{cost.label} ({cost.unit})"
    )
    decades = math.log10(high / low)
    # every decade; 1, 2 and 5 of each where there are few; Plotly's own choice within one
    leading = (1,) if decades > 3 else (1, 2, 5)
    ticks = [
        lead * 10.0**decade
        for decade in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for lead in leading
    ]
    some = {"tickvals": ticks, "ticktext": [plain(amount(t, behind)) for t in ticks]}
    return {
        "type": "log",
        "range": [math.log10(low / margin), math.log10(high * margin)],
        "title": {"text": plain(f"{before} {title}".strip())},
        **(some if decades > 0.7 else {"tickformat": "~s", "ticksuffix": plain(behind)}),
    }


# Letters of an axis title that a small figure has room for
_LONG = 24


def parameter_axis(parameter: Parameter) -> dict[str, Any]:
    """Plotly's axis of a parameter, its values as labels where they do not touch."""
    name = ", ".join(part for part in (parameter.meaning, parameter.unit) if part)
    title = f"{parameter.name}  {name}".strip()
    axis: dict[str, Any] = {"title": {"text": plain(title if len(title) <= _LONG else parameter.name)}}
    values = [parameter.code(value) for value in parameter.values]
    log = not parameter.categorical and values[0] > 0 and values[-1] / values[0] > _LOG_FROM
    if log or len(values) <= 8:
        shown = _spread(values, log)
        axis |= {"tickmode": "array", "tickvals": [values[i] for i in shown]}
        axis |= {"ticktext": [plain(str(parameter.values[i])) for i in shown]}
    return axis | ({"type": "log"} if log else {})


def _spread(values: Sequence[float], log: bool) -> list[int]:
    """Positions of values whose labels do not touch, the largest always among them."""
    at = np.log(values) if log else np.asarray(values, dtype=np.float64)
    gap = (at[-1] - at[0]) / 7
    kept = [len(values) - 1]
    for i in range(len(values) - 2, -1, -1):
        if at[kept[-1]] - at[i] >= gap:
            kept.append(i)
    return kept[::-1]

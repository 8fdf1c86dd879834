"""What all figures share: colours with a meaning, the stretched precision axis, hover texts, the layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.report.display import amount, percent, quantity, share
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
    """A figure of the page.

    Parameters
    ----------
    name : str
        The element's id.
    alt : str
        What is to be seen, for those who do not see it.
    caption : str
        What to look for, beneath it.
    figure : Any
        The Plotly figure.
    """

    name: str
    alt: str
    caption: str
    figure: Any


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

    def bars(self, precision: Floats, low: Floats, high: Floats) -> dict[str, Any]:
        """Plotly's error bars from `low` to `high`; none where they are NaN."""
        at = self.place(precision)
        return {
            "type": "data",
            "symmetric": False,
            "array": np.nan_to_num(np.maximum(self.place(low) - at, 0)),
            "arrayminus": np.nan_to_num(np.maximum(at - self.place(high), 0)),
            "thickness": 1.2,
            "width": 0,
        }

    @property
    def ticks(self) -> list[float]:
        """Round precisions, not too close to each other."""
        candidates = sorted(
            [
                *(1 - tick for tick in _TICKS),
                *(c * 10.0**-e for e in range(3, 9) for c in (5, 2, 1)),
            ]
        )
        inside = [error for error in candidates if self.low <= error <= self.high]
        gap = math.log(self.high / self.low) / 9
        kept: list[float] = []
        # the rounder ones are kept first: 90 % rather than 92 %
        for error in sorted(inside, key=lambda e: (_unround(e), e)):
            if all(abs(math.log(error / other)) >= gap for other in kept):
                kept.append(error)
        return sorted(kept)

    def layout(self, title: str) -> dict[str, Any]:
        """Plotly's axis."""
        ticks = self.ticks
        return {
            **AXIS,
            "type": "log",
            "range": [math.log10(self.high), math.log10(self.low)],
            "tickmode": "array",
            "tickvals": ticks,
            "ticktext": [f"{100 * (1 - tick):.6g} %" for tick in ticks],
            "title": {"text": title, "standoff": 8},
        }


AXIS: dict[str, Any] = {
    "gridcolor": GRID,
    "linecolor": GRID,
    "zeroline": False,
    "ticks": "",
    "tickfont": {"color": MUTED, "size": 12},
    "automargin": True,
}


def _unround(error: float) -> int:
    """0 for errors like 0.1 and 0.5, more for less round ones."""
    leading = round(error / 10 ** math.floor(math.log10(error) + 1e-9), 6)
    return {1.0: 0, 5.0: 1, 2.0: 2}.get(leading, 3)


def complexity_axis(name: str, unit: str, values: ArrayLike) -> dict[str, Any]:
    """Plotly's log axis of a complexity that takes these values, all above 0."""
    known, known_as = np.asarray(values, dtype=np.float64), quantity(name, unit)
    low, high = (float(known.min()), float(known.max())) if len(known) else (1.0, 1.0)
    margin = max((high / low) ** 0.04, 1.15)
    joined = len(known_as.unit) == 1  # s and B stand behind their number, MACs in the title
    decades = math.log10(high / low)
    # every decade; 1, 2 and 5 of each where there are few; Plotly's own choice within one
    leading = (1,) if decades > 3 else (1, 2, 5)
    ticks = [
        lead * 10.0**decade
        for decade in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for lead in leading
    ]
    some = {"tickvals": ticks, "ticktext": [amount(t, known_as.unit if joined else "") for t in ticks]}
    return {
        **AXIS,
        "type": "log",
        "range": [math.log10(low / margin), math.log10(high * margin)],
        "title": {"text": plain(known_as.axis), "standoff": 8},
        **(some if decades > 0.7 else {"tickformat": "~s", "ticksuffix": known_as.unit if joined else ""}),
    }


def parameter_axis(parameter: Parameter) -> dict[str, Any]:
    """Plotly's axis of a parameter, its values as labels where they do not touch."""
    name = ", ".join(part for part in (parameter.meaning, parameter.unit) if part)
    axis: dict[str, Any] = {
        **AXIS,
        "title": {"text": plain(f"{parameter.name}  {name}".strip()), "standoff": 8},
    }
    values = [parameter.code(value) for value in parameter.values]
    texts = [plain(str(value)) for value in parameter.values]
    log = not parameter.categorical and values[0] > 0 and values[-1] / values[0] > _LOG_FROM
    if log or len(values) <= 8:
        shown = _spread(values, log)
        axis |= {"tickmode": "array", "tickvals": [values[i] for i in shown]}
        axis |= {"ticktext": [texts[i] for i in shown]}
    if log:
        axis |= {"type": "log"}
    return axis


def _spread(values: Sequence[float], log: bool) -> list[int]:
    """Positions of values whose labels do not touch, the largest always among them."""
    at = np.log(values) if log else np.asarray(values, dtype=np.float64)
    gap = (at[-1] - at[0]) / 7
    kept = [len(values) - 1]
    for i in range(len(values) - 2, -1, -1):
        if at[kept[-1]] - at[i] >= gap:
            kept.append(i)
    return kept[::-1]


def layout(height: int, **more: Any) -> dict[str, Any]:
    """The layout every figure starts from: no frame, no title, a transparent ground."""
    return {
        "template": {},
        "height": height,
        "margin": {"l": 8, "r": 14, "t": 14, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 13, "color": INK},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "bgcolor": PAPER, "bordercolor": MUTED, "font": {"color": INK}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "xanchor": "left", "x": 0},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": MUTED, "activecolor": INK},
        "showlegend": False,
        **more,
    }


def figure(traces: Sequence[Any], layout: dict[str, Any]) -> Any:
    """A Plotly figure; its template stays empty, since the default one is larger than most data."""
    import plotly.graph_objects as go

    return go.Figure(data=list(traces), layout=go.Layout(**layout))


def plain(text: str) -> str:
    """Text that Plotly shows as it is: it takes tags and entities for its own.

    >>> plain("<b>a & b</b>")
    '&lt;b&gt;a &amp; b&lt;/b&gt;'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def hover(key: str, precision: str, complexity: float, relative: float, name: str, unit: str = "") -> str:
    """T, P and C of a point, and C relative to the baseline, one line each."""
    lines = [f"<b>T</b>  {plain(key.replace(',', ', '))}"] if key else []
    if precision:
        lines.append(f"<b>P</b>  {plain(precision)}")
    if math.isfinite(complexity):
        lines.append(f"<b>C</b>  {plain(amount(complexity, quantity(name, unit).unit or name))}")
    if math.isfinite(relative):
        lines.append(f"      {share(relative)} of the baseline")
    return "<br>".join(lines)


def spread_text(mean: float, low: float, high: float, seeds: int, digits: int) -> str:
    r"""A measured precision with its seeds.

    >>> spread_text(0.94, 0.94, 0.94, 1, 1).replace("\xa0", " ")
    '94.0 % measured, 1 training'
    """
    if seeds < 2:
        return f"{percent(mean, digits)} measured, 1 training"
    return (
        f"{percent(mean, digits)} measured, {seeds} trainings "
        f"from {percent(low, digits)} to {percent(high, digits)}"
    )

"""The 2-D surfaces: precision over two parameters while the others stay at the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cpmodel.report.content import ReportContent, SurfaceView
from cpmodel.report.display import percent
from cpmodel.report.means import Means, means_of, on_plane
from cpmodel.report.style import (
    AXIS,
    BAND,
    INK,
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

_LEVELS = 12


@dataclass(frozen=True, eq=False)
class SurfaceData:
    """One panel.

    Parameters
    ----------
    first, second : Parameter
        Along and up.
    along, up : shape (a,), (b,)
        Values where P was predicted.
    predicted : shape (b, a)
    at_first, at_second, measured : shape (n,)
        Configurations of the plane that were trained: their values, mean precision over seeds.
    hover : n texts
    """

    first: Parameter
    second: Parameter
    along: Floats
    up: Floats
    predicted: Floats
    at_first: Floats
    at_second: Floats
    measured: Floats
    hover: tuple[str, ...]

    @property
    def name(self) -> str:
        """The panel's place on the page."""
        return f"surface-{self.first.name}-{self.second.name}"


def surfaces_data(content: ReportContent, digits: int = 1) -> tuple[SurfaceData, ...]:
    """The panels of a report."""
    means = means_of(content)
    return tuple(_surface(content, means, surface, digits) for surface in content.surfaces)


def _surface(content: ReportContent, means: Means, surface: SurfaceView, digits: int) -> SurfaceData:
    space = content.space
    columns = [space.names.index(name) for name in surface.parameters]
    along, up = (np.unique(surface.X[:, column]) for column in columns)
    predicted = np.full((len(up), len(along)), np.nan)
    places = [
        np.searchsorted(axis, surface.X[:, column]) for axis, column in zip((along, up), columns, strict=True)
    ]
    predicted[places[1], places[0]] = surface.predicted
    rows = [int(row) for row in np.flatnonzero(on_plane(space, means.X, columns))]
    texts = [
        hover(
            means.keys[row],
            spread_text(means.mean[row], means.low[row], means.high[row], int(means.seeds[row]), digits),
            means.complexity[row],
            means.complexity[row] / content.baseline_complexity,
            content.complexity,
            content.unit,
        )
        for row in rows
    ]
    first, second = (space[name] for name in surface.parameters)
    at = means.X[rows]
    return SurfaceData(
        first,
        second,
        along,
        up,
        predicted,
        at[:, columns[0]],
        at[:, columns[1]],
        means.mean[rows],
        tuple(texts),
    )


def draw_surfaces(surfaces: Sequence[SurfaceData]) -> list[Drawing]:
    """One figure a pair, all with the same colours."""
    axis = PrecisionAxis.of(*(part for data in surfaces for part in (data.predicted, data.measured)))
    return [_draw(data, axis) for data in surfaces]


def _draw(data: SurfaceData, axis: PrecisionAxis) -> Drawing:
    import plotly.graph_objects as go

    ends = -np.log10([axis.high, axis.low])
    ticks = axis.ticks
    scale = [[0, PAPER], [0.5, BAND], [1, MODEL]]

    def height(precision: Floats) -> Floats:
        return -np.log10(axis.place(precision))

    surface = go.Contour(
        x=data.along,
        y=data.up,
        z=height(data.predicted),
        zmin=ends[0],
        zmax=ends[1],
        colorscale=scale,
        contours={"start": ends[0], "end": ends[1], "size": (ends[1] - ends[0]) / _LEVELS},
        line={"width": 0.5, "color": MODEL},
        hovertext=[[f"<b>P</b>  {percent(p)} predicted" for p in row] for row in data.predicted],
        hoverinfo="text",
        colorbar={
            "thickness": 12,
            "outlinewidth": 0,
            "tickvals": [-np.log10(tick) for tick in ticks],
            "ticktext": [f"{100 * (1 - tick):.6g} %" for tick in ticks],
            "tickfont": AXIS["tickfont"],
        },
        name="predicted",
    )
    measured = go.Scatter(
        x=data.at_first,
        y=data.at_second,
        mode="markers",
        marker={
            "size": 11,
            "color": height(data.measured),
            "cmin": ends[0],
            "cmax": ends[1],
            "colorscale": scale,
            "line": {"color": INK, "width": 1.2},
        },
        hovertext=data.hover,
        hoverinfo="text",
        name="measured",
    )
    x, y = parameter_axis(data.first), parameter_axis(data.second)
    alt = (
        f"Precision over {data.first.name} and {data.second.name}: the fitted surface, and "
        f"{len(data.measured)} measured configurations as circles filled with their own colour."
    )
    return Drawing(data.name, alt, "", figure([surface, measured], layout(340, xaxis=x, yaxis=y)))

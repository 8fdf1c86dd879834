"""Precision along one parameter, and over two, while the others stay at the baseline."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cpmodel.report import style
from cpmodel.report.page import Page, Points, plain
from cpmodel.space import Floats, Parameter, Space

LEVEL = 0.9  # of the interval of a new training
# Configurations in which both of two parameters moved, and no other: fewer do not show a surface
LEAST_OF_PLANE = 9
_CONTOURS = 12


@dataclass(frozen=True, eq=False)
class CurveData:
    """P along one parameter; x are its values, or the positions of a categorical one's.

    Parameters
    ----------
    predicted : Points
        P, and its interval at `LEVEL`.
    measured : Points
        Configurations on that line that were trained: mean over seeds, least and greatest.
    """

    parameter: Parameter
    predicted: Points
    measured: Points


@dataclass(frozen=True, eq=False)
class SurfaceData:
    """P over two parameters, the first along and the second up.

    Parameters
    ----------
    along, up : shape (a,), (b,)
        Values where P was predicted.
    predicted : shape (b, a)
    trained : Points
        Where configurations of the plane were trained.
    measured : shape (n,)
        Their mean precision over seeds.
    """

    first: Parameter
    second: Parameter
    along: Floats
    up: Floats
    predicted: Floats
    trained: Points
    measured: Floats


def curves_data(page: Page) -> tuple[CurveData, ...]:
    """P along each parameter that can vary at the baseline, as the model that is used predicts it."""
    space, means, n, curves = page.space, page.means, page.notation, []
    for column, parameter in enumerate(space.parameters if page.precision else ()):
        X = line(space, parameter.name)
        if not len(X):
            continue
        filled, model = space.filled(X), page.precision[0].model
        P, (low, high) = np.asarray(model.predict(filled)), model.predict_interval(filled, LEVEL)
        said = tuple(f"<b>P</b>  {plain(n.P(p))} predicted" for p in P)
        rows = np.flatnonzero(page.on_plane(means.X, [column]))
        rows = rows[np.argsort(means.X[rows, column], kind="stable")]
        hover = tuple(map(page.measured_hover, rows))
        found = Points(means.X[rows, column], means.mean[rows], hover, means.low[rows], means.high[rows])
        curves.append(CurveData(parameter, Points(X[:, column], P, said, low, high), found))
    return tuple(curves)


def surfaces_data(page: Page) -> tuple[SurfaceData, ...]:
    """P over each pair of ordered parameters that enough configurations were trained in."""
    space, means, surfaces = page.space, page.means, []
    base = space.filled(space.matrix([space.baseline]))
    trained = np.unique(space.filled(page.samples.usable.X), axis=0)
    ordered = [i for i, p in enumerate(space.parameters) if not p.categorical and page.precision]
    for pair in itertools.combinations(ordered, 2):
        first, second = (space.parameters[column] for column in pair)
        X = plane(space, (first.name, second.name))
        both = page.on_plane(trained, pair) & (base != trained)[:, pair].all(axis=1)
        if both.sum() < LEAST_OF_PLANE or not len(X):
            continue
        along, up = (np.unique(X[:, column]) for column in pair)
        predicted = np.asarray(page.precision[0].model.predict(space.filled(X)))
        rows = np.flatnonzero(page.on_plane(means.X, pair))
        at = means.X[rows][:, pair]
        found = Points(at[:, 0], at[:, 1], tuple(map(page.measured_hover, rows)))
        P = predicted.reshape(len(along), len(up)).T
        surfaces.append(SurfaceData(first, second, along, up, P, found, means.mean[rows]))
    return tuple(surfaces)


def draw_curves(curves: Sequence[CurveData], page: Page) -> list[style.Drawing]:
    """Small multiples: one figure a parameter, all with the same precision axis."""
    ends = [end for data in curves for points in (data.predicted, data.measured) for end in points.ends]
    axis = style.PrecisionAxis.of(*(np.clip(end, 0, 1) for end in ends))
    return [_curve(data, axis, page) for data in curves]


def _curve(data: CurveData, axis: style.PrecisionAxis, page: Page) -> style.Drawing:
    import plotly.graph_objects as go

    parameter, at, traces = data.parameter, data.predicted, []
    look: dict[str, Any] = {"marker": {"symbol": "line-ew-open", "size": 18, "color": style.MODEL}}
    if not parameter.categorical and at.low is not None and at.high is not None:
        x, y = np.concatenate([at.x, at.x[::-1]]), np.concatenate([at.low, at.high[::-1]])
        area = {"fill": "toself", "fillcolor": style.BAND, "line": {"width": 0}, "mode": "lines"}
        traces.append(go.Scatter(x=x, y=axis.place(y), hoverinfo="skip", name="interval", **area))
        look, at = {"mode": "lines", "line": {"color": style.MODEL, "width": 2}}, Points(at.x, at.y, at.hover)
    traces.append(style.scatter("predicted", at, axis, **look))
    if len(data.measured):
        traces.append(
            style.scatter("measured", data.measured, axis, marker=style.marker("circle", 8, style.MEASURED))
        )
    return style.Drawing(
        f"curve-{parameter.name}",
        f"{page.metric.label.capitalize()} against {parameter.name}: the fitted curve and "
        f"{len(data.measured)} measured points.",
        "",
        style.figure(traces, 280, xaxis=style.parameter_axis(parameter), yaxis=axis.layout(page.notation)),
    )


def draw_surfaces(surfaces: Sequence[SurfaceData], page: Page) -> list[style.Drawing]:
    """One figure a pair, all with the same colours."""
    axis = style.PrecisionAxis.of(*(part for data in surfaces for part in (data.predicted, data.measured)))
    return [_surface(data, axis, page) for data in surfaces]


def _surface(data: SurfaceData, axis: style.PrecisionAxis, page: Page) -> style.Drawing:
    import plotly.graph_objects as go

    low, high = -np.log10([axis.high, axis.low])
    scale, told = [[0, style.PAPER], [0.5, style.BAND], [1, style.MODEL]], axis.layout(page.notation)
    said = [[f"<b>P</b>  {plain(page.notation.P(p))} predicted" for p in row] for row in data.predicted]
    surface = go.Contour(
        x=data.along,
        y=data.up,
        z=-np.log10(axis.place(data.predicted)),
        zmin=low,
        zmax=high,
        colorscale=scale,
        contours={"start": low, "end": high, "size": (high - low) / _CONTOURS},
        line={"width": 0.5, "color": style.MODEL},
        hovertext=said,
        colorbar={"tickvals": -np.log10(axis.ticks), "ticktext": told["ticktext"]},
        name="predicted",
    )
    filled = {"color": -np.log10(axis.place(data.measured)), "cmin": low, "cmax": high, "colorscale": scale}
    circles = {"size": 11, "line": {"color": style.INK, "width": 1.2}, **filled}
    axes = {"xaxis": style.parameter_axis(data.first), "yaxis": style.parameter_axis(data.second)}
    return style.Drawing(
        f"surface-{data.first.name}-{data.second.name}",
        f"{page.metric.label.capitalize()} over {data.first.name} and {data.second.name}: the fitted surface "
        f"and {len(data.measured)} measured configurations as circles filled with their own colour.",
        "",
        style.figure([surface, style.scatter("measured", data.trained, marker=circles)], 340, **axes),
    )


def plane(space: Space, names: tuple[str, str], points: int = 24) -> Floats:
    """X over a grid of two parameters, the second changing fastest, the others at the baseline.

    Parameters
    ----------
    points : int
        About how many along each; the parameters' own values are always among them.

    Returns
    -------
    X : shape (m, d)
        Empty where one of the two cannot vary at the baseline.
    """
    first, second = (line(space, name, points) for name in names)
    column = space.names.index(names[1])
    X = np.repeat(first, len(second), axis=0)
    X[:, column] = np.tile(second[:, column], len(first))
    return X


def line(space: Space, name: str, points: int = 60) -> Floats:
    """X along one parameter, ascending, the others at the baseline.

    Parameters
    ----------
    points : int
        About how many; the parameter's own values are always among them. A categorical one has only those.

    Returns
    -------
    X : shape (m, d)
        Empty where the baseline has no such parameter (it is inactive) or it takes one value only.

    Examples
    --------
    >>> from cpmodel.space import Parameter
    >>> line(Space((Parameter("f", (2, 8)), Parameter("k", (3, 5)))), "f", points=3)
    array([[2., 5.],
           [4., 5.],
           [8., 5.]])
    """
    parameter = space[name]
    codes = np.array([parameter.code(value) for value in parameter.values])
    base = space.matrix([space.baseline])
    column = space.names.index(name)
    if len(codes) < 2 or np.isnan(base[0, column]):
        return np.empty((0, len(space.parameters)))
    if not parameter.categorical:
        between = np.geomspace if codes[0] > 0 else np.linspace
        codes = np.unique(np.concatenate([codes, np.round(between(codes[0], codes[-1], points), 9)]))
    X = np.repeat(base, len(codes), axis=0)
    X[:, column] = codes
    return X

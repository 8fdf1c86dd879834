"""What was trained: the search in its order, the learning curves, the failures."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np

from cpmodel.report.content import ReportContent
from cpmodel.report.display import percent
from cpmodel.report.style import (
    ANSWER,
    AXIS,
    FAINT,
    INK,
    MEASURED,
    Drawing,
    PrecisionAxis,
    complexity_axis,
    figure,
    hover,
    layout,
)
from cpmodel.samples import Samples
from cpmodel.space import Floats


@dataclass(frozen=True)
class TrainingFacts:
    """Counts of a samples table.

    Parameters
    ----------
    trainings, configurations : int
    statuses : tuple of (status, count), the most frequent first
    failures : tuple of (configuration, seed, reason)
    train_s : float
        Seconds of training, summed over trainings.
    """

    trainings: int
    configurations: int
    statuses: tuple[tuple[str, int], ...]
    failures: tuple[tuple[str, int, str], ...]
    train_s: float


def training_facts(samples: Samples) -> TrainingFacts:
    """Counts, failures with their reasons, and the time of a samples table."""
    frame, keys = samples.frame, samples.keys
    failed = [int(row) for row in np.flatnonzero(frame["status"].eq("failed"))]
    return TrainingFacts(
        len(frame),
        len(set(keys)),
        tuple((str(status), int(count)) for status, count in frame["status"].value_counts().items()),
        tuple((keys[row], int(frame["seed"].iloc[row]), str(frame["reason"].iloc[row])) for row in failed),
        float(frame["train_s"].sum()),
    )


@dataclass(frozen=True, eq=False)
class CourseData:
    """Trainings in their order, those without precision or complexity left out.

    Parameters
    ----------
    number : shape (n,)
        Position in the table, from 1.
    complexity, precision : shape (n,)
    role : n of "baseline", "answer" or ""
    hover : n texts
    target : float
        NaN without one.
    """

    number: Floats
    complexity: Floats
    precision: Floats
    role: tuple[str, ...]
    hover: tuple[str, ...]
    target: float


def course_data(content: ReportContent, digits: int = 1) -> CourseData:
    """The search in the order of the table."""
    samples, known = content.samples, content.sample_complexity
    cost = np.full(len(samples), np.nan) if known is None else np.asarray(known, dtype=np.float64)
    P, keys = samples.precision, samples.keys
    rows = [int(row) for row in np.flatnonzero(np.isfinite(P) & np.isfinite(cost) & (cost > 0))]
    purposes = samples.frame["purpose"].astype(str).tolist()
    texts = []
    for row in rows:
        said = f"{percent(P[row], digits)} measured, seed {samples.frame['seed'].iloc[row]}"
        relative = cost[row] / content.baseline_complexity
        text = hover(keys[row], said, cost[row], relative, content.complexity, content.unit)
        purpose = f" ({purposes[row]})" if purposes[row].isalpha() else ""
        texts.append(f"training {row + 1}{purpose}<br>{text}")
    target = (
        content.verdict.target if content.verdict else content.choice.target if content.choice else math.nan
    )
    return CourseData(
        np.array([row + 1.0 for row in rows]),
        cost[rows],
        P[rows],
        tuple(_role(content, keys[row]) for row in rows),
        tuple(texts),
        target,
    )


def draw_course(data: CourseData, content: ReportContent) -> Drawing:
    """Complexity of each training in its order, filled where it reached the target."""
    import plotly.graph_objects as go

    reached = data.precision >= data.target
    traces = []
    for name, rows, symbol in (
        ("reached the target", np.flatnonzero(reached), "circle"),
        ("did not", np.flatnonzero(~reached), "circle-open"),
    ):
        if len(rows):
            line = {"color": MEASURED, "width": 1.6 if symbol.endswith("open") else 0}
            traces.append(
                go.Scatter(
                    x=data.number[rows],
                    y=data.complexity[rows],
                    mode="markers",
                    marker={"symbol": symbol, "size": 8, "color": MEASURED, "line": line},
                    hovertext=[data.hover[i] for i in rows],
                    hoverinfo="text",
                    name=name,
                )
            )
    x = {**AXIS, "title": {"text": "training, in order", "standoff": 8}, "rangemode": "tozero"}
    alt = (
        f"Complexity of {len(data.number)} trainings in their order; {int(reached.sum())} reached the target."
    )
    y = complexity_axis(content.complexity, content.unit, data.complexity)
    caption = "The search in its order: filled where a training reached the target, hollow where it did not."
    return Drawing("course", alt, caption, figure(traces, layout(340, showlegend=True, xaxis=x, yaxis=y)))


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Precision after each epoch of one training; `role` is "baseline", "answer" or empty."""

    key: str
    seed: int
    role: str
    precision: tuple[float, ...]


def learning_data(content: ReportContent) -> tuple[LearningCurve, ...]:
    """The learning curves of a table that are longer than one epoch."""
    frame = content.samples.frame
    curves = []
    for key, seed, text in zip(content.samples.keys, frame["seed"], frame["curve"], strict=True):
        points = _curve(text)
        if len(points) > 1:
            curves.append(LearningCurve(key, int(seed), _role(content, key), points))
    return tuple(curves)


def draw_learning(curves: tuple[LearningCurve, ...], digits: int = 1) -> Drawing:
    """All learning curves, thin, with the baseline's and the answer's in front."""
    import plotly.graph_objects as go

    axis = PrecisionAxis.of(*(curve.precision for curve in curves))
    traces = []
    for role, name, color, width in (
        ("", "other configurations", FAINT, 1.0),
        ("baseline", "baseline", INK, 1.8),
        ("answer", "answer", ANSWER, 2.2),
    ):
        x: list[float] = []
        y: list[float] = []
        texts: list[str] = []
        for curve in curves:
            if curve.role != role:
                continue
            # a gap parts one curve from the next: one trace draws a hundred of them quickly
            x += [*range(1, len(curve.precision) + 1), math.nan]
            y += [*axis.place(curve.precision).tolist(), math.nan]
            texts += [
                hover(
                    curve.key,
                    f"{percent(p, digits)} after epoch {i}, seed {curve.seed}",
                    math.nan,
                    math.nan,
                    "",
                )
                for i, p in enumerate(curve.precision, 1)
            ] + [""]
        if x:
            traces.append(
                go.Scatter(
                    x=x,
                    y=y,
                    mode="lines",
                    line={"color": color, "width": width},
                    hovertext=texts,
                    hoverinfo="text",
                    name=name,
                )
            )
    epochs = max(len(curve.precision) for curve in curves)
    x_axis = {**AXIS, "title": {"text": "epoch", "standoff": 8}} | ({"dtick": 1} if epochs <= 12 else {})
    alt = f"Validation precision after each epoch of {len(curves)} trainings."
    y_axis = axis.layout("precision P")
    caption = "Precision after each epoch, one line a training, the baseline's and the answer's in front."
    return Drawing(
        "learning", alt, caption, figure(traces, layout(340, showlegend=True, xaxis=x_axis, yaxis=y_axis))
    )


def _role(content: ReportContent, key: str) -> str:
    answer = content.verdict.key if content.verdict else content.answer.key if content.answer else ""
    return "answer" if key == answer else "baseline" if key == content.baseline_key else ""


def _curve(text: object) -> tuple[float, ...]:
    """A curve as the table keeps it; anything else counts as none, since a table may come from anybody."""
    try:
        points = json.loads(str(text))
        values = tuple(float(p) for p in points) if isinstance(points, list) else ()
    except (TypeError, ValueError):
        return ()
    return values if all(0 <= p <= 1 for p in values) else ()

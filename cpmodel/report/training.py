"""What was trained: the search in its order, the learning curves, the failures."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np

from cpmodel.report import style
from cpmodel.report.page import Page, Points
from cpmodel.samples import Samples
from cpmodel.space import Floats


@dataclass(frozen=True)
class TrainingFacts:
    """Counts of a samples table.

    Parameters
    ----------
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


def course_data(page: Page) -> tuple[Points, Floats]:
    """Trainings in the order of the table: x is their number, y their complexity; and their precision.

    Those without precision or complexity are left out.
    """
    samples, known = page.samples, page.complexity
    cost = np.full(len(samples), np.nan) if known is None else np.asarray(known, dtype=np.float64)
    P, keys = samples.precision, samples.keys
    rows = np.flatnonzero(np.isfinite(P) & np.isfinite(cost) & (cost > 0))
    purposes, seeds = samples.frame["purpose"].astype(str).tolist(), samples.frame["seed"].tolist()
    texts = []
    for row in rows:
        purpose = f" ({purposes[row]})" if purposes[row].isalpha() else ""
        said = page.hover(keys[row], f"{page.notation.P(P[row])} measured, seed {seeds[row]}", cost[row])
        texts.append(f"training {row + 1}{purpose}<br>{said}")
    return Points(rows.astype(np.float64) + 1, cost[rows], tuple(texts)), P[rows]


def draw_course(data: Points, precision: Floats, page: Page) -> style.Drawing:
    """Complexity of each training in its order, filled where it reached the target."""
    reached, traces = precision >= page.target, []
    for name, rows, symbol, width in (
        ("reached the target", np.flatnonzero(reached), "circle", 0),
        ("did not", np.flatnonzero(~reached), "circle-open", 1.6),
    ):
        part = Points(data.x[rows], data.y[rows], tuple(data.hover[row] for row in rows))
        if len(part):
            traces.append(
                style.scatter(
                    name, part, marker=style.marker(symbol, 8, style.MEASURED, style.MEASURED, width)
                )
            )
    return style.Drawing(
        "course",
        f"Complexity of {len(data)} trainings in their order; {int(reached.sum())} reached the target.",
        "The search in its order: filled where a training reached the target, hollow where it did not.",
        style.figure(
            traces,
            340,
            showlegend=True,
            xaxis={"title": {"text": "training, in order"}, "rangemode": "tozero"},
            yaxis=style.complexity_axis(page.cost, data.y),
        ),
    )


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Precision after each epoch of one training; `role` is "baseline", "answer" or empty."""

    key: str
    seed: int
    role: str
    precision: tuple[float, ...]


def learning_data(page: Page) -> tuple[LearningCurve, ...]:
    """The learning curves of a table that are longer than one epoch."""
    frame, curves = page.samples.frame, []
    for key, seed, text in zip(page.samples.keys, frame["seed"], frame["curve"], strict=True):
        points = _curve(text)
        if len(points) > 1:
            curves.append(LearningCurve(key, int(seed), page.role(key), points))
    return tuple(curves)


def draw_learning(curves: tuple[LearningCurve, ...], page: Page) -> style.Drawing:
    """All learning curves, thin, with the baseline's and the answer's in front."""
    import plotly.graph_objects as go

    axis = style.PrecisionAxis.of(*(curve.precision for curve in curves))
    traces = []
    for role, name, color, width in (
        ("", "other configurations", style.FAINT, 1.0),
        ("baseline", "baseline", style.INK, 1.8),
        ("answer", "answer", style.ANSWER, 2.2),
    ):
        x: list[float] = []
        y: list[float] = []
        texts: list[str] = []
        for curve in (curve for curve in curves if curve.role == role):
            # a gap parts one curve from the next: one trace draws a hundred of them quickly
            x += [*range(1, len(curve.precision) + 1), math.nan]
            y += [*axis.place(curve.precision).tolist(), math.nan]
            for epoch, p in enumerate(curve.precision, 1):
                said = f"{page.notation.P(p)} after epoch {epoch}, seed {curve.seed}"
                texts.append(page.hover(curve.key, said))
            texts.append("")
        if x:
            line = {"color": color, "width": width}
            traces.append(go.Scatter(x=x, y=y, mode="lines", line=line, hovertext=texts, name=name))
    epochs = max(len(curve.precision) for curve in curves)
    return style.Drawing(
        "learning",
        f"{page.metric.label.capitalize()} on validation after each epoch of {len(curves)} trainings.",
        "Precision after each epoch, one line a training, the baseline's and the answer's in front.",
        style.figure(
            traces,
            340,
            showlegend=True,
            xaxis={"title": {"text": "epoch"}} | ({"dtick": 1} if epochs <= 12 else {}),
            yaxis=axis.layout(page.notation),
        ),
    )


def _curve(text: object) -> tuple[float, ...]:
    """A curve as the table keeps it; anything else counts as none, since a table may come from anybody."""
    try:
        points = json.loads(str(text))
        values = tuple(float(p) for p in points) if isinstance(points, list) else ()
    except (TypeError, ValueError):
        return ()
    return values if all(0 <= p <= 1 for p in values) else ()

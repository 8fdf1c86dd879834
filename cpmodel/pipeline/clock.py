"""A budget of time: how much is left, and how long trainings will take."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.optimize import nnls

from cpmodel.pipeline.material import Material
from cpmodel.search.decide import View
from cpmodel.space import Floats

_RECENT = 8  # trainings that tell what the next ones will be like


@dataclass(frozen=True)
class Clock:
    """The seconds from now on; None for no limit."""

    seconds: float | None
    started: float = field(default_factory=time.monotonic)

    @property
    def deadline(self) -> float | None:
        """`time.monotonic()` at its end."""
        return None if self.seconds is None else self.started + self.seconds

    @property
    def left(self) -> float:
        """Seconds, 0 or more; infinite without a limit."""
        return np.inf if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @property
    def late(self) -> bool:
        """Whether it is over."""
        return self.left <= 0


def timed(material: Material, view: View, clock: Clock) -> View:
    """The view of a search whose time is limited: time as trainings that fit into it, and what each takes."""
    recent = view.samples.frame["train_s"].to_numpy(dtype=np.float64)[-_RECENT:]
    each = float(recent.mean()) if len(recent) else 0.0
    fit = len(view.samples) + (int(clock.left * view.workers / each) if each > 0 else view.workers)
    budget = min(view.budget, len(view.samples) if clock.late else fit)
    return replace(view, budget=budget, seconds=training_seconds(material, view.X))


def training_seconds(material: Material, X: Floats) -> Floats | None:
    """Expected training time of each row of X: a + b effort + c activations, none negative; shape (n,).

    None while too little was trained to tell.
    """
    samples = material.samples
    seconds = samples.frame["train_s"].to_numpy(dtype=np.float64)
    there = np.isfinite(samples.precision) & (seconds > 0)
    if there.sum() < 3:
        return None

    def terms(rows: Floats) -> Floats:
        columns = [np.ones(len(rows)), material.effort(rows)]
        activations = material.computed(rows).get("activation_elements")
        return np.column_stack(columns if activations is None else [*columns, activations])

    A = terms(samples.X[there])
    scale = A.max(axis=0)
    # relative errors: a short training's are as important as a long one's
    weights, _ = nnls(A / scale / seconds[there, None], np.ones(int(there.sum())))
    expected: Floats = np.fmax(terms(X) / scale @ weights, float(seconds[there].min()) / 2)
    return expected

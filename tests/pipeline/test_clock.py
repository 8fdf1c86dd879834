"""How long trainings are expected to take, and what is planned when time is short."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from cpmodel.families import Task
from cpmodel.families.plain import PlainFamily
from cpmodel.pipeline.clock import Clock, timed, training_seconds
from cpmodel.pipeline.material import Material
from cpmodel.records.sample import Sample
from cpmodel.samples import Samples
from cpmodel.search.decide import View
from cpmodel.space import Floats

TASK, FAMILY = Task(28, 28, 1, 10), PlainFamily()
SPACE = FAMILY.space(TASK)
X = SPACE.candidates()
EFFORT = FAMILY.effort(X, TASK)


def trained(rows: Any, seconds: Floats) -> Material:
    told = [
        Sample(configuration, 0, 0.5, train_s=float(s))
        for configuration, s in zip(SPACE.configurations(X[rows]), seconds, strict=True)
    ]
    return Material(Samples.of(SPACE, told), FAMILY, TASK)


def test_short_trainings_count_as_much_as_long_ones() -> None:
    """The longest training, ten times slower than it should be, does not spoil what is said of short ones."""
    rows = np.argsort(EFFORT)[[0, 20, 60, 120, 240, 400, -1]]
    true = 1.0 + EFFORT[rows] / EFFORT.max() * 100
    seconds = true.copy()
    seconds[-1] *= 10
    expected = training_seconds(trained(rows, seconds), X[rows[:3]])
    assert expected is not None
    np.testing.assert_allclose(expected, true[:3], rtol=0.25)


def test_nothing_is_said_of_two_trainings() -> None:
    assert training_seconds(trained([0, 1], np.ones(2)), X) is None


def view(material: Material, budget: int = 40) -> View:
    model: Any = None
    return View(SPACE, material.samples, X, EFFORT, model, 0.9, 0.9, budget, 0.05, 2, 0)


def test_nothing_is_planned_when_the_time_is_up() -> None:
    material = trained(range(5), np.full(5, 10.0))
    over = Clock(1.0, time.monotonic() - 2.0)
    assert over.late
    assert timed(material, view(material), over).budget == len(material.samples)
    # half a minute holds three trainings of ten seconds for each of two workers
    left = timed(material, view(material), Clock(30.5))
    assert left.budget == len(material.samples) + 6
    assert timed(material, view(material, budget=7), Clock(30.5)).budget == 7
    assert left.seconds is not None and left.seconds.shape == (len(X),)


def test_nothing_is_planned_when_the_time_is_up_before_the_first_training() -> None:
    material = trained([], np.empty(0))
    assert timed(material, view(material), Clock(1.0, time.monotonic() - 2.0)).budget == 0

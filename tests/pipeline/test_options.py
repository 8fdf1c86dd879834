"""The option groups: what is refused, and what help says."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from cpmodel import registry
from cpmodel.errors import BadInputError
from cpmodel.pipeline.options import (
    CurveGoal,
    DesignOptions,
    Effort,
    FitOptions,
    Goal,
    MeasureOptions,
    Options,
    ProofOptions,
    StudyOptions,
    TableOptions,
    told,
)

GROUPS = [
    CurveGoal,
    DesignOptions,
    Effort,
    FitOptions,
    Goal,
    MeasureOptions,
    ProofOptions,
    StudyOptions,
    TableOptions,
]


@pytest.mark.parametrize(
    ("group", "given", "message"),
    [
        (Effort, {"budget": 0}, "^budget: expected a whole number, 1 or more, got 0$"),
        (Effort, {"budget": 2.5}, "^budget: expected a whole number, 1 or more, got 2.5$"),
        (Effort, {"budget": True}, "^budget: expected a whole number"),
        (Effort, {"seconds": 0}, "^seconds: expected a number above 0, got 0$"),
        (Effort, {"tolerance": float("nan")}, r"^tolerance: expected a number in \[0, 1\), got nan$"),
        (Effort, {"full": 1}, "^full: expected True or False, got 1$"),
        (Goal, {}, "^target, or drop below the baseline: expected one of them, got neither$"),
        (Goal, {"target": 0.9, "drop": 0.1}, "got both$"),
        (Goal, {"target": 0.0}, "^target: expected"),
        (Goal, {"target": float("nan")}, "^target: expected"),
        (Goal, {"drop": -0.1}, "^drop: expected"),
        (Goal, {"target": 0.9, "confidence": 0.4}, "^confidence: expected"),
        (Goal, {"target": 0.9, "confidence": 1.0}, "^confidence: expected"),
        (Goal, {"target": 1.7}, r"^target: expected a number in \(0, 1\], got 1.7$"),
        (Goal, {"target": 0.9, "complexity": 3}, "^complexity: expected a text, got 3$"),
        (CurveGoal, {"low": 0.9, "high": 0.8}, "got 0.9:0.8$"),
        (CurveGoal, {"low": 0.9, "high": 1.0}, "^high: expected"),
        (TableOptions, {"unit": "x"}, "^unit: expected one of auto, fraction, percent, got 'x'$"),
        (StudyOptions, {"seed": -1}, r"^seed: expected a whole number in \[0, 4294967295\], got -1$"),
        (ProofOptions, {"seeds": 2}, "^seeds: expected a whole number, 3 or more, got 2$"),
    ],
)
def test_what_cannot_be_is_refused(group: type[Options], given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        group(**given)


def test_numbers_of_numpy_are_numbers() -> None:
    given: dict[str, Any] = {"budget": np.int64(3), "tolerance": np.float32(0.5)}
    effort = Effort(**given)
    assert (type(effort.budget), type(effort.tolerance)) == (int, float)
    limits: dict[str, Any] = {"params": np.int64(3)}
    assert Goal(target=0.5, limits=limits).limits == {"params": 3.0}


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_says_what_it_is(group: type[Options]) -> None:
    for each in fields(group):
        assert each.metadata["help"].endswith(".")
        assert "{" not in told(each)


def test_help_names_all_that_is_installed() -> None:
    family = next(f for f in fields(StudyOptions) if f.name == "family")
    assert ", ".join(registry.names("families")) in told(family)

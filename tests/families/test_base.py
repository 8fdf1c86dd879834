"""What every family says of its costs unless it says more."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike
from own_family import Squeezed

from cpmodel.cost import Cost
from cpmodel.errors import BadInputError
from cpmodel.families import Task
from cpmodel.families.plain import PlainFamily
from cpmodel.space import Floats

TASK = Task(28, 28, 1, 10)


def test_the_plain_familys_costs_are_described() -> None:
    family = PlainFamily()
    kinds = family.cost_kinds(TASK)
    space = family.space(TASK)
    X = space.candidates()
    assert [cost.name for cost in kinds] == list(family.costs(X, TASK))
    assert kinds[0] == Cost("macs", "MACs", "MACs of one image", "computed")
    assert family.main_cost(TASK) == "macs"
    np.testing.assert_array_equal(family.effort(X, TASK), family.costs(X, TASK)["macs"])


def test_a_family_without_macs_trains_as_long_as_its_first_cost_says() -> None:
    family = Squeezed()
    X = family.space(TASK).candidates()
    assert family.main_cost(TASK) == "cents"
    np.testing.assert_array_equal(family.effort(X, TASK), family.costs(X, TASK)["cents"])


def test_a_cost_of_ones_own_goes_by_its_name() -> None:
    class Unsaid(Squeezed):
        cost_kinds = PlainFamily.cost_kinds

    assert Unsaid().cost_kinds(TASK) == (Cost("cents", "", "cents"), Cost("weights", "", "weights"))


def test_a_family_without_costs_is_refused() -> None:
    class Free(Squeezed):
        cost_kinds = PlainFamily.cost_kinds

        def costs(self, X: ArrayLike, task: Task) -> dict[str, Floats]:
            return {}

    with pytest.raises(BadInputError, match="squeezed: expected one cost or more"):
        Free().main_cost(TASK)

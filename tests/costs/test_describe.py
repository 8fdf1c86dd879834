"""The costs of a configuration, said and checked."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import ArrayLike
from own_family import Squeezed

from cpmodel.costs.describe import describe, sizes
from cpmodel.errors import BadInputError
from cpmodel.families import Task, get_family
from cpmodel.families.plain import PlainFamily
from cpmodel.report.tables import described_table
from cpmodel.space import Floats

TASK = Task(28, 28, 1, 10)


def test_the_baseline_unless_told_and_any_value_that_can_be_built() -> None:
    family = PlainFamily()
    assert describe(family, TASK).configuration == family.space(TASK).baseline
    found = describe(family, TASK, {"f": 7, "s": 9})
    assert found.configuration == {"f": 7, "s": 9, "k": 5, "l": 3}
    exact = family.costs([[7, 9, 5, 3]], TASK)
    assert {f.cost.name: f.value for f in found.figures} == {name: v[0] for name, v in exact.items()}
    assert [f.counted for f in found.figures] == [None] * len(exact) and found.agrees
    assert describe(Squeezed(), TASK, {"l": 1}).configuration == {"w": 16, "l": 1}
    for wrong, message in (({"v": 2, "l": 1}, "no v"), ({"u": 2}, "expected one of w, l, v")):
        with pytest.raises(BadInputError, match=message):
            describe(Squeezed(), TASK, wrong)
    with pytest.raises(BadInputError, match="at most 28"):
        describe(family, TASK, {"s": 29})


def test_a_check_counts_the_network_beside() -> None:
    found = describe(PlainFamily(), TASK, {"k": 4}, check=True)
    assert all(figure.equal for figure in found.figures) and found.agrees and found.unseen == ()


def test_a_wrong_family_is_found_out() -> None:
    class Wrong(PlainFamily):
        def costs(self, X: ArrayLike, task: Task) -> dict[str, Floats]:
            columns = super().costs(X, task)
            return {**columns, "params": columns["params"] + 1}

    found = describe(Wrong(), TASK, check=True)
    assert [f.cost.name for f in found.figures if f.equal is False] == ["params"]
    assert not found.agrees


def test_sizes_are_counted_where_a_family_does_not_compute_them() -> None:
    exact = PlainFamily().costs([[2, 8, 3, 1]], TASK)
    names = ("activation_elements", "params", "activation_peak_elements")
    assert sizes(PlainFamily(), TASK, {"f": 2, "s": 8, "k": 3, "l": 1}) == tuple(exact[n][0] for n in names)
    # 16 pixels, 4 units, 8 units, 10 classes
    assert sizes(Squeezed(), TASK, {"w": 8, "l": 2, "v": 4}) == (22, 16 * 4 + 4 * 8 + 8 * 10, 20)


def test_a_cost_that_nobody_counts_stands_alone() -> None:
    found = describe(Squeezed(), TASK, {"l": 1, "w": 3}, check=True)
    assert found.configuration == {"w": 3, "l": 1}
    assert [(f.cost.name, f.cost.unit, f.equal) for f in found.figures] == [
        ("cents", "ct", None),
        ("weights", "", None),
    ]
    np.testing.assert_allclose(found.figures[1].value, 16 * 3 + 30)


def test_well_known_networks_stand_beside() -> None:
    photos = Task(64, 64, 3, 200)
    found = describe(get_family("squeezenet"), photos)
    (params,) = [figure.value for figure in found.figures if figure.cost.name == "params"]
    assert params == 838_024
    assert found.references["AlexNet"]["params"] == 57_823_240
    assert round(found.references["AlexNet"]["params"] / params, 1) == 69.0
    rows = described_table(found, counted=False).rows
    assert [row[-1] for row in rows if row[0] == "params"] == ["57,823,240"]
    assert describe(PlainFamily(), TASK).references == {}

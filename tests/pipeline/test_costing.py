"""Costs of a material: what is listed of two configurations, what can be minimised."""

from __future__ import annotations

import numpy as np
import pytest
from own_family import Squeezed

from cpmodel.cost import Conditions
from cpmodel.costs.table import CostsTable, Measurement
from cpmodel.errors import BadInputError
from cpmodel.families import Task
from cpmodel.pipeline.costing import compared_costs, complexity_of, default_complexity
from cpmodel.pipeline.material import Material
from cpmodel.records.sample import Sample
from cpmodel.samples import Samples

TASK = Task(28, 28, 1, 10)
FAMILY = Squeezed()
SPACE = FAMILY.space(TASK)
HERE, PHONE = Conditions(), Conditions("Phone 7", "tflite 2.1", "int8", 1, 4)
SMALL = {"w": 2, "l": 1}


def material(costs: CostsTable | None = None) -> Material:
    rows = [Sample(c, 0, 0.5) for c in SPACE.configurations(SPACE.candidates())]
    return Material(Samples.of(SPACE, rows), FAMILY, TASK, costs)


def measured() -> CostsTable:
    both = [SPACE.baseline, SMALL]
    rows = [Measurement(c, k, float(s)) for k, s in ((HERE, 2), (PHONE, 3)) for c in both]
    rows.append(Measurement({"w": 4, "l": 1}, Conditions(batch=7), 1.0))  # neither of the two
    return CostsTable.of(SPACE, rows)


def test_what_is_minimised_comes_first_and_the_rest_as_it_is_known() -> None:
    family = compared_costs(material(), SMALL)
    assert [(c.cost.name, c.cost.unit, c.cost.known) for c in family] == [
        ("cents", "ct", "computed"),
        ("weights", "", "computed"),
    ]
    computed = FAMILY.costs(SPACE.matrix([SPACE.baseline, SMALL]), TASK)
    assert [(c.baseline, c.answer) for c in family] == [tuple(v) for v in computed.values()]
    lines = compared_costs(material(measured()), SMALL, "latency_s")
    assert [c.cost.name for c in lines] == ["latency_s", "latency_s", "cents", "weights"]
    assert [c.cost.conditions for c in lines[:2]] == [HERE, PHONE]
    assert [(c.baseline, c.answer) for c in lines[:2]] == [(2.0, 2.0), (3.0, 3.0)]
    assert [c.cost.name for c in compared_costs(material(), SMALL, "weights")] == ["weights", "cents"]


def test_columns_of_a_table_are_costs_too() -> None:
    told = material().samples
    told.frame["joules"] = np.arange(1.0, len(told) + 1)
    table = Material(told)
    (line,) = compared_costs(table, SMALL)
    rows = [SPACE.key(c) for c in SPACE.configurations(told.X)]
    assert line.cost.name == "joules" and line.cost.known == "measured"
    assert line.baseline == rows.index(SPACE.key(SPACE.baseline)) + 1
    assert line.answer == rows.index(SPACE.key(SMALL)) + 1


def test_a_family_without_macs_minimises_its_first_cost() -> None:
    assert default_complexity(material()) == "cents"
    X = SPACE.candidates()
    np.testing.assert_array_equal(complexity_of(material(), "cents").of(X), FAMILY.costs(X, TASK)["cents"])
    with pytest.raises(BadInputError, match="expected one of cents, weights"):
        complexity_of(material(), "macs")

"""Costs of a material: what is listed of two configurations, what can be minimised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from own_family import Squeezed

from cpmodel.cost import Conditions
from cpmodel.costs.table import CostsTable, Measurement
from cpmodel.errors import BadInputError
from cpmodel.families import Task
from cpmodel.pipeline.costing import (
    compared_costs,
    complexity_of,
    default_complexity,
    most_measured,
    within,
)
from cpmodel.pipeline.material import Material
from cpmodel.records.sample import Sample
from cpmodel.samples import Samples
from cpmodel.space import Parameter, Space

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


def test_any_measured_cost_can_be_minimised_and_limited() -> None:
    X = SPACE.candidates()
    joules = 1e-3 * FAMILY.costs(X, TASK)["weights"]
    rows = zip(SPACE.configurations(X), joules, strict=True)
    told = [Measurement(c, PHONE, float(v), cost="joules") for c, v in list(rows)[::2]]
    table = material(CostsTable.of(SPACE, [*told, *[Measurement(SMALL, HERE, 1.0, cost="grams")]]))
    price = complexity_of(table, "joules")
    assert (price.cost.name, price.cost.conditions) == ("joules", PHONE)
    np.testing.assert_allclose(price.of(X)[::2], joules[::2])
    np.testing.assert_allclose(price.of(X), joules, rtol=0.3)
    assert (price.of(within(table, {"joules": 0.3})) <= 0.3).all()
    with pytest.raises(BadInputError, match=r"measured grams under .*: expected 5 or more, got 1"):
        complexity_of(table, "grams")
    with pytest.raises(BadInputError, match="one of cents, weights, joules, grams, latency_s, got macs"):
        complexity_of(table, "macs")
    with pytest.raises(BadInputError, match="run-times measured first"):
        complexity_of(table, "latency_s")


def test_the_most_measured_conditions_of_a_cost() -> None:
    table = measured()
    assert most_measured(table).conditions == HERE
    more = table.merged(CostsTable.of(SPACE, [Measurement({"w": 4, "l": 1}, PHONE, 1.0)]))
    assert most_measured(more).conditions == PHONE


def test_models_of_costs_know_which_parameters_are_categories() -> None:
    # codes without order: a cost that only a category decides
    kinds = ("a", "b", "c", "d")
    space = Space((Parameter("kind", kinds, categorical=True), Parameter("n", (1, 2, 3, 4))))
    rows = [Sample(c, 0, 0.5) for c in space.configurations(space.candidates())]
    told = Samples.of(space, rows)
    told.frame["joules"] = told.frame["kind"].map({"a": 1.0, "b": 9.0, "c": 2.0, "d": 9.0}) + 0.0
    fit = complexity_of(Material(told), "joules").fit
    assert fit is not None and fit.model.categorical == {"kind": [0.0, 1.0, 2.0, 3.0]}
    # a category that nobody measured is known all the same
    fit = complexity_of(Material(replace(told, frame=told.frame[told.frame["kind"] != "d"])), "joules").fit
    assert fit is not None and fit.model.categorical == {"kind": [0.0, 1.0, 2.0, 3.0]}


def test_axes_of_a_search_are_no_part_of_what_is_measured() -> None:
    space = Space((*SPACE.parameters, Parameter("epochs", (1, 2), axis=True)))
    rows = [Sample({"epochs": 1, **SMALL}, 0, 0.5), Sample({"epochs": 2, **SMALL}, 0, 0.6)]
    searched = Material(Samples.of(space, rows), FAMILY, TASK, measured())
    lines = compared_costs(searched, {"epochs": 1, **SMALL})
    assert [c.cost.name for c in lines] == ["cents", "weights", "latency_s", "latency_s"]
    X = SPACE.candidates()
    both = CostsTable.of(
        SPACE, [Measurement(c, HERE, 1.0 + i) for i, c in enumerate(SPACE.configurations(X))]
    )
    price = complexity_of(Material(searched.samples, FAMILY, TASK, both), "latency_s")
    assert set(price.of(space.matrix([{"epochs": e, **SMALL} for e in (1, 2)]))) == {1.0}

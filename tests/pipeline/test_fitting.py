"""What a fit is given beside the samples: exact costs, where the family is known."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from own_family import Squeezed

from cpmodel.families.base import Task
from cpmodel.families.plain import PlainFamily
from cpmodel.pipeline.fitting import fit_precision
from cpmodel.pipeline.material import Material
from cpmodel.records.sample import Sample
from cpmodel.samples import Samples

TASK = Task(28, 28, 1, 10)
FAMILY = PlainFamily()
SPACE = FAMILY.space(TASK)


def samples(rows: int) -> Samples:
    """Precisions that hang on parameters of the network alone."""
    X = SPACE.candidates()[np.random.default_rng(0).permutation(SPACE.size)[:rows]]
    P = 1 - 2.0 * FAMILY.costs(X, TASK)["params"] ** -0.25
    told = [
        Sample(configuration, 0, float(p))
        for configuration, p in zip(SPACE.configurations(X), P, strict=True)
    ]
    return Samples.of(SPACE, told)


def test_costs_are_further_features() -> None:
    material = Material(samples(40), FAMILY, TASK)
    assert material.derived is not None and material.derived.names == ("macs", "params")
    rows = SPACE.candidates()
    exact = FAMILY.costs(rows, TASK)
    np.testing.assert_array_equal(
        material.derived.of(rows), np.stack([exact["macs"], exact["params"]], axis=1)
    )
    # what cannot be built counts as the nearest that can
    np.testing.assert_array_equal(material.derived.of(rows + 0.2), material.derived.of(rows))


def test_a_fit_uses_costs_where_they_tell() -> None:
    material, rows = Material(samples(40), FAMILY, TASK), SPACE.candidates()
    true = 1 - 2.0 * FAMILY.costs(rows, TASK)["params"] ** -0.25
    missed = [
        np.mean(np.abs(fit_precision(material.samples, derived=d).model.predict(rows) - true))
        for d in (None, material.derived)
    ]
    assert missed[1] < 0.7 * missed[0]
    # a model that knows no derived columns is fitted without them
    fit_precision(material.samples, "explinear", derived=material.derived)


def test_unknown_families_give_no_costs() -> None:
    assert Material(samples(5)).derived is None


def test_a_family_says_which_of_its_costs_tell_the_most() -> None:
    family = Squeezed()
    space = family.space(TASK)
    told = Samples.of(space, [Sample({"w": 4, "l": 1}, 0, 0.5)])
    assert Material(told, family, TASK).derived is None  # neither macs nor params are there

    class Telling(Squeezed):
        telling: ClassVar[tuple[str, ...]] = ("weights", "beauty")

    derived = Material(told, Telling(), TASK).derived
    assert derived is not None and derived.names == ("weights",)
    filled = space.filled(space.candidates())
    np.testing.assert_array_equal(
        derived.of(filled)[:, 0], family.costs(space.settled(filled), TASK)["weights"]
    )

"""Encodings of a table's columns: ranges, orders, costs as powers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cpmodel import codec
from cpmodel.space import Condition, Parameter, Space
from cpmodel.surrogates.features import Column, Derived, Features
from cpmodel.surrogates.precision.process import LogErrorGP

MACS = np.array([1e4, 1e5, 1e6, 1e7])


def test_a_cost_does_ever_less_and_a_parameter_as_its_log():
    X = np.stack([MACS, MACS], axis=1)
    features = Features.of(X, None, {}, costs=[1])
    assert [column.kind for column in features.columns] == ["log", "power"]
    log, power = features.encode(X).T
    assert log == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert power[[0, -1]] == pytest.approx([0, 1])
    steps = np.diff(power)
    # each tenfold does a constant share, 10^-0.4, of what the one before it did
    assert steps[1:] / steps[:-1] == pytest.approx([10**-0.4] * 2)


def test_costs_that_have_no_power_stay_numbers():
    X = np.array([[0.0, 5.0], [3.0, 5.0], [10.0, 5.0]])
    features = Features.of(X, None, {}, costs=[0, 1])
    assert [column.kind for column in features.columns] == ["linear", "constant"]
    assert features.encode(X)[:, 0] == pytest.approx([0, 0.3, 1])


@pytest.mark.parametrize("kind", ["log", "power", "linear"])
def test_beyond_the_range_a_feature_goes_on_no_further_than_its_width(kind):
    column = Column(kind, 10.0, 1000.0)
    x = np.array([1e-12, 5.0, 10.0, 100.0, 1000.0, 5000.0, 1e12])
    encoded = column.encode(x)[:, 0]
    assert np.all(np.diff(encoded) >= 0)
    assert np.all((encoded >= -1) & (encoded <= 2))
    assert encoded[[2, 4]] == pytest.approx([0, 1])


def test_features_are_the_same_from_json():
    X = np.array([[8.0, 0, 2, 1e6], [64.0, 1, 3, 1e8], [16.0, 2, 2, 1e7]])
    features = Features.of(X, None, {2: [2.0, 3.0]}, costs=[3])
    again = codec.load(Features, json.loads(json.dumps(codec.dump(features))))
    assert again == features
    assert np.array_equal(again.encode(X), features.encode(X))


def conditional() -> tuple[Space, Derived]:
    """A second layer with filters of its own, and its exact cost, which knows a layer that is not there."""
    space = Space(
        (
            Parameter("layers", (1, 2)),
            Parameter("f", (8, 16, 32)),
            Parameter("g", (4, 8, 64), when=Condition("layers", (2,))),
        )
    )

    def cost(X):
        assert not np.isnan(X[:, :2]).any() and np.array_equal(np.isnan(X[:, 2]), X[:, 0] == 1)
        return (X[:, 1] + X[:, 1] * np.nan_to_num(X[:, 2]))[:, None]

    return space, Derived.of_space(("cost",), space, cost)


def test_what_is_derived_in_a_conditional_space_is_the_true_cost():
    space, derived = conditional()
    X = space.candidates()
    true = [c["f"] + c["f"] * c.get("g", 0) for c in space.configurations(X)]
    assert derived.beside(space.filled(X))[:, -1].tolist() == true
    # between values, as in a lattice over the domain, the nearest configuration counts
    assert derived.beside(np.array([[1.1, 17.0, 64.0], [1.9, 15.0, 9.0]]))[:, -1].tolist() == [16, 16 + 128]


def test_models_of_a_conditional_space_learn_from_its_cost():
    space, derived = conditional()
    X = space.candidates()
    y = 1 - 0.5 * derived.beside(space.filled(X))[:, -1] ** -0.2
    shown, rest = np.arange(len(X)) % 3 > 0, np.arange(len(X)) % 3 == 0
    model = LogErrorGP(domain=space.domain, derived=derived).fit(space.filled(X[shown]), y[shown])
    assert model.coefficients_[-1].name == "change over cost"
    np.testing.assert_allclose(model.predict(space.filled(X[rest])), y[rest], atol=0.01)


def test_features_are_those_of_the_declared_codes():
    declared = Features.of(np.array([[2.0], [0.0]]), None, {0: (0, 1, 2)})
    assert declared.encode(np.array([[0.0], [1], [2]])).tolist() == [[0, 0], [1, 0], [0, 1]]
    assert declared == Features.of(np.array([[1.0], [1.0]]), None, {0: (0, 1, 2)})
    # what was not declared counts as the mean of what was
    assert declared.encode(np.array([[7.0]])).tolist() == [[1 / 3, 1 / 3]]

"""Encodings of a table's columns: ranges, orders, costs as powers."""

from __future__ import annotations

import numpy as np
import pytest

from cpmodel.surrogates.features import Column, Features

MACS = np.array([1e4, 1e5, 1e6, 1e7])


def test_a_cost_does_ever_less_and_a_parameter_as_its_log():
    X = np.stack([MACS, MACS], axis=1)
    features = Features.of(X, None, (), costs=[1])
    assert [column.kind for column in features.columns] == ["log", "power"]
    log, power = features.encode(X).T
    assert log == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert power[[0, -1]] == pytest.approx([0, 1])
    steps = np.diff(power)
    # each tenfold does a constant share, 10^-0.4, of what the one before it did
    assert steps[1:] / steps[:-1] == pytest.approx([10**-0.4] * 2)


def test_costs_that_have_no_power_stay_numbers():
    X = np.array([[0.0, 5.0], [3.0, 5.0], [10.0, 5.0]])
    features = Features.of(X, None, (), costs=[0, 1])
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
    features = Features.of(X, None, (2,), costs=[3])
    again = Features.from_list(features.to_list())
    assert again == features
    assert np.array_equal(again.encode(X), features.encode(X))

"""Averaging, calibration and cross-validation."""

from __future__ import annotations

import numpy as np
import pytest
from precision_tables import DOMAIN, precision, table

from cpmodel.errors import BadInputError, FitError, FitWarning
from cpmodel.surrogates.crossval import cross_validate, fold_numbers
from cpmodel.surrogates.features import Derived
from cpmodel.surrogates.precision.auto import AutoPrecision, averaged, calibrated, stacked, weighed
from cpmodel.surrogates.precision.logpower import LogErrorPower
from cpmodel.surrogates.precision.process import LogErrorGP
from cpmodel.surrogates.predictive import Link, Predictive


def test_report_says_which_and_why():
    X, y = table(40)
    model = AutoPrecision(domain=DOMAIN).fit(X, y)
    candidates = model.candidates_
    assert sum(c.weight for c in candidates) == pytest.approx(1.0)
    assert len(candidates) == 4 and len(model.members_) == np.sum(model.weights_ > 0)
    assert [c.weight for c in candidates] == sorted((c.weight for c in candidates), reverse=True)
    assert model.report_.startswith(f"Average of {candidates[0].name}") and "missed" in model.report_
    assert {f"weight of {c.name}" for c in candidates if c.weight > 0} == {
        c.name for c in model.coefficients_
    }


def test_few_configurations_are_weighed_without_leaving_some_out():
    X, y = table(3)
    with pytest.warns(FitWarning, match="too few"):
        model = AutoPrecision(domain=DOMAIN).fit(X, y)
    assert "too few" in model.report_ and model.stretch_ == 1.0
    assert all(c.log_score is None for c in model.candidates_)
    # additive is believed four times as much beforehand; of three rows the 1 + 20 / 3'th root speaks
    found = {c.name: c for c in model.candidates_}
    more = found["additive"].log_evidence - found["loggp"].log_evidence
    assert abs(more) > 0.1
    assert found["additive"].weight / found["loggp"].weight == pytest.approx(4 * np.exp(more / (1 + 20 / 3)))


def test_the_law_that_made_the_rows_gets_the_weight():
    X, _ = table(80)
    generator = np.random.default_rng(0)
    error = np.exp(-1.0 + np.log(X / DOMAIN[:, 1]) @ [-0.3, -0.2, -0.1] + generator.normal(0, 0.01, len(X)))
    candidates = {c.name: c for c in AutoPrecision().fit(X, np.clip(1 - error, 0, 1)).candidates_}
    assert candidates["quadratic"].weight < 0.1
    # a floor under the error is told from none by the evidence
    floored = AutoPrecision().fit(X, np.clip(1 - 0.6 * error.min() - error, 0, 1)).candidates_
    gain = {c.name: c.log_evidence for c in floored}
    assert gain["loggp, saturating"] > gain["loggp"] and floored[0].name == "loggp, saturating"


def test_weights_are_beliefs_times_the_root_of_the_evidence():
    found = weighed(np.array([-10.0, -10.0 + 2 * np.log(3), -900.0]), np.array([1.0, 2.0, 50.0]), 2.0)
    np.testing.assert_allclose(found, [1 / 7, 6 / 7, 0.0])


def test_what_is_derived_is_used_where_it_tells():
    """Precision that hangs on halves of the size, rounded down, is foreseen better when those are seen."""
    generator = np.random.default_rng(0)
    X = np.stack([generator.choice([8, 16, 32, 64], 60), generator.integers(6, 30, 60)], axis=1).astype(float)

    def precision_of(rows):
        return 1 - 0.6 * rows[:, 0] ** -0.3 * np.floor(rows[:, 1] / 4) ** -0.4

    halves = Derived(("map",), lambda rows: np.floor(rows[:, 1:] / 4))
    fresh = np.array([[f, s] for f in (8.0, 16, 32, 64) for s in np.arange(6.0, 30)])
    missed = {}
    for derived in (None, halves):
        model = AutoPrecision(derived=derived).fit(X, precision_of(X))
        missed[derived] = np.mean(np.abs(model.predict(fresh) - precision_of(fresh)))
    assert model.candidates_[0].name.endswith(", derived") and len(model.candidates_) == 6
    assert missed[halves] < 0.3 * missed[None]


def test_intervals_hold_new_trainings():
    inside = []
    for seed in range(5):
        X, y = table(30, noise=0.006, seed=seed)
        model = AutoPrecision(domain=DOMAIN).fit(X, y)
        fresh, P = table(400, noise=0.006, seed=100 + seed)
        low, high = model.predict_interval(fresh)
        inside.append(np.mean((low <= P) & (high >= P)))
    assert 0.82 < np.mean(inside) < 0.97


def test_stacking_prefers_the_likelier_and_keeps_beliefs():
    generator = np.random.default_rng(0)
    densities = np.stack([generator.normal(1.0, 0.1, 50), generator.normal(0.0, 0.1, 50)])
    weights = stacked(densities, np.ones(50), np.array([1.0, 1.0]))
    assert weights[0] > 0.9 and weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(stacked(densities[:, :0], np.ones(0), np.array([3.0, 1.0])), [0.75, 0.25])


def test_average_has_the_moments_of_the_mixture():
    precision_link, error_link = Link("precision"), Link("log_error")
    a = Predictive(precision_link, np.array([0.8]), np.array([0.02]), np.array([0.01]))
    b = Predictive(error_link, np.log([0.1]), np.array([0.1]), np.array([0.05]))
    both = averaged([a, b], np.array([0.5, 0.5]), error_link, np.inf)
    assert both.mean()[0] == pytest.approx(0.85)
    assert both.std()[0] == pytest.approx(np.sqrt((0.02**2 + 0.01**2) / 2 + 0.05**2))


def test_calibration_finds_the_width():
    generator = np.random.default_rng(0)
    law = Predictive(Link("precision"), np.full(400, 0.5), np.full(400, 0.01), np.full(400, 0.01))
    y = 0.5 + generator.normal(0, 0.02 * np.sqrt(2), 400)
    assert calibrated(law, y, np.ones(400)) == pytest.approx(2.0, rel=0.1)


def test_cross_validation_keeps_repeats_together():
    X, _ = table(20, seeds=3)
    folds = fold_numbers(X, 5, seed=0)
    assert set(folds) == set(range(5))
    for row in np.unique(X, axis=0):
        assert len(set(folds[(row == X).all(axis=1)])) == 1
    order = np.random.default_rng(0).permutation(len(X))
    assert np.array_equal(fold_numbers(X[order], 5, seed=0), folds[order])


def test_cross_validation_is_honest():
    X, y = table(60, noise=0.01)
    model = LogErrorGP(domain=DOMAIN)
    found = cross_validate(model, X, y, folds=10)
    assert found.folds == 10 and not hasattr(model, "process_")
    fresh, _ = table(500, seed=9)
    missed = np.mean(np.abs(model.fit(X, y).predict(fresh) - precision(fresh)) / precision(fresh))
    assert found.relative_error > model.relative_error_ and found.relative_error > missed / 2
    inside = (found.low <= found.measured) & (found.measured <= found.high)
    assert 0.75 < inside.mean() <= 1


def test_leaving_one_out_by_hand():
    X, y = table(8)
    found = cross_validate(LogErrorPower(domain=DOMAIN), X, y, folds=100)
    for row in range(len(X)):
        rest = ~(X[row] == X).all(axis=1)
        with pytest.warns() if rest.sum() <= 4 else np.errstate():
            expected = LogErrorPower(domain=DOMAIN).fit(X[rest], y[rest]).predict(X[[row]])
        assert found.predicted[row] == pytest.approx(expected[0])


def test_bad_questions_are_refused():
    X, y = table(10)
    with pytest.raises(BadInputError):
        cross_validate(LogErrorPower(), X, y, folds=1)
    with pytest.raises(FitError):
        cross_validate(LogErrorPower(), X[:1], y[:1])
    with pytest.raises(FitError):
        AutoPrecision(folds=1).fit(X, y)

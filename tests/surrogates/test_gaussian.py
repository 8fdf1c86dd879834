"""The Gaussian process: gradients, limits, and agreement with the textbook formula."""

from __future__ import annotations

import json

import numpy as np
import pytest
from precision_tables import table
from scipy import stats

from cpmodel.errors import BadInputError, FitError
from cpmodel.surrogates.features import Derived
from cpmodel.surrogates.gaussian import GaussianProcess, Objective, Prior, own_effects
from cpmodel.surrogates.groups import Groups, group
from cpmodel.surrogates.precision.model import PrecisionModel
from cpmodel.surrogates.precision.process import AdditivePrecision, LogErrorGP, QuadraticPrecision


def prior(shape: str) -> Prior:
    return Prior(shape, slope=np.array([-0.3, 0.0]))


def objective_of(prior: Prior, table: Groups) -> Objective:
    return Objective(prior, table, np.arange(len(table)))


def rows(n: int = 12):
    generator = np.random.default_rng(0)
    F = generator.uniform(size=(n, 2))
    return F, -0.5 * F[:, 0] + 0.1 * np.sin(5 * F[:, 1]), generator.integers(1, 4, n).astype(float)


SHAPES = ("matern", "quadratic", "additive")


@pytest.mark.parametrize("shape", SHAPES)
def test_gradient_of_the_evidence(shape):
    F, z, weight = rows()
    objective = objective_of(prior(shape), Groups(F, z, weight, within=0.01, freedom=5.0))
    for shift in (0.0, 0.7, -0.7):
        theta = objective.middle + shift * objective.spread
        numeric = [
            (objective.loss_and_gradient(theta + step)[0] - objective.loss_and_gradient(theta - step)[0])
            / 2e-5
            for step in 1e-5 * np.eye(len(theta))
        ]
        np.testing.assert_allclose(objective.loss_and_gradient(theta)[1], numeric, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_evidence_of_repeats_is_that_of_single_rows(shape):
    F, z, _ = rows()
    generator = np.random.default_rng(1)
    single = np.repeat(z, 3) + generator.normal(0, 0.02, 36)
    means = single.reshape(-1, 3).mean(axis=1)
    within = float(np.sum((single - np.repeat(means, 3)) ** 2))
    grouped = objective_of(prior(shape), Groups(F, means, np.full(12, 3.0), within, 24.0))
    repeated = Groups(np.repeat(F, 3, axis=0), single, np.ones(36), 0.0, 0.0)
    plain = objective_of(prior(shape), repeated)
    first, second = grouped.middle, plain.middle + 0.3
    first[-2] = second[-2] = -20.0  # to the plain one repeats are other rows, with something of their own
    # the same but for a constant: the log of the numbers of repeats
    differences = [grouped.loss_and_gradient(t)[0] - plain.loss_and_gradient(t)[0] for t in (first, second)]
    assert differences[0] == pytest.approx(differences[1], abs=1e-4)


def test_far_from_rows_only_the_linear_mean_is_left():
    X, y = table(40)
    model = LogErrorGP(domain=[[2, 64], [8, 28], [3, 5]]).fit(X, y)
    near, far = X[:1], np.array([[1e6, 28.0, 5.0]])
    assert model.predict(far, return_std=True)[1] / (1 - model.predict(far)) > (
        3 * model.predict(near, return_std=True)[1] / (1 - model.predict(near))
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_posterior_is_the_textbook_one(shape):
    F, z, weight = rows()
    process = GaussianProcess.fit(prior(shape), Groups(F, z, weight, 0.0, 0.0))
    fresh = np.random.default_rng(2).uniform(size=(5, 2))
    noisy = process._covariance(F, F) + np.diag(process.own**2 + (process.noise**2 + 1e-9) / weight)
    fresh[2] = F[3]  # what it has of its own is partly known
    cross = process._covariance(fresh, F)
    cross[2, 3] += process.own**2
    level = np.average(z, weights=weight)

    def mean_of(G):
        return level + (G - 0.5) @ [-0.3, 0.0]

    mean = mean_of(fresh) + cross @ np.linalg.solve(noisy, z - mean_of(F))
    covariance = process._covariance(fresh, fresh) + process.own**2 * np.eye(5)
    covariance -= cross @ np.linalg.solve(noisy, cross.T)
    found_mean, found_std = process.predict(fresh)
    np.testing.assert_allclose(found_mean, mean, rtol=1e-8)
    np.testing.assert_allclose(found_std**2, np.diag(covariance), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(process.covariance(fresh), covariance, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("model", [LogErrorGP(), LogErrorGP(saturation=0.5), QuadraticPrecision()])
def test_evidence_is_the_density_of_the_precisions(model):
    """By scipy's normal density on the link's scale, and a numerical derivative of the link."""
    X, y = table(12)
    X, first = np.unique(X, axis=0, return_index=True)  # in the order that models keep rows in
    y = y[first]
    model.fit(X, y)
    process, step = model.process_, 1e-6
    scatter = process.own**2 + process.noise**2 + 1e-9
    covariance = process._covariance(process.F, process.F) + np.eye(len(y)) * scatter
    density = stats.multivariate_normal(process._mean(process.F), covariance).logpdf(model.link_.forward(y))
    slopes = np.abs(model.link_.forward(y + step) - model.link_.forward(y - step)) / (2 * step)
    objective = objective_of(process.prior, Groups(process.F, process.z, process.weight, 0.0, 0.0))
    belief = np.sum(((process.theta - objective.middle) / objective.spread) ** 2)
    expected = density + np.sum(np.log(slopes)) - 0.5 * belief
    assert model.log_evidence_ == pytest.approx(expected, abs=1e-4)


def test_derived_columns_are_columns(monkeypatch):
    """A model that derives a cost says what one says that was given what ever less of it comes to."""
    X, y = table(20)
    domain = np.array([[2.0, 64], [8, 28], [3, 5]])
    least, most = 2 * 8.0**2, 64 * 28.0**2
    derived = Derived(("work",), lambda rows: rows[:, :1] * rows[:, 1:2] ** 2)

    def beside(rows):
        table = derived.beside(rows)
        table[:, -1] = np.exp((1 - (table[:, -1] / least) ** -0.4) / 0.4)  # its log is the power
        return table

    given = LogErrorGP(domain=np.concatenate([domain, [[1.0, np.exp((1 - (most / least) ** -0.4) / 0.4)]]]))
    monkeypatch.setattr(given, "_expected_slopes", lambda: np.array([-0.3, -0.3, -0.3, 0.0]))
    given.fit(beside(X), y)
    model = LogErrorGP(domain=domain, names=["f", "s", "k"], derived=derived).fit(X, y)
    fresh, _ = table(30, seed=1)
    np.testing.assert_allclose(model.predict(fresh), given.predict(beside(fresh)), rtol=1e-5)
    assert model.coefficients_[-1].name == "change over work"
    again = PrecisionModel.from_dict(json.loads(json.dumps(model.to_dict())), derived)
    np.testing.assert_array_equal(again.predict(fresh), model.predict(fresh))
    unable = PrecisionModel.from_dict(model.to_dict())
    assert unable.coefficients_ == model.coefficients_ and unable.to_dict() == model.to_dict()
    with pytest.raises(BadInputError, match="expected what computes work"):
        unable.predict(fresh)
    with pytest.raises(BadInputError, match="expected work, got macs"):
        PrecisionModel.from_dict(model.to_dict(), Derived(("macs",), lambda rows: rows[:, :1]))
    with pytest.raises(FitError, match="work"):
        LogErrorGP(derived=Derived(("work",), lambda rows: rows)).fit(X, y)


def test_saturation_bounds_the_precision():
    X, y = table(30)
    best = LogErrorGP(saturation=0.5).fit(X, y).predict([[1e9, 1e9, 5.0]])
    assert best[0] <= 1 - 0.5 * (1 - y.max()) + 1e-12


def test_own_effects_are_exponential_correlations():
    generator = np.random.default_rng(0)
    A, B = generator.uniform(-1, 2, (6, 3)), generator.uniform(-1, 2, (4, 3))
    by_hand = np.exp(-np.abs(A[:, None, :] - B[None, :, :])).sum(axis=2)
    np.testing.assert_allclose(own_effects(A, B), by_hand, rtol=1e-12)


def test_values_that_do_better_or_worse_wherever_they_are_used():
    """What a parameter's value adds everywhere is learnt from few rows; a smooth model blurs it."""
    widths, sizes = np.array([8.0, 16, 24, 32, 48, 64]), np.array([10.0, 14, 20, 28, 40])
    X = np.array([[w, r] for w in widths for r in sizes])
    own = dict(zip(widths, [1.05, 0.95, 1.05, 0.95, 1.05, 0.95], strict=True))
    y = 1 - 0.5 * (X[:, 0] / 8) ** -0.3 * (X[:, 1] / 10) ** -0.2 * np.array([own[w] for w in X[:, 0]])
    fitted = np.random.default_rng(0).permutation(len(X))[:18]
    rest = np.setdiff1d(np.arange(len(X)), fitted)
    missed = [
        np.mean(np.abs(model.fit(X[fitted], y[fitted]).predict(X[rest]) - y[rest]))
        for model in (AdditivePrecision(), LogErrorGP())
    ]
    assert missed[0] < 0.6 * missed[1]


def test_repeats_tell_what_rows_have_of_their_own_from_noise():
    """The same scatter about a smooth law: drawn once for each row, or anew for each observation."""
    generator = np.random.default_rng(4)
    F = np.repeat(generator.uniform(size=(30, 2)), [4] * 3 + [1] * 27, axis=0)
    law = -0.5 - 0.3 * F[:, 0]
    each = law + 0.02 * generator.standard_normal(len(F))
    row = law + 0.02 * np.repeat(generator.standard_normal(30), [4] * 3 + [1] * 27)
    found = []
    for z in (each, row):
        table = group(F, z, np.ones(len(z)))
        process = GaussianProcess.fit(prior("matern"), table)
        scatter = np.hypot(process.own, process.noise)
        assert 0.01 < scatter < 0.03
        found.append(process.own / scatter)
        # what was seen of a row says it all where nothing but its own moves it, and nothing of the next
        seen, beside = process.predict(F[:1])[1], process.predict(F[:1] + 1e-6)[1]
        assert np.all(seen < 0.1 * beside if z is row else beside < 1.2 * seen)
        assert np.all(beside >= process.own)
    assert found[0] < 0.4 and found[1] > 0.95

from __future__ import annotations

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import estimator_checks_generator

from cpmodel.errors import BadInputError, FitError, FitWarning
from cpmodel.surrogates.complexity.auto import AutoComplexity, foreseen
from cpmodel.surrogates.complexity.fit import fit_complexity, kept_apart
from cpmodel.surrogates.complexity.model import (
    ComplexityModel,
    complexity_class,
    complexity_models,
    errors,
    is_work,
)
from cpmodel.surrogates.complexity.steps import WorkSteps
from cpmodel.surrogates.complexity.work import Eq1, LinearWork, PowerLaw
from cpmodel.surrogates.gaussian import GaussianProcess, Objective, Prior
from cpmodel.surrogates.groups import Groups

pytestmark = pytest.mark.filterwarnings("ignore::cpmodel.errors.FitWarning")
PRICES = {"conv_macs": 2e-10, "activation_elements": 3e-9, "layers": 1e-5}


def table(n=40, seed=0):
    """Configurations of a made-up family: parameters and amounts of work."""
    rng = np.random.default_rng(seed)
    f = rng.choice([2.0, 4.0, 8.0, 16.0, 32.0], n)
    s = rng.choice([8.0, 16.0, 24.0], n)
    layers = rng.choice([1.0, 2.0, 3.0], n)
    return pd.DataFrame(
        {
            "f": f,
            "s": s,
            "l": layers,
            "conv_macs": f**2 * s**2 * 9 * layers,
            "dense_macs": f * s * 10,
            "macs": f**2 * s**2 * 9 * layers + f * s * 10,
            "params": 9 * f**2 * layers + 10 * f * s,
            "activation_elements": f * s**2 * layers,
            "layers": layers,
        }
    )


def linear_times(X):
    return sum(price * X[name].to_numpy() for name, price in PRICES.items()) + 2e-5


def stepped_times(X):
    """Linear, but 40 % slower at f = 8 and with a wave along s."""
    return linear_times(X) * np.where(X["f"] == 8, 1.4, 1.0) * np.exp(0.2 * np.sin(X["s"].to_numpy() / 8))


def work_only(X):
    return X[[name for name in X if is_work(name)]]


@pytest.mark.parametrize("name", complexity_models())
def test_scikit_learn_takes_it_for_an_estimator(name):
    model = complexity_class(name)()
    for estimator, check in estimator_checks_generator(model, legacy=False):
        check(estimator)


def test_eq1_recovers_its_coefficients():
    X = table()
    c = 6.26e-9 * X["conv_macs"].to_numpy() + 0.014
    for weighting in ("absolute", "relative"):
        model = Eq1(weighting=weighting).fit(X, c)
        alpha1, alpha0 = model.coefficients_
        assert (alpha1.name, alpha0.name) == ("conv_macs", "constant")
        assert alpha1.value == pytest.approx(6.26e-9, rel=1e-9)
        assert alpha0.value == pytest.approx(0.014, rel=1e-9)
        assert model.relative_error_ < 1e-9
        assert model.within_10_ == 1.0
    only_macs = Eq1().fit(X[["macs"]], 2 * X["macs"])
    assert only_macs.coefficients_[0].value == pytest.approx(2)
    with pytest.raises(FitError, match="conv_macs or macs, got f"):
        Eq1().fit(X[["f"]], c)
    with pytest.raises(FitError, match="absolute or relative"):
        Eq1(weighting="both").fit(X, c)


def test_eq1_standard_errors_are_those_of_least_squares():
    X, rng = table(200), np.random.default_rng(1)
    work = X["conv_macs"].to_numpy()
    c = 1e-9 * work + 0.01 + 1e-4 * rng.normal(size=len(X))
    design = np.stack([work, np.ones(len(X))], axis=1)
    beta, residual, *_ = np.linalg.lstsq(design, c)
    expected = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * residual / (len(X) - 2))
    found = Eq1().fit(X, c).coefficients_
    np.testing.assert_allclose([k.value for k in found], beta, rtol=1e-6)
    np.testing.assert_allclose([k.standard_error for k in found], expected, rtol=1e-6)


def test_linear_work_recovers_its_prices():
    X = table()
    model = LinearWork().fit(X, linear_times(X))
    prices = {k.name: k.value for k in model.coefficients_}
    for name in ("conv_macs", "dense_macs", "params", "activation_elements", "layers"):
        assert prices[name] == pytest.approx(PRICES.get(name, 0.0), rel=1e-6, abs=1e-14)
    assert prices["constant"] == pytest.approx(2e-5, rel=1e-6)
    assert "macs" not in prices  # conv_macs and dense_macs say it
    assert model.relative_error_ < 1e-9


def test_linear_work_prices_are_never_negative():
    X, rng = table(), np.random.default_rng(0)
    c = linear_times(X) * np.exp(rng.normal(0, 0.5, len(X))) - 5e-10 * X["params"]
    for k in LinearWork().fit(X, np.abs(c)).coefficients_:
        assert k.value >= 0
        assert (k.standard_error is None) == (k.value == 0)
    chosen = LinearWork(terms=["conv_macs"]).fit(X, linear_times(X))
    assert [k.name for k in chosen.coefficients_] == ["conv_macs", "constant"]
    with pytest.raises(FitError, match="got filters"):
        LinearWork(terms=["filters"]).fit(X, linear_times(X))
    with pytest.raises(FitError, match="no amount of work"):
        LinearWork().fit(X[["f", "s"]], linear_times(X))


def test_a_constant_number_of_layers_is_paid_by_the_layer():
    X = table()
    X = X[X["l"] == 2]
    prices = {k.name: k.value for k in LinearWork().fit(X, 1e-9 * X["conv_macs"] + 1e-3).coefficients_}
    assert prices["layers"] == pytest.approx(5e-4)
    assert prices["constant"] == 0


def test_power_law_recovers_its_exponents():
    X = table()
    c = 3e-6 * X["f"] ** 1.5 * X["s"] ** 2
    model = PowerLaw().fit(X[["f", "s", "l"]], c)
    found = {k.name: k.value for k in model.coefficients_}
    assert found["f"] == pytest.approx(1.5)
    assert found["s"] == pytest.approx(2)
    assert found["l"] == pytest.approx(0, abs=1e-9)
    assert np.exp(found["constant"]) == pytest.approx(3e-6)


def test_steps_are_learned():
    X, fresh = table(80), table(200, seed=9)
    errors_of = {
        name: errors(stepped_times(fresh), complexity_class(name)().fit(X, stepped_times(X)).predict(fresh))[
            0
        ]
        for name in ("linear", "steps")
    }
    assert errors_of["linear"] > 0.05
    assert errors_of["steps"] < 0.005


@pytest.mark.parametrize("name", ["linear", "steps"])
def test_a_device_that_was_busy_for_a_moment_spoils_nothing_else(name):
    X, fresh = table(60), table(100, seed=7)
    c = linear_times(X)
    c[[5, 20]] *= 5
    error = errors(linear_times(fresh), complexity_class(name)().fit(X, c).predict(fresh))[0]
    assert error < 0.015
    if name == "linear":
        squared = LinearWork(loss="squared").fit(X, c).predict(fresh)
        assert errors(linear_times(fresh), squared)[0] > 3 * error
        with pytest.raises(FitError, match="absolute or squared"):
            LinearWork(loss="huber").fit(X, c)


def test_auto_takes_the_best_and_of_equals_the_simplest():
    X = table()
    auto = AutoComplexity().fit(X, 1e-9 * X["conv_macs"] + 0.01)
    assert auto.chosen_.name == "eq1"
    auto = AutoComplexity().fit(X, linear_times(X))
    assert auto.chosen_.name == "linear"
    auto = AutoComplexity().fit(X, stepped_times(X))
    assert auto.chosen_.name == "steps"
    assert auto.report_.startswith("steps: relative error")
    assert "eq1" in auto.report_
    assert set(auto.scores_) == {"eq1", "linear", "power", "steps"}
    assert auto.coefficients_ == auto.chosen_.coefficients_
    raw = AutoComplexity().fit(X[["f", "s"]], X["f"] ** 1.5 * X["s"])
    assert raw.chosen_.name == "power"


def test_what_a_new_measurement_may_be():
    X, fresh = table(80), table(300, seed=5)
    rng = np.random.default_rng(3)
    for name in complexity_models():
        if name in ("power", "eq1"):
            continue
        noisy = linear_times(X) * np.exp(rng.normal(0, 0.05, len(X)))
        mean, std = complexity_class(name)().fit(X, noisy).predict(fresh, return_std=True)
        measured = linear_times(fresh) * np.exp(rng.normal(0, 0.05, len(fresh)))
        assert 0.5 < np.mean(np.abs(measured - mean) < std) < 0.9, name


@pytest.mark.parametrize("name", complexity_models())
@pytest.mark.parametrize("columns", [work_only, lambda X: X], ids=["work", "both"])
def test_units_rows_and_weights_do_not_matter(name, columns):
    X, fresh = table(30), columns(table(50, seed=1))
    rng = np.random.default_rng(2)
    c = stepped_times(X) * np.exp(rng.normal(0, 0.02, len(X)))
    X = columns(X)
    if name == "power" and columns is work_only:
        with pytest.raises(FitError):
            complexity_class(name)().fit(X, c)
        return
    expected = complexity_class(name)().fit(X, c).predict(fresh)
    assert np.all(expected >= 0)
    thousand = complexity_class(name)().fit(X, 1000 * c).predict(fresh)
    np.testing.assert_allclose(thousand, 1000 * expected, rtol=2e-3)
    other = X.assign(**{column: X[column] * 7 for column in X})
    seventh = complexity_class(name)().fit(other, c).predict(fresh.assign(**{k: fresh[k] * 7 for k in fresh}))
    np.testing.assert_allclose(seventh, expected, rtol=2e-3)
    if name == "auto":  # folds are dealt by order, and weights do not multiply them
        return
    order = rng.permutation(len(X))
    shuffled = complexity_class(name)().fit(X.iloc[order], c[order]).predict(fresh)
    np.testing.assert_allclose(shuffled, expected, rtol=2e-3)
    weight = rng.integers(0, 3, len(X))
    rows = np.repeat(np.arange(len(X)), weight)
    np.testing.assert_allclose(
        complexity_class(name)().fit(X, c, sample_weight=weight).predict(fresh),
        complexity_class(name)().fit(X.iloc[rows], c[rows]).predict(fresh),
        rtol=2e-3,
        atol=1e-9,
    )


@pytest.mark.parametrize("name", complexity_models())
def test_json_and_back(name):
    X, fresh = table(), table(seed=4)
    model = complexity_class(name)().fit(X, stepped_times(X))
    text = json.dumps(model.to_dict(), allow_nan=False)
    again = ComplexityModel.from_dict(json.loads(text))
    assert type(again) is type(model)
    for a, b in zip(
        again.predict(fresh, return_std=True), model.predict(fresh, return_std=True), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-9)
    assert again.coefficients_ == model.coefficients_
    assert again.to_dict() == model.to_dict()
    assert getattr(again, "report_", "") == getattr(model, "report_", "")


def test_what_cannot_be_loaded():
    X = table()
    saved = Eq1().fit(X, linear_times(X)).to_dict()
    with pytest.raises(BadInputError, match="one of auto, eq1"):
        ComplexityModel.from_dict({"model": "magic"})
    with pytest.raises(BadInputError, match="saved fit"):
        ComplexityModel.from_dict([])
    with pytest.raises(BadInputError, match="saved fit"):
        ComplexityModel.from_dict({**saved, "state": {}})
    with pytest.raises(BadInputError, match="expected linear, got eq1"):
        LinearWork.from_dict(saved)


@settings(max_examples=40, deadline=None)
@given(
    data=st.data(),
    name=st.sampled_from(complexity_models()),
    n=st.integers(1, 8),
    unit=st.sampled_from([1e-9, 1.0, 1e12]),
)
def test_any_table_gives_numbers_or_a_clear_error(data, name, n, unit):
    cell = st.sampled_from([0.0, 1.0, 2.0, 3.0, 1e9]) | st.floats(0, 1e15)
    columns = data.draw(st.lists(st.sampled_from(["f", "k", "conv_macs", "params"]), min_size=1, unique=True))
    X = pd.DataFrame({column: data.draw(st.lists(cell, min_size=n, max_size=n)) for column in columns})
    c = unit * np.array(data.draw(st.lists(st.floats(1e-3, 1e3) | st.just(1.0), min_size=n, max_size=n)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        try:
            model = complexity_class(name)().fit(X, c)
        except FitError as error:
            assert str(error)
            return
    mean, std = model.predict(X, return_std=True)
    assert np.all(np.isfinite(mean) & (mean >= 0))
    assert np.all(np.isfinite(std) & (std >= 0))
    json.dumps(model.to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, c: (X.assign(params=np.nan), c), "NaN"),
        (lambda X, c: (X, np.where(np.arange(len(c)) == 3, 0, c)), "numbers above 0"),
        (lambda X, c: (X, c[:-1]), "inconsistent"),
        (lambda X, c: (X.iloc[:0], c[:0]), "0 sample"),
        (lambda X, c: (X.assign(params=-1.0), c), "'params': expected 0 or more, got -1"),
        (lambda X, c: (X.assign(params="many"), c), "many"),
    ],
)
def test_tables_that_are_refused(change, message):
    X = table()
    X, c = change(X, linear_times(X))
    with pytest.raises(FitError, match=message):
        LinearWork().fit(X, c)


def test_weights_and_names_that_are_refused():
    X = table()
    with pytest.raises(FitError, match="non-zero"):
        LinearWork().fit(X, linear_times(X), sample_weight=np.zeros(len(X)))
    with pytest.raises(FitError, match="names: expected 9"):
        LinearWork(names=["macs"]).fit(X.to_numpy(), linear_times(X))


def test_few_rows_are_said():
    X = table(4)
    with pytest.warns(FitWarning, match="4 rows for 6 coefficients; measure 12 or more"):
        LinearWork().fit(X, linear_times(X))
    with pytest.warns(FitWarning, match="too few rows to compare"):
        AutoComplexity().fit(X.iloc[:2], linear_times(X)[:2])


def test_fit_complexity():
    X = table(60)
    fit = fit_complexity(X, stepped_times(X))
    assert (fit.name, fit.model.name) == ("auto", "auto")
    assert fit.cv_relative_error == errors(fit.measured, fit.predicted)[0]
    assert fit.relative_error <= fit.cv_relative_error < 0.02
    assert fit.why == fit.model.report_
    assert fit.warnings == ()
    json.dumps(fit.to_dict(), allow_nan=False)
    linear = fit_complexity(X, stepped_times(X), "linear")
    assert linear.cv_relative_error > fit.cv_relative_error
    assert linear.why == ""
    few = fit_complexity(X.iloc[:2], stepped_times(X)[:2])
    assert np.isnan(few.cv_relative_error)
    assert few.warnings
    assert few.to_dict()["cv_within_10"] is None


def test_held_out_rows_were_not_seen():
    X = table(30)
    doubled = pd.concat([X, X], ignore_index=True)
    c = np.random.default_rng(0).lognormal(size=30)  # nothing to learn but the rows themselves
    seen = WorkSteps().fit(doubled, np.r_[c, c]).predict(doubled)
    unseen = foreseen(WorkSteps(names=list(X)), doubled.to_numpy(), np.r_[c, c], np.ones(60))
    assert errors(np.r_[c, c], seen)[0] < errors(np.r_[c, c], unseen)[0]
    with pytest.raises(FitError, match="3 different"):
        foreseen(Eq1(), X.to_numpy()[[0, 0, 1]], c[[0, 0, 1]], np.ones(3))


def test_configurations_kept_apart_were_not_seen():
    X = table(400).drop_duplicates(ignore_index=True)  # 45 configurations
    doubled = pd.concat([X, X], ignore_index=True)
    c = np.tile(linear_times(X) * np.random.default_rng(0).lognormal(0, 0.2, len(X)), 2)
    model = LinearWork(names=list(X))
    apart = kept_apart(model, doubled.to_numpy(), c, count=20)
    assert apart.rows.sum() == 40 and np.array_equal(apart.rows[: len(X)], apart.rows[len(X) :])
    fitted = LinearWork().fit(doubled[~apart.rows], c[~apart.rows])
    np.testing.assert_allclose(apart.predicted[apart.rows], fitted.predict(doubled[apart.rows]))
    assert np.isnan(apart.predicted[~apart.rows]).all()
    relative = np.abs(apart.predicted - c)[apart.rows] / c[apart.rows]
    assert apart.relative_error == pytest.approx(relative.mean())
    assert apart.within_10 == np.mean(relative <= 0.1)
    assert kept_apart(model, doubled.to_numpy(), c, count=23) is None
    assert fit_complexity(X, c[: len(X)]).apart is None


def test_gradient_of_the_process():
    rng = np.random.default_rng(0)
    smooth, steps = rng.random((12, 2)), rng.integers(0, 3, (12, 2)).astype(float)
    rows = Groups(np.hstack([smooth, steps]), rng.normal(size=12) / 10, np.arange(1, 13) / 3, 0.02, 4.0)
    objective = Objective(stepped(2), rows, np.arange(12))
    theta = objective.middle + rng.normal(size=len(objective.middle)) / 3
    _, gradient = objective.loss_and_gradient(theta)
    for at in range(len(theta)):
        step = np.eye(len(theta))[at] * 1e-5
        up, down = objective.loss_and_gradient(theta + step)[0], objective.loss_and_gradient(theta - step)[0]
        assert gradient[at] == pytest.approx((up - down) / 2e-5, rel=1e-5, abs=1e-6)


def test_process_passes_through_precise_rows():
    rng = np.random.default_rng(0)
    smooth, steps = rng.random((30, 2)), rng.integers(0, 3, (30, 1)).astype(float)
    z = 0.3 * np.sin(3 * smooth[:, 0]) + 0.2 * (steps[:, 0] == 1)
    F = np.hstack([smooth, steps])
    process = GaussianProcess.fit(
        stepped(2), Groups(F, z, np.ones(30), 0.0, 0.0), np.log([0.1, 1, 1, 0.1, 0.01])
    )
    mean, std = process.predict(F)
    np.testing.assert_allclose(mean, z, atol=0.01)
    np.testing.assert_array_equal(process.mean(F), mean)
    assert np.all(std < 0.02)
    assert np.all(process.predict(F + np.array([5.0, 5.0, 9.0]))[1] > 0.1)


def test_rows_are_missed_as_by_a_process_of_the_others():
    rng = np.random.default_rng(0)
    F, z = np.hstack([rng.random((9, 2)), rng.integers(0, 3, (9, 1))]), rng.normal(size=9) / 10
    theta = np.log([0.1, 1.0, 1.0, 0.1, 0.05])
    missed = GaussianProcess(stepped(2), F, z, np.ones(9), theta, 0.0).misses()
    for out in range(9):
        rest = np.arange(9) != out
        others = GaussianProcess(stepped(2), F[rest], z[rest], np.ones(8), theta, 0.0)
        mean, std = others.predict(F[[out]])
        assert missed[out] == pytest.approx(abs(z[out] - mean[0]) / np.hypot(std[0], 0.05), rel=1e-5)


def coded(n, codes=("a", "b", "c", "d"), seed=0):
    """A table with a kind of layer beside the work, which each kind does at a speed of its own."""
    X, rng = table(n, seed), np.random.default_rng(seed)
    kind = rng.integers(0, len(codes), n).astype(float)
    return X.assign(kind=kind), linear_times(X) * np.array([1.0, 3.0, 0.5, 1.7])[kind.astype(int)]


KINDS = {"kind": [0.0, 1.0, 2.0, 3.0]}


@pytest.mark.parametrize("categorical", [["kind"], KINDS])
@pytest.mark.parametrize("name", complexity_models())
def test_codes_have_no_order(name, categorical):
    (X, c), (fresh, measured) = coded(80), coded(200, seed=5)
    columns = list(X) if name != "power" else ["f", "s", "l", "kind"]
    fit = fit_complexity(X[columns], c, name, categorical=categorical)
    predicted = fit.model.predict(fresh[columns])
    if name in ("steps", "auto"):
        assert errors(measured, predicted)[0] < 0.03
    # other numbers for the same codes change nothing
    turn = {0.0: 2.0, 1.0: 0.0, 2.0: 3.0, 3.0: 1.0}
    other = fit_complexity(X[columns].assign(kind=X["kind"].map(turn)), c, name, categorical=categorical)
    again = other.model.predict(fresh[columns].assign(kind=fresh["kind"].map(turn)))
    np.testing.assert_allclose(again, predicted, rtol=1e-3)
    saved = ComplexityModel.from_dict(json.loads(json.dumps(fit.model.to_dict(), allow_nan=False)))
    np.testing.assert_allclose(saved.predict(fresh[columns]), predicted, rtol=1e-9)


def test_the_power_law_tells_the_effect_of_each_code():
    X = coded(60)[0]
    c = 3e-6 * X["f"] ** 1.5 * np.array([1.0, 3.0, 0.5, 1.7])[X["kind"].astype(int)]
    found = {k.name: k.value for k in PowerLaw(categorical=["kind"]).fit(X[["f", "kind"]], c).coefficients_}
    assert np.exp(found["effect of kind=1"]) == pytest.approx(3)
    assert np.exp(found["effect of kind=2"]) == pytest.approx(0.5)
    assert found["f"] == pytest.approx(1.5)


@settings(max_examples=20, deadline=None)
@given(
    name=st.sampled_from(complexity_models()),
    n=st.integers(3, 12),
    seed=st.integers(0, 1000),
    declared=st.booleans(),
    layers=st.booleans(),
)
def test_folds_may_lack_any_code(name, n, seed, declared, layers):
    X, c = coded(n, seed=seed)
    columns = ["f", "kind", *(["layers", "conv_macs"] if layers else [])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        try:
            fit = fit_complexity(X[columns], c, name, categorical=KINDS if declared else ["kind"])
        except FitError as error:
            assert "column" in str(error) and not layers
            return
    every = X[columns].iloc[[0] * 4].assign(kind=KINDS["kind"])
    assert np.all(np.isfinite(fit.model.predict(every, return_std=True)))


def test_categorical_columns_that_are_not_there_are_refused():
    X, c = coded(20)
    with pytest.raises(FitError, match="categorical: expected some of f, s"):
        fit_complexity(X, c, categorical=["sort"])


def stepped(m):
    """Beliefs as `WorkSteps` has them, of m smooth features."""
    beliefs = {"amplitude": (0.15, 1.0), "length": (0.8, 1.0), "scatter": (0.01, 1.0), "own": None}
    beliefs |= {"level": 0.3, "centred": False, "jitter": 1e-8, "unit": 1.0}
    return Prior("steps", np.zeros(m), slope_spread=0.0, **beliefs)

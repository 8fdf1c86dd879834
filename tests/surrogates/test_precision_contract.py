"""What every precision model guarantees, whichever it is."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from precision_tables import DOMAIN, precision, table
from sklearn.base import clone

from cpmodel import registry
from cpmodel.errors import BadInputError, FitError, FitWarning
from cpmodel.surrogates.crossval import cross_validate
from cpmodel.surrogates.features import Derived
from cpmodel.surrogates.precision.model import PrecisionModel, model_class

pytestmark = pytest.mark.filterwarnings("ignore::cpmodel.errors.FitWarning")
every_model = pytest.mark.parametrize("name", registry.names("precision_models"))


def new(name: str, **given) -> PrecisionModel:
    return model_class(name)(**given)


@every_model
def test_predictions_are_near_and_ordered(name):
    X, y = table(60)
    model = new(name, domain=DOMAIN, names=["f", "s", "k"]).fit(X, y)
    fresh, _ = table(200, seed=1)
    mean, std = model.predict(fresh, return_std=True)
    low, high = model.predict_interval(fresh)
    assert np.mean(np.abs(mean - precision(fresh)) / precision(fresh)) < 0.05
    assert np.all((low >= 0) & (low <= mean) & (mean <= high) & (high <= 1)) and np.all(std > 0)
    wider_low, wider_high = model.predict_interval(fresh, 0.99)
    assert np.all((wider_low <= low) & (high <= wider_high))
    chance = np.stack([model.probability(fresh, target) for target in (0.5, 0.8, 0.9, 1.0)])
    assert np.all(np.diff(chance, axis=0) <= 0) and np.all((chance >= 0) & (chance <= 1))
    assert np.all((model.probability(fresh, 0.85) >= 0.5) == (mean >= 0.85))
    assert model.noise_std_ > 0 and model.coefficients_
    assert model.predict(X).tobytes() == model.predict(X).tobytes()


@every_model
def test_reloaded_model_predicts_the_same(name):
    X, y = table(30, seeds=2)
    model = new(name, names=("f", "s", "k")).fit(X, y)
    text = json.dumps(model.to_dict(), allow_nan=False)
    again = PrecisionModel.from_dict(json.loads(text))
    fresh, _ = table(50, seed=1)
    for first, second in zip(model.predict_interval(fresh), again.predict_interval(fresh), strict=True):
        assert np.array_equal(first, second)
    assert np.array_equal(model.probability(fresh, 0.8), again.probability(fresh, 0.8))
    assert again.coefficients_ == model.coefficients_ and again.relative_error_ == model.relative_error_
    assert json.dumps(again.to_dict()) == text


@pytest.mark.parametrize("name", ["auto", "loggp"])
@pytest.mark.parametrize("rows", [4, 30])
def test_what_was_fitted_with_derived_columns_is_read_back(name, rows):
    X, y = table(rows)
    derived = Derived(("work",), lambda rows: rows[:, :1] * rows[:, 1:2] ** 2)
    model = new(name, domain=DOMAIN, derived=derived).fit(X, y)
    kept = json.loads(json.dumps(model.to_dict(), allow_nan=False))
    fresh, _ = table(50, seed=1)
    again, unable = PrecisionModel.from_dict(kept, derived), PrecisionModel.from_dict(kept)
    np.testing.assert_array_equal(again.predict_interval(fresh), model.predict_interval(fresh))
    np.testing.assert_array_equal(again.draws(fresh[:5], 3), model.draws(fresh[:5], 3))
    assert again.to_dict() == unable.to_dict() == model.to_dict()
    assert unable.relative_error_ == model.relative_error_
    with pytest.raises(BadInputError, match="expected what computes work"):
        unable.predict(fresh)


@every_model
def test_weights_equal_repeated_rows(name):
    X, y = table(30)
    weight = np.random.default_rng(3).integers(0, 4, len(y))
    weighted = new(name, domain=DOMAIN).fit(X, y, sample_weight=weight)
    repeated = new(name, domain=DOMAIN).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    fresh, _ = table(50, seed=1)
    np.testing.assert_allclose(weighted.predict(fresh), repeated.predict(fresh), rtol=1e-6)
    np.testing.assert_allclose(weighted.predict_interval(fresh), repeated.predict_interval(fresh), rtol=1e-5)


@every_model
def test_order_of_rows_is_nothing(name):
    X, y = table(25, seeds=2)
    order = np.random.default_rng(0).permutation(len(y))
    fresh, _ = table(50, seed=1)
    first, second = new(name).fit(X, y), new(name).fit(X[order], y[order])
    np.testing.assert_allclose(first.predict_interval(fresh), second.predict_interval(fresh), rtol=1e-9)


@every_model
def test_units_are_nothing(name):
    X, y = table(40)
    unit = np.array([1e-3, 28.0, 7e5])
    fresh, _ = table(50, seed=1)
    first = new(name, domain=DOMAIN).fit(X, y)
    second = new(name, domain=DOMAIN / unit[:, None]).fit(X / unit, y)
    np.testing.assert_allclose(first.predict(fresh), second.predict(fresh / unit), rtol=1e-5)


@every_model
def test_repeats_tell_the_noise(name):
    X, y = table(40, seeds=4, noise=0.01)
    assert 0.006 < new(name).fit(X, y).noise_std_ < 0.015


@every_model
def test_constant_precision_is_foreseen(name):
    X, _ = table(20)
    model = new(name, domain=DOMAIN).fit(X, np.full(len(X), 0.7))
    np.testing.assert_allclose(model.predict(X), 0.7, atol=0.01)


@every_model
def test_codes_and_zeros_are_encoded(name):
    generator = np.random.default_rng(0)
    X = np.stack(
        [generator.choice([8.0, 16, 32], 60), generator.integers(0, 3, 60), generator.integers(0, 2, 60)], 1
    )
    y = 0.9 - 1 / X[:, 0] + np.array([0, 0.05, -0.05])[X[:, 1].astype(int)] - 0.03 * X[:, 2]
    model = new(name, categorical=(1,)).fit(X, y)
    assert np.max(np.abs(model.predict(X) - y)) < 0.03
    unseen = X[:1].copy()
    unseen[0, 1] = 7
    assert np.isfinite(model.predict(unseen)).all()


@every_model
@settings(max_examples=8, deadline=None)
@given(n=st.integers(5, 14), seed=st.integers(0, 1000), declared=st.booleans())
def test_folds_may_lack_any_code(name, n, seed, declared):
    generator = np.random.default_rng(seed)
    X = np.stack([generator.choice([8.0, 16, 32], n), generator.integers(0, 5, n)], 1)
    y = 0.9 - 1 / X[:, 0] - 0.03 * X[:, 1] + generator.normal(0, 0.002, n)
    codes = {1: range(5)} if declared else [1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        try:
            model = new(name, categorical=codes).fit(X, y)
            found = cross_validate(new(name, categorical=codes), X, y, folds=4)
        except FitError as error:
            assert "distinct" in str(error)
            return
    every = np.stack([np.full(5, 16.0), np.arange(5.0)], axis=1)
    assert np.isfinite(model.predict(every, return_std=True)).all()
    assert np.isfinite(found.predicted).all()
    again = PrecisionModel.from_dict(json.loads(json.dumps(model.to_dict(), allow_nan=False)))
    np.testing.assert_array_equal(again.predict(every), model.predict(every))


@every_model
def test_clone_and_parameters(name):
    model = new(name, domain=DOMAIN, names=["f", "s", "k"], categorical=[2])
    again = clone(model)
    assert again.get_params().keys() == model.get_params().keys()
    assert np.array_equal(again.domain, DOMAIN) and again.names == ["f", "s", "k"]


@every_model
@pytest.mark.parametrize(
    ("X", "y", "weight"),
    [
        ([[1.0], [2.0]], [0.5, 1.5], None),
        ([[1.0], [2.0]], [-0.1, 0.5], None),
        ([[1.0], [np.nan]], [0.5, 0.6], None),
        ([[1.0], [np.inf]], [0.5, 0.6], None),
        ([[1.0], [2.0]], [0.5, np.nan], None),
        ([[1.0], [2.0]], [0.5], None),
        (np.empty((0, 1)), [], None),
        ([[1.0], [2.0]], [0.5, 0.6], [0, 0]),
        ([[1.0], [2.0]], [0.5, 0.6], [1, -1]),
        ([[1.0], [1e200]], [0.5, 0.6], None),
    ],
)
def test_bad_tables_are_refused(name, X, y, weight):
    with pytest.raises(FitError):
        new(name).fit(X, y, sample_weight=weight)


@every_model
@pytest.mark.parametrize(
    "given", [{"domain": [[0, 1]]}, {"domain": [[2, 1], [0, 1]]}, {"names": ["f"]}, {"categorical": [5]}]
)
def test_bad_parameters_are_refused(name, given):
    with pytest.raises(FitError):
        new(name, **given).fit([[1.0, 2], [2, 3], [4, 5]], [0.5, 0.6, 0.7])


@every_model
def test_bad_questions_are_refused(name):
    X, y = table(10)
    model = new(name).fit(X, y)
    for level in (0.0, 1.0, -1.0, 90.0):
        with pytest.raises(BadInputError):
            model.predict_interval(X, level)
    for target in (1.7, -0.1, float("nan")):
        with pytest.raises(BadInputError):
            model.probability(X, target)


def test_bad_descriptions_are_refused():
    X, y = table(10)
    for broken in (
        None,
        [],
        {},
        {"model": "oracle"},
        {"model": "logpower"},
        {"model": "auto", "parameters": {}},
    ):
        with pytest.raises(BadInputError):
            PrecisionModel.from_dict(broken)
    whole = new("logpower").fit(X, y).to_dict()
    for key in ("state", "parameters"):
        with pytest.raises(BadInputError):
            PrecisionModel.from_dict({**whole, key: {"no": "such"}})


def numbers(low: float, high: float):
    return st.floats(low, high, allow_subnormal=False)


@st.composite
def odd_tables(draw):
    n, d = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    scale = draw(st.sampled_from([1e-30, 1e-3, 1.0, 1e3, 1e30]))
    values = draw(st.sampled_from([numbers(0.01, 1.0), numbers(-1.0, 1.0), st.sampled_from([0.0, 1.0])]))
    X = draw(hnp.arrays(np.float64, (n, d), elements=values)) * scale
    if draw(st.booleans()):
        X[:, 0] = X[0, 0]
    if draw(st.booleans()):
        X = X[draw(hnp.arrays(np.int64, n, elements=st.integers(0, n - 1)))]
    y = draw(hnp.arrays(np.float64, n, elements=st.one_of(numbers(0.0, 1.0), st.sampled_from([0.0, 1.0]))))
    return X, y


@every_model
@settings(max_examples=25, deadline=None)
@given(data=odd_tables())
def test_odd_tables_give_an_answer_or_a_clear_error(name, data):
    X, y = data
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", FitWarning)
        try:
            model = new(name).fit(X, y)
        except FitError as error:
            assert str(error)
            return
        mean, std = model.predict(np.concatenate([X, X * 3, -X]), return_std=True)
        low, high = model.predict_interval(X)
        chance = model.probability(X, 0.5)
        text = json.dumps(model.to_dict(), allow_nan=False)
    for value in (mean, std, low, high, chance):
        assert np.all(np.isfinite(value))
    assert np.all((mean >= 0) & (mean <= 1)) and np.all(low <= high) and text

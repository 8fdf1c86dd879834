"""Stopping early: made curves whose law is known, and real workers that end real trainings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from test_pool import IMAGES, asked, begin, same, train

from cpmodel.codec import dump, load
from cpmodel.pipeline.fitting import fit_precision, weights
from cpmodel.recipe import Recipe
from cpmodel.records.sample import Request, Sample
from cpmodel.records.store import Store
from cpmodel.samples import Samples
from cpmodel.space import Floats, Parameter, Space
from cpmodel.surrogates.precision.process import LogErrorGP
from cpmodel.training.early import FIRST_EPOCH, LEAST_WHOLE, Forecast, Rule, Stopping, noise_share
from cpmodel.training.pool import Pool

SPACE = Space((Parameter("f", (2, 4, 8, 16, 32)), Parameter("s", (8, 12, 16, 24)), Parameter("l", (1, 2, 3))))
EPOCHS, PIXELS = 6, 5000


def drawn(rng: np.random.Generator, n: int, late: float) -> tuple[list[dict[str, float]], Floats]:
    """Configurations, and curves of log errors, shape (n, EPOCHS).

    The last change is linear in the point before it and the logarithms of the parameters, but for noise of
    deviation `late`; the changes before it are anything.
    """
    configurations = SPACE.configurations(SPACE.candidates()[rng.permutation(SPACE.size)[:n]])
    T = np.log([[c[name] for name in SPACE.names] for c in configurations])
    z = np.log(0.5) - 0.1 * T[:, [0]] + np.cumsum(rng.normal(-0.1, 0.05, (n, EPOCHS)), axis=1)
    z[:, -1] = z[:, -2] - 0.3 - 0.1 * z[:, -2] + T @ [0.02, -0.03, 0.05]
    z[:, -1] += late * rng.normal(size=n)
    return configurations, z


def table(configurations: list[dict[str, float]], z: Floats) -> Samples:
    P = 1 - np.exp(z)
    return Samples.of(
        SPACE, [Sample(c, 0, p[-1], curve=tuple(p)) for c, p in zip(configurations, P.tolist(), strict=True)]
    )


def fitted(samples: Samples) -> Rule:
    rule = Rule.of(samples, EPOCHS, PIXELS)
    assert rule is not None
    return rule


def test_a_linear_law_is_found_and_every_training_then_stops() -> None:
    rng = np.random.default_rng(0)
    parts = [drawn(rng, SPACE.size, 0.0) for _ in range(10)]  # so many that the ridge hardly shrinks anything
    seen = [c for configurations, _ in parts for c in configurations]
    rule = fitted(table(seen, np.concatenate([z for _, z in parts])))
    for configuration, course in zip(*drawn(rng, 10, 0.0), strict=True):
        stopping = rule.stopping(configuration)
        curve = tuple(1 - np.exp(course))
        forecast = stopping.forecast(curve[:-1])
        assert forecast is not None
        assert forecast.precision == pytest.approx(curve[-1], abs=3e-4)
        assert forecast.sd < 3e-4
        assert stopping(curve[:-1])
        assert stopping.forecast(curve[: FIRST_EPOCH - 1]) is None
        assert stopping.forecast(curve) is None


@pytest.mark.parametrize("whole", [LEAST_WHOLE, 40])
def test_forecasts_are_as_uncertain_as_they_say(whole: int) -> None:
    inside, off, draws = 0, [], 250
    for seed in range(draws):
        configurations, z = drawn(np.random.default_rng(seed), whole + 1, 0.02)
        stopping = fitted(table(configurations[:whole], z[:whole])).stopping(configurations[-1])
        P = 1 - np.exp(z[-1])
        forecast = stopping.forecast(tuple(P[:-1]))
        assert forecast is not None
        inside += abs(forecast.precision - P[-1]) <= 1.645 * forecast.sd
        off.append((forecast.precision - P[-1]) / forecast.sd)
    # the seeds are fixed: no chance in it, but a bound that a right rule would break once in 1,000
    low, high = stats.binom.interval(0.999, draws, 0.9)
    assert low <= inside <= high
    assert abs(np.mean(off)) < 3.3 / np.sqrt(draws)


def test_it_stops_where_the_forecast_adds_little_to_the_noise_of_a_seed() -> None:
    configurations, z = drawn(np.random.default_rng(1), 40, 0.02)
    rule = fitted(table(configurations[:-1], z[:-1]))
    curve = tuple(1 - np.exp(z[-1]))[:-1]
    stopping = rule.stopping(configurations[-1])
    forecast = stopping.forecast(curve)
    assert forecast is not None
    P = forecast.precision
    seed = stopping.noise * np.sqrt(P * (1 - P) / PIXELS)
    border = (forecast.sd / seed) ** 2
    assert replace(stopping, share=1.001 * border)(curve)
    assert not replace(stopping, share=0.999 * border)(curve)


def test_the_order_of_trainings_and_the_way_to_a_worker_change_no_bit() -> None:
    configurations, z = drawn(np.random.default_rng(2), 30, 0.02)
    one = fitted(table(configurations, z)).stopping(configurations[0])
    other = fitted(table(configurations[::-1], z[::-1])).stopping(configurations[0])
    assert one == other
    sent = load(Stopping, json.loads(json.dumps(dump(one))))
    assert sent == one
    curve = tuple(1 - np.exp(z[0]))
    assert sent.forecast(curve[:-1]) == one.forecast(curve[:-1])


def test_only_whole_fresh_trainings_count() -> None:
    configurations, z = drawn(np.random.default_rng(3), LEAST_WHOLE, 0.02)
    samples = table(configurations, z)
    assert Rule.of(samples, EPOCHS, PIXELS) is not None
    assert Rule.of(samples, EPOCHS + 1, PIXELS) is None, "other lengths"
    for change in ({"status": "stopped"}, {"status": "failed"}, {"start": "pruned abc"}):
        frame = samples.frame.copy()
        frame.loc[3, list(change)] = list(change.values())
        assert Rule.of(Samples(SPACE, frame), EPOCHS, PIXELS) is None


def test_noise_is_told_by_repeats_and_until_then_by_the_number_of_images() -> None:
    assert noise_share(np.full(12, 0.9), np.arange(12), PIXELS) == pytest.approx(0.7)
    rng = np.random.default_rng(4)
    P = 0.9 + 1.5 * np.sqrt(0.09 / PIXELS) * rng.normal(size=4000)
    assert noise_share(P, np.arange(4000) // 2, PIXELS) == pytest.approx(1.5, abs=0.1)


@given(
    st.lists(st.floats(0, 1), min_size=FIRST_EPOCH, max_size=EPOCHS - 1),
    st.integers(0, SPACE.size - 1),
)
def test_any_curve_has_a_finite_forecast(curve: list[float], place: int) -> None:
    configuration = SPACE.configurations(SPACE.candidates()[[place]])[0]
    forecast = RULE.stopping(configuration).forecast(curve)
    assert isinstance(forecast, Forecast)
    assert 0 <= forecast.precision <= 1
    assert 0 <= forecast.sd < np.inf


RULE = fitted(table(*drawn(np.random.default_rng(5), LEAST_WHOLE, 0.02)))


def test_perfect_and_constant_curves_do_no_harm() -> None:
    configurations, z = drawn(np.random.default_rng(6), 20, 0.0)
    rule = fitted(table(configurations, np.full_like(z, -np.inf)))
    forecast = rule.stopping(configurations[0]).forecast((1.0, 1.0, 1.0))
    assert forecast is not None
    assert forecast.precision == pytest.approx(1.0, abs=1 / PIXELS)
    assert forecast.sd == pytest.approx(0.0, abs=1e-9)


# what the rest makes of it


def test_a_surrogate_weighs_what_was_stopped_by_its_added_variance() -> None:
    configurations, z = drawn(np.random.default_rng(7), 40, 0.03)
    samples = table(configurations, z)
    assert (weights(samples) == 1).all()
    frame = samples.frame.copy()
    frame.loc[:9, "precision_sd"] = np.linspace(1e-9, 0.05, 10)
    found = weights(Samples(SPACE, frame))
    assert (found[10:] == 1).all()
    assert found[0] == pytest.approx(1)
    # noise^2 / (noise^2 + added^2), both of the logarithm of the error: one noise explains them all
    added = frame["precision_sd"][1:10] / (1 - samples.precision[1:10])
    noise = added * np.sqrt(found[1:10] / (1 - found[1:10]))
    np.testing.assert_allclose(noise, noise.iloc[0], rtol=1e-6)
    X, y = SPACE.filled(samples.X), samples.precision
    model = fit_precision(Samples(SPACE, frame), "loggp").model
    weighed = LogErrorGP(domain=SPACE.domain, names=list(SPACE.names)).fit(X, y, found)
    assert model.predict(X).tolist() == weighed.predict(X).tolist()


RECIPE = Recipe(epochs=6, batch_size=4, augment=("shift",))
POOL_CONFIGURATIONS = [(2, 6), (4, 6), (2, 8), (4, 8)]


def taught(folder: Path, recipe: Recipe = RECIPE, whole: int = LEAST_WHOLE) -> Store:
    """A study that has recorded whole trainings whose ends were sure from the second epoch on."""
    study = begin(folder, recipe)
    requests = [Request(asked(POOL_CONFIGURATIONS[n % 4])[0].configuration, 100 + n) for n in range(whole)]
    study.enqueue(requests)
    for n in range(whole):
        claim = study.claim()
        assert claim is not None
        error = 0.4 * np.exp(-0.3 * np.arange(recipe.epochs)) * (1 + 0.1 * (n % 4) + 1e-4 * n)
        curve = tuple((1 - error).tolist())
        settings = study.settings
        sample = Sample(claim.request.configuration, claim.request.seed, curve[-1], curve=curve)
        data = {"family": settings.family, "data": settings.data, "recipe": settings.recipe.hash}
        study.record(claim, replace(sample, **data))
    return study


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """What trainings to the end give that nothing was known before."""
    study = begin(tmp_path_factory.mktemp("whole") / "study", RECIPE)
    study.enqueue(QUEUE)
    return train(study)


QUEUE = [
    *asked((2, 6)),
    *asked((4, 6), purpose="refine"),
    *asked((2, 8), purpose="verify"),
    *asked((4, 8), purpose="baseline"),
]


def test_workers_stop_what_may_be_stopped(tmp_path: Path, whole: Samples) -> None:
    study = taught(tmp_path / "study")
    rule = Rule.of(study.samples(), RECIPE.epochs, 100)
    study.enqueue(QUEUE)
    frame = train(study, 2).frame[LEAST_WHOLE:].reset_index(drop=True)
    assert rule is not None
    assert frame["status"].tolist() == ["stopped", "stopped", "complete", "complete"]
    for row in (0, 1):
        curve, course = json.loads(frame["curve"][row]), json.loads(whole.frame["curve"][row])
        assert curve == course[: len(curve)]
        assert FIRST_EPOCH <= len(curve) < RECIPE.epochs
        stopping = rule.stopping(QUEUE[row].configuration)
        assert [stopping(course[:n]) for n in range(len(curve) + 1)] == [False] * len(curve) + [True]
        forecast = stopping.forecast(curve)
        assert forecast is not None
        assert frame["precision"][row] == pytest.approx(forecast.precision, abs=1e-9)
        assert frame["precision_sd"][row] == pytest.approx(forecast.sd, abs=1e-9)
        assert frame["reason"][row] == f"extrapolated from {len(curve)} of 6 epochs"
        assert np.isnan(frame["metric_balanced"][row]), "metrics of a network that was not finished"
    for row in (2, 3):
        one, other = frame.loc[row], whole.frame.loc[row]
        assert one.drop("train_s").equals(other.drop("train_s"))
    assert frame["precision_sd"][2:].tolist() == [0, 0]


def test_full_trains_as_if_nothing_were_known(tmp_path: Path, whole: Samples) -> None:
    study = taught(tmp_path / "study")
    study.enqueue(QUEUE)
    with Pool(study, IMAGES, 1, full=True) as pool:
        pool.drain()
    found = study.samples()
    rest = Samples(found.space, found.frame[LEAST_WHOLE:].reset_index(drop=True))
    same(rest, whole)


def test_recipes_with_patience_are_left_alone(tmp_path: Path) -> None:
    study = taught(tmp_path / "study", replace(RECIPE, patience=5))
    study.enqueue(QUEUE[:1])
    assert train(study).frame["status"].tolist() == ["complete"] * (LEAST_WHOLE + 1)

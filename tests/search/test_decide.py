"""Many whole searches on made-up truths, without a training: what `decide` asks for is answered at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from made_truth import COST, FAMILY, ROW, SPACE, TASK, Truth, X

from cpmodel.pipeline.fitting import fit_precision
from cpmodel.records.sample import Purpose, Request, Sample
from cpmodel.samples import Samples, read_csv
from cpmodel.search.decide import SearchModel, Step, View, decide
from cpmodel.search.evidence import FRESH_SEED, LEAST_SEEDS, fresh_evidence
from cpmodel.search.first import first_requests, first_size
from cpmodel.space import Floats, Parameter, Space
from cpmodel.surrogates.predictive import Link, Predictive

BUDGET = 40


class Line:
    """A line in the logarithms, by least squares with weak beliefs."""

    def __init__(self, samples: Samples) -> None:
        usable = samples.usable
        A, y = self.terms(usable.X), np.log(1 - np.minimum(usable.precision, 1 - 1e-6))
        ridge = np.diag([0, 1e-2, 1e-2, 1e-2, 1e-2])
        self.inverse = np.linalg.inv(A.T @ A + ridge)
        self.solved = self.inverse @ A.T @ y
        self.freedom = max(len(y) - 5, 1)
        self.scale = np.sqrt(((y - A @ self.solved) ** 2).sum() / self.freedom + 1e-6)
        self.noise_std_ = 0.004

    @staticmethod
    def terms(x: Floats) -> Floats:
        return np.column_stack([np.ones(len(x)), np.log(x)])

    def predictive(self, x: Floats) -> Predictive:
        B = self.terms(x)
        error = self.scale * np.sqrt(np.einsum("ij,jk,ik->i", B, self.inverse, B) + 0.3)
        return Predictive.of(Link("log_error"), B @ self.solved, error, self.noise_std_, self.freedom)

    def draws(self, x: Floats, count: int, seed: int = 0) -> Floats:
        B = self.terms(x)
        covariance = self.scale**2 * (B @ self.inverse @ B.T + 0.3 * np.eye(len(B)))
        return self.predictive(x).together(covariance, count, np.random.default_rng(seed))


class Told:
    """Believes what it is told of each configuration: precision, and its standard deviation."""

    noise_std_ = 0.004

    def __init__(self, precision: Floats, std: float) -> None:
        self.precision, self.std = dict(zip(map(bytes, X), precision, strict=True)), std

    def predictive(self, x: Floats) -> Predictive:
        told = np.array([self.precision[bytes(row)] for row in x])
        return Predictive.of(Link("precision"), told, np.full(len(x), self.std), self.noise_std_)

    def draws(self, x: Floats, count: int, seed: int = 0) -> Floats:
        return self.predictive(x).together(np.eye(len(x)), count, np.random.default_rng(seed))


def view_of(samples: Samples, target: float, model: Callable[[Samples], SearchModel] = Line) -> View:
    return View(SPACE, samples, X, COST, model(samples), target, 0.9, BUDGET, 0.05, 2, 0)


def first_answers(truth: Truth, first: int) -> list[Sample]:
    asked_for = first_requests(SPACE, X, COST, first=first, baseline_seeds=2, study_seed=0)
    return [truth.answer(request) for request in asked_for]


@dataclass
class Search:
    samples: Samples
    steps: list[Step]
    views: list[View]

    @property
    def last(self) -> Step:
        return self.steps[-1]


def search(
    truth: Truth,
    target: float,
    model: Callable[[Samples], SearchModel] = Line,
    have: list[Sample] | None = None,
) -> Search:
    """The whole loop, from the first design (or from samples that are there) to its end."""
    rows = list(
        have
        or [
            truth.answer(r)
            for r in first_requests(SPACE, X, COST, first=first_size(SPACE), baseline_seeds=2, study_seed=0)
        ]
    )
    steps: list[Step] = []
    views: list[View] = []
    while True:
        samples = Samples.of(SPACE, rows)
        views.append(view_of(samples, target, model))
        steps.append(decide(views[-1]))
        if steps[-1].action not in ("explore", "verify"):
            return Search(samples, steps, views)
        assert steps[-1].requests, "asks for nothing and goes on"
        known = {(SPACE.key(s.configuration), s.seed) for s in rows}
        assert not {(SPACE.key(r.configuration), r.seed) for r in steps[-1].requests} & known
        rows += [truth.answer(r) for r in steps[-1].requests]
        assert len(rows) <= BUDGET


def asked(found: Search) -> list[tuple[str, int, str]]:
    return [(SPACE.key(r.configuration), r.seed, r.purpose) for step in found.steps for r in step.requests]


@pytest.fixture(scope="module")
def searches() -> list[tuple[Truth, float, Search]]:
    rng = np.random.default_rng(0)
    found = []
    for seed in range(40):
        truth = Truth(seed)
        target = float(np.quantile(truth.precision, rng.uniform(0.4, 0.97)))
        found.append((truth, target, search(truth, target)))
    return found


def test_searches_end_within_the_budget(searches: list[tuple[Truth, float, Search]]) -> None:
    proved = [s for _, _, s in searches if s.last.action == "prove"]
    assert len(proved) >= 0.9 * len(searches)
    for s in proved:
        assert s.last.evidence is not None
        assert s.last.evidence.probability >= 0.9
        assert len(s.last.evidence.seeds) >= LEAST_SEEDS
        assert min(s.last.evidence.seeds) >= FRESH_SEED
    assert np.median([len(s.samples) for s in proved]) < BUDGET


def test_what_is_proved_is_nearly_the_cheapest(searches: list[tuple[Truth, float, Search]]) -> None:
    ratios = []
    for truth, target, s in searches:
        if s.last.evidence is not None:
            cheapest = COST[truth.precision >= target].min()
            ratios.append(COST[ROW[s.last.evidence.key]] / cheapest)
    assert np.median(ratios) < 1.35
    assert np.quantile(ratios, 0.9) < 2.5
    # against the baseline, whose cost a person would pay without a search
    assert np.median([COST.max() / COST[truth.precision >= t].min() for truth, t, _ in searches]) > 5


def test_wrong_claims_are_rare(searches: list[tuple[Truth, float, Search]]) -> None:
    gaps = [
        truth.precision[ROW[s.last.evidence.key]] - target
        for truth, target, s in searches
        if s.last.evidence is not None
    ]
    assert np.mean(np.array(gaps) < 0) <= 0.15  # at confidence 0.9
    assert min(gaps) > -0.01


def test_the_same_samples_give_the_same_step(searches: list[tuple[Truth, float, Search]]) -> None:
    for truth, target, s in searches[:10]:
        assert asked(search(truth, target)) == asked(s)


def test_a_search_goes_on_as_it_would_have_from_any_point(
    searches: list[tuple[Truth, float, Search]], tmp_path: Path
) -> None:
    for truth, target, s in searches[:4]:
        whole = asked(s)
        done = 0
        for step, view in zip(s.steps, s.views, strict=True):
            view.samples.write_csv(tmp_path / "samples.csv")
            kept = read_csv(tmp_path / "samples.csv", space=SPACE, unit="fraction")
            again = decide(replace(view_of(kept, target), samples=kept))
            assert (again.action, again.reason, again.requests) == (step.action, step.reason, step.requests)
            rows = [
                truth.answer(Request(SPACE.parse(key), int(seed), Purpose(purpose)))
                for key, seed, purpose in zip(
                    kept.keys, kept.frame["seed"], kept.frame["purpose"], strict=True
                )
            ]
            assert asked(search(truth, target, have=rows)) == whole[done:]
            done += len(step.requests)


def test_with_the_models_that_are_really_used() -> None:
    def fitted(samples: Samples) -> SearchModel:
        return fit_precision(samples).model

    truth = Truth(1)
    target = float(np.quantile(truth.precision, 0.75))
    s = search(truth, target, fitted)
    assert s.last.action == "prove"
    assert s.last.evidence is not None
    assert truth.precision[ROW[s.last.evidence.key]] > target - 0.005
    assert COST[ROW[s.last.evidence.key]] < 2 * COST[truth.precision >= target].min()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_equal_repeats_do_not_make_it_believe_in_a_smooth_law(seed: int) -> None:
    """Without noise, what is off the law is each configuration's own, and the cheapest are lucky ones."""
    truth = Truth(seed, noise=0.0)
    rng = np.random.default_rng(seed)
    law = truth.precision.copy()
    truth.precision = np.clip(law + 0.006 * rng.standard_normal(len(X)), 0, 1)
    target = float(np.quantile(law, 0.75))
    near = rng.choice(np.flatnonzero(np.abs(law - target) < 0.015), 14, replace=False)
    keys = [SPACE.key(c) for c in SPACE.configurations(X[near])]
    good = near[truth.precision[near] >= target]
    stands = SPACE.key(SPACE.configurations(X[good[[np.argmin(COST[good])]]])[0])
    asked_for = [
        *first_requests(SPACE, X, COST, first=first_size(SPACE), baseline_seeds=2, study_seed=0),
        *(Request(SPACE.parse(key), 0, Purpose.REFINE) for key in keys),
        *(Request(SPACE.parse(stands), FRESH_SEED + n, Purpose.VERIFY) for n in range(3)),
    ]
    samples = Samples.of(SPACE, [truth.answer(r) for r in asked_for])
    view = view_of(samples, target, lambda s: fit_precision(s).model)
    step = decide(view)
    assert step.has == COST[ROW[stands]]
    assert step.action == "explore"
    # what was trained is known, to the last image: it is drawn the same every time
    draws = view.model.draws(SPACE.filled(X[near]), 100)
    assert draws.std(axis=0).max() < 0.0015
    np.testing.assert_allclose(np.median(draws, axis=0), truth.precision[near], atol=0.0015)
    # and their neighbours are not
    others = np.setdiff1d(np.flatnonzero(np.abs(law - target) < 0.015), near)[:50]
    assert np.median(view.model.draws(SPACE.filled(X[others]), 100).std(axis=0)) > 0.003


def test_an_unreachable_target_stops_without_proof() -> None:
    truth = Truth(2)
    s = search(truth, float(truth.precision.max()) + 0.03)
    assert s.last.action == "stop"
    assert s.last.evidence is None
    assert s.last.reason


def test_an_easy_target_is_reached_by_the_cheapest() -> None:
    truth = Truth(3, noise=0.001)
    s = search(truth, 0.05)
    assert s.last.evidence is not None
    assert COST[ROW[s.last.evidence.key]] == COST.min()


def test_a_candidate_that_falls_is_not_tried_again() -> None:
    """A model that swears by bad configurations: three fresh seeds tell, and the next one is tried."""
    truth = Truth(4)
    target = 0.88
    order = np.argsort(COST)
    bad = order[truth.precision[order] < target - 0.02][:3]

    told = np.where(truth.precision >= target + 0.01, truth.precision, 0.5)
    told[bad] = 0.95

    def believer(samples: Samples) -> SearchModel:
        return Told(told, 0.002)

    s = search(truth, target, believer)
    verified = [key for key, _, purpose in asked(s) if purpose == "verify"]
    keys = list(dict.fromkeys(verified))
    assert len(keys) >= 2
    assert [verified.count(key) for key in keys[:-1]] == [LEAST_SEEDS] * (len(keys) - 1)
    assert ROW[keys[0]] in bad
    assert s.last.action == "prove"
    assert s.last.evidence is not None
    assert truth.precision[ROW[s.last.evidence.key]] >= target


def test_a_candidate_in_doubt_gets_more_seeds_but_not_for_ever() -> None:
    """True precision at the target exactly: neither three nor five seeds can tell."""
    truth = Truth(5, noise=0.01)
    row = int(np.argsort(COST)[200])
    target = float(truth.precision[row])

    told = np.where(np.arange(len(X)) == row, target + 0.005, 0.0)

    def single(samples: Samples) -> SearchModel:
        return Told(told, 0.002)

    counts = set()
    for seed in range(12):
        truth.seed = 100 + seed
        s = search(truth, target, single)
        counts.add(sum(purpose == "verify" for *_, purpose in asked(s)))
        assert s.last.action in ("prove", "stop")
    assert {3, 12} <= counts <= {3, 5, 8, 12}


def test_what_comes_nearest_is_tried_where_nothing_is_likely_to_stand() -> None:
    truth = Truth(5)
    row, other = np.argsort(COST)[[200, 100]]
    target = 0.9
    told = np.zeros(len(X))
    # one hardly above the target, so that few seeds are likely to prove it, and one below
    told[row], told[other] = target + 0.0005, target - 0.0005
    s = search(truth, target, lambda samples: Told(told, 0.002))
    assert [ROW[key] for key, _, purpose in asked(s) if purpose == "verify"][:1] == [row]


def test_few_trainings_left_ask_for_more_certainty() -> None:
    """Three seeds tell less than nine: what they are to prove must be further above the target."""
    truth = Truth(5)
    cheap, dear = np.argsort(COST)[[100, 200]]
    told = np.zeros(len(X))
    told[cheap], told[dear] = 0.9038, 0.907
    samples = Samples.of(SPACE, first_answers(truth, 8))
    view = view_of(samples, 0.9, lambda _: Told(told, 0.0005))
    wanted = {}
    for left in (3, 9):
        step = decide(replace(view, budget=len(samples) + left))
        assert step.action == "verify"
        wanted[left] = {ROW[SPACE.key(r.configuration)] for r in step.requests}
    assert wanted == {3: {dear}, 9: {cheap}}


def test_once_the_budget_is_spent_nothing_is_asked_for() -> None:
    truth = Truth(5)
    row = int(np.argsort(COST)[200])
    target = float(truth.precision[row])
    told = np.where(np.arange(len(X)) == row, target + 0.005, 0.0)
    (where,) = SPACE.configurations(X[[row]])
    fresh = [
        Sample(where, FRESH_SEED + n, target + more, status="complete", purpose=Purpose.VERIFY)
        for n, more in enumerate([-0.002, 0.001, 0.005])
    ]
    samples = Samples.of(SPACE, [*first_answers(truth, 8), *fresh])
    view = view_of(samples, target, lambda _: Told(told, 0.002))
    (tested,) = fresh_evidence(samples, target)
    assert not tested.stands
    assert not tested.fallen
    assert len(decide(replace(view, budget=len(samples) + 1)).requests) == 1
    for budget in (len(samples), len(samples) - 1):
        assert decide(replace(view, budget=budget)).requests == ()


def test_what_cannot_be_trained_is_no_answer() -> None:
    truth = Truth(6)
    target = float(np.quantile(truth.precision, 0.7))
    first = search(truth, target)
    assert first.last.evidence is not None
    truth.broken = frozenset({first.last.evidence.key})
    s = search(truth, target)
    assert s.last.action == "prove"
    assert s.last.evidence is not None
    assert s.last.evidence.key not in truth.broken
    assert sum(key in truth.broken for key, *_ in asked(s)) <= LEAST_SEEDS


def test_one_failed_fresh_training_is_replaced() -> None:
    truth = Truth(6)
    target = float(np.quantile(truth.precision, 0.7))
    first = search(truth, target)
    assert first.last.evidence is not None
    key, seed = first.last.evidence.key, first.last.evidence.seeds[1]
    truth.unlucky = frozenset({(key, seed)})
    s = search(truth, target)
    evidence = next(e for e in fresh_evidence(s.samples, target) if e.key == key)
    assert seed not in evidence.seeds
    assert len(evidence.seeds) >= LEAST_SEEDS
    assert s.last.action == "prove"


def test_limits_are_kept() -> None:
    truth = Truth(7)
    target = float(np.quantile(truth.precision, 0.6))
    allowed = np.quantile(COST, 0.3) >= COST
    samples = Samples.of(
        SPACE,
        [
            truth.answer(r)
            for r in first_requests(SPACE, X, COST, first=first_size(SPACE), baseline_seeds=2, study_seed=0)
        ],
    )
    whole = view_of(samples, target)
    view = replace(whole, X=X[allowed], cost=COST[allowed])
    for request in decide(view).requests:
        assert allowed[ROW[SPACE.key(request.configuration)]]


def test_what_is_being_trained_is_not_asked_for_again() -> None:
    truth = Truth(8)
    target = float(np.quantile(truth.precision, 0.8))
    samples = Samples.of(
        SPACE,
        first_answers(truth, 8),
    )
    view = view_of(samples, target)
    first = decide(replace(view, workers=1)).requests
    assert len(first) == 1
    key = SPACE.key(first[0].configuration)
    beside = decide(replace(view, workers=1, pending=(key,))).requests
    both = decide(view).requests  # two workers
    assert key not in [SPACE.key(r.configuration) for r in beside]
    assert [r.configuration for r in both] == [first[0].configuration, beside[0].configuration]
    assert decide(replace(view, pending=(key,) * (BUDGET - len(samples)))).requests == ()


def test_every_step_says_how_things_stand(searches: list[tuple[Truth, float, Search]]) -> None:
    for _, _, s in searches[:10]:
        for step in s.steps:
            if step.outlook is None:
                assert step.has == np.inf
                continue
            assert 0 <= step.outlook.probability <= 1
            assert 0 <= step.outlook.fraction < 1
            assert step.has < np.inf
            if step.action != "stop":
                assert f"{step.outlook.probability:.0%} likely" in step.reason
        assert s.last.evidence is None or s.last.has == COST[ROW[s.last.evidence.key]]


def test_half_of_the_budget_is_kept_for_the_first_proof() -> None:
    truth = Truth(3)
    target = float(np.quantile(truth.precision, 0.8))
    rows, trained = first_answers(truth, first_size(SPACE)), []
    while len(rows) < BUDGET:
        # with a tolerance of nothing, exploring is always worth it
        step = decide(replace(view_of(Samples.of(SPACE, rows), target), tolerance=0.0, workers=1))
        if step.action != "explore":
            break
        trained.append(len(rows))
        rows += [truth.answer(r) for r in step.requests]
    assert trained[-1] == len(rows) - 1 == BUDGET // 2 - 1


def test_an_axis_that_no_family_sees_is_searched_like_a_parameter() -> None:
    axis = Parameter("epochs", (2, 8), axis=True)
    space = Space((*SPACE.parameters, axis), {**SPACE.baseline, "epochs": 2})
    rows_of_space = space.candidates()
    cost = FAMILY.costs(space.networks_of(rows_of_space), TASK)["macs"]
    truth = Truth(5)

    def answer(request: Request) -> Sample:
        # longer trainings lose a tenth less of their error, and cost the same
        made = truth.answer(replace(request, configuration=space.network(request.configuration)))
        assert made.precision is not None
        better = 1 - (1 - made.precision) * (0.9 if request.configuration["epochs"] == 8 else 1.0)
        return replace(made, configuration=request.configuration, precision=better)

    target = float(np.quantile(truth.precision, 0.85))
    asked_for = first_requests(
        space, rows_of_space, cost, first=first_size(space), baseline_seeds=2, study_seed=0
    )
    rows = [answer(r) for r in asked_for]
    assert {r.configuration["epochs"] for r in asked_for} == {2, 8}
    while True:
        samples = Samples.of(space, rows)
        fit = fit_precision(samples, "loggp")
        step = decide(View(space, samples, rows_of_space, cost, fit.model, target, 0.9, BUDGET, 0.05, 1, 0))
        if step.action not in ("explore", "verify"):
            break
        rows += [answer(r) for r in step.requests]
    assert step.evidence is not None
    assert step.evidence.configuration["epochs"] == 8

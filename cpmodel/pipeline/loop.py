"""The closed loop: what to train next, decided from the samples alone.

`first_requests` and `decide` are pure functions, so a study that is stopped anywhere and started again goes
on exactly as it would have: there is no other state than its samples.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cpmodel.samples import Samples
from cpmodel.sampling.designs import design
from cpmodel.space import Configuration, Floats, Space
from cpmodel.study import Request

SEEDS_PER_STUDY = 10_000
FRESH_SEED = 1_000  # seeds from here on verify; no design uses them
LEAST_SEEDS, MOST_SEEDS = 3, 7


def training_seed(study_seed: int, number: int) -> int:
    """The seed of a configuration's training of that number; studies of other seeds share none."""
    return study_seed * SEEDS_PER_STUDY + number


@dataclass(frozen=True)
class Evidence:
    """What the fresh seeds of one configuration say.

    Parameters
    ----------
    seeds, precisions : tuple
        Of each fresh training that did not fail: validation precision.
    probability : float
        That the mean precision over seeds reaches the target.
    """

    key: str
    configuration: Configuration
    seeds: tuple[int, ...]
    precisions: tuple[float, ...]
    probability: float

    @property
    def mean(self) -> float:
        """Mean validation precision over the fresh seeds."""
        return float(np.mean(self.precisions))


@dataclass(frozen=True, eq=False)
class View:
    """All that a decision rests on.

    Parameters
    ----------
    X : shape (m, d)
        Every configuration that may be chosen (limits already applied).
    cost, precision, probability : shape (m,)
        Complexity, predicted P, and the predicted probability that P reaches the target.
    target, confidence : float
    budget : int
        Trainings in all, verification included.
    tolerance : float
        The search ends when the expected further saving, in relative complexity, falls below it.
    workers : int
    study_seed : int
    """

    space: Space
    samples: Samples
    X: Floats
    cost: Floats
    precision: Floats
    probability: Floats
    target: float
    confidence: float
    budget: int
    tolerance: float
    workers: int
    study_seed: int


@dataclass(frozen=True)
class Step:
    """What to do next.

    Parameters
    ----------
    action : {"explore", "verify", "prove", "stop"}
        Train `requests`, to learn or to verify; open the test split for `evidence`; or end without proof.
    reason : str
        In words, for the user.
    """

    action: Literal["explore", "verify", "prove", "stop"]
    reason: str
    requests: tuple[Request, ...] = ()
    evidence: Evidence | None = None


def first_requests(
    space: Space, cost: Floats, first: int, study_seed: int, baseline_seeds: int
) -> list[Request]:
    """The baseline's seeds and a design spread over cost, the longest trainings first.

    Parameters
    ----------
    cost : shape (size,)
        Of each row of `space.enumerate()`.
    first : int
        Configurations of the design.
    baseline_seeds : int
        Trainings of the baseline; they also tell the noise of a training.
    """
    everything = space.enumerate()
    X = design("spread", space, first, study_seed, cost)
    costs = {row.tobytes(): c for row, c in zip(everything, cost, strict=True)}
    order = np.argsort([-costs[row.tobytes()] for row in X], kind="stable")
    baseline = [
        Request(space.baseline, training_seed(study_seed, n), "baseline") for n in range(baseline_seeds)
    ]
    spread = [Request(c, training_seed(study_seed, 0), "design") for c in space.configurations(X[order])]
    return [*baseline, *(r for r in spread if r.configuration != space.baseline)]


def decide(view: View) -> Step:
    """What to do next.

    Explore while a configuration that is not yet trained is expected to save more than the tolerance
    (probability of reaching the target times the logarithm of the saving against the cheapest safe answer);
    then verify the cheapest safe answer on fresh seeds; when it falls, go on with what was learned.
    """
    evidence = fresh_evidence(view.samples, view.target)
    fallen = {e.key for e in evidence if _fallen(e, view.confidence)} | _untrainable(view.samples)
    keys = view.samples.keys
    trained = _rows(view, set(keys))
    open_rows = ~_rows(view, fallen)
    spent, left = len(view.samples), view.budget - len(view.samples)

    standing = [e for e in evidence if len(e.seeds) >= LEAST_SEEDS and e.probability >= view.confidence]
    best = min(standing, key=lambda e: _cost(view, e.key), default=None)
    # a standing answer bounds the cost; the models' own safe answer does, where nothing stands yet
    safe = _cheapest(view, (view.probability >= view.confidence) & open_rows)
    bound = _cost(view, best.key) if best else np.inf
    if safe is not None:
        bound = min(bound, float(view.cost[safe]))

    # what is left must do for two verifications, so that one candidate may fall
    spare = left - (0 if best else min(2 * LEAST_SEEDS, view.budget // 4))
    if spare > 0:
        chosen = _most_to_give(view, ~trained & open_rows, bound)[:spare]
        if len(chosen):
            requests = tuple(
                Request(c, training_seed(view.study_seed, 0), "refine")
                for c in view.space.configurations(view.X[chosen])
            )
            return Step("explore", _why(view, chosen, bound), requests)

    candidate = None if safe is None else view.space.key(view.space.configurations(view.X[[safe]])[0])
    if best is not None and (candidate is None or _cost(view, best.key) <= bound):
        return Step("prove", f"{best.key}: {len(best.seeds)} fresh seeds reach the target", evidence=best)
    if candidate is None:
        plain = _cheapest(view, (view.precision >= view.target) & open_rows)
        if plain is None:
            return Step("stop", "no configuration left is predicted to reach the target")
        candidate = view.space.key(view.space.configurations(view.X[[plain]])[0])
    have = next((len(e.seeds) for e in evidence if e.key == candidate), 0)
    wanted = LEAST_SEEDS - have if have < LEAST_SEEDS else 2
    tried = set(view.samples.frame["seed"][np.array(keys, dtype=object) == candidate]) if keys else set()
    seeds = (training_seed(view.study_seed, FRESH_SEED + n) for n in itertools.count())
    untried = itertools.islice((seed for seed in seeds if seed not in tried), wanted)
    requests = tuple(Request(view.space.parse(candidate), seed, "verify") for seed in untried)
    if len(requests) > left:
        if best is not None:
            return Step("prove", f"{best.key} stands; the budget is spent", evidence=best)
        return Step("stop", f"the budget of {view.budget} trainings is spent ({spent} done), nothing stands")
    return Step("verify", f"{candidate}: fresh seeds", requests)


def fresh_evidence(samples: Samples, target: float) -> list[Evidence]:
    """The evidence on every configuration that was trained on fresh seeds, in the order of their trainings.

    The noise of one training is pooled over all configurations that have repeats: three seeds alone tell it
    far too badly.
    """
    usable = samples.usable
    keys = np.array(usable.keys, dtype=str)
    fresh = (usable.frame["purpose"] == "verify").to_numpy(dtype=bool)
    noise, freedom = pooled_noise(keys, usable.precision)
    found = []
    for key in dict.fromkeys(keys[fresh].tolist()):
        rows = np.flatnonzero(fresh & (keys == key))
        precisions = usable.precision[rows]
        gap, error = float(precisions.mean()) - target, noise / np.sqrt(len(rows))
        probability = float(stats.t.cdf(gap / error, freedom)) if error > 0 else float(gap >= 0)
        seeds = tuple(int(s) for s in usable.frame["seed"].to_numpy()[rows])
        configuration = usable.space.configurations(usable.X[rows[:1]])[0]
        found.append(Evidence(key, configuration, seeds, tuple(map(float, precisions)), probability))
    return found


def pooled_noise(keys: Sequence[str] | NDArray[np.str_], precision: Floats) -> tuple[float, int]:
    """Standard deviation of a training about its configuration's mean, and its degrees of freedom."""
    _, group = np.unique(np.asarray(keys, dtype=str), return_inverse=True)
    counts = np.bincount(group)
    means = np.bincount(group, weights=precision) / counts
    freedom = int((counts - 1).sum())
    if freedom < 1:
        return 0.0, 1
    return float(np.sqrt(((precision - means[group]) ** 2).sum() / freedom)), freedom


def _fallen(evidence: Evidence, confidence: float) -> bool:
    """Whether fresh seeds speak against a configuration, or do not speak for it after the most allowed."""
    if len(evidence.seeds) < LEAST_SEEDS or evidence.probability >= confidence:
        return False
    return evidence.probability < 0.5 or len(evidence.seeds) >= MOST_SEEDS


def _untrainable(samples: Samples) -> set[str]:
    """Configurations whose trainings failed more often than they succeeded."""
    balance: Counter[str] = Counter()
    for key, precision in zip(samples.keys, samples.precision, strict=True):
        balance[key] += -1 if np.isnan(precision) else 1
    return {key for key, count in balance.items() if count < 0}


def _cheapest(view: View, allowed: NDArray[np.bool_]) -> int | None:
    """Row of the least cost, of equals that of the highest predicted precision; None if none is allowed."""
    rows = np.flatnonzero(allowed)
    if not len(rows):
        return None
    return int(rows[np.lexsort((-view.precision[rows], view.cost[rows]))[0]])


def _most_to_give(view: View, allowed: NDArray[np.bool_], bound: float) -> NDArray[np.int64]:
    """Rows with the largest expected saving, at most one a worker; none if it is below the tolerance.

    Where nothing is safe yet, the saving is counted from the dearest configuration.
    """
    reference = bound if np.isfinite(bound) else float(view.cost.max()) * np.e
    with np.errstate(divide="ignore"):
        saving = np.log(reference / np.maximum(view.cost, 1e-300))
    gain = np.where(allowed & (saving > 0), view.probability * saving, 0.0)
    order = np.argsort(-gain, kind="stable")[: view.workers]
    return np.asarray(order[gain[order] > np.log1p(view.tolerance)])


def _why(view: View, chosen: NDArray[np.int64], bound: float) -> str:
    first = chosen[0]
    if not np.isfinite(bound):
        return f"nothing is safe yet; {view.probability[first]:.0%} likely to reach the target"
    saving = 1 - view.cost[first] / bound
    return f"{view.probability[first]:.0%} likely to reach the target and {saving:.0%} cheaper"


def _rows(view: View, keys: Collection[str]) -> NDArray[np.bool_]:
    """Which rows of the view have these keys."""
    wanted = (
        {row.tobytes() for row in view.space.matrix([view.space.parse(k) for k in keys])} if keys else set()
    )
    return np.array([row.tobytes() in wanted for row in view.X], dtype=bool)


def _cost(view: View, key: str) -> float:
    row = np.flatnonzero(_rows(view, {key}))
    return float(view.cost[row[0]]) if len(row) else np.inf

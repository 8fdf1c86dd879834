"""The closed loop: what to train next, decided from the samples alone.

`first_requests` and `decide` are pure functions, so a study that is stopped anywhere and started again goes
on exactly as it would have: there is no other state than its samples.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cpmodel.records.sample import Purpose, Request
from cpmodel.samples import Samples
from cpmodel.search.acquisition import Outlook, first_rows, held, outlook, suggest
from cpmodel.search.belief import Belief, JointModel, Rows, Walk
from cpmodel.space import Configuration, Floats, Space, rows_of

SEEDS_PER_STUDY = 10_000
FRESH_SEED = 1_000  # seeds from here on verify; no design uses them
LOOKS = (3, 5, 8, 12)
"""Numbers of fresh seeds after which a candidate is judged."""
LEAST_SEEDS, MOST_SEEDS = LOOKS[0], LOOKS[-1]

# Looking four times errs this many times as often as looking once (Pocock 1977, for 5 % on one side)
_LOOKING = 2.6
# A candidate less likely than this to stand after all looks is given up
_HOPELESS = 0.2
# A candidate is tried when it is this likely to be better than the target by what all looks can tell
_WORTH_TRYING = 0.5


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
    asked : float
        The probability asked of it, so that all candidates of a study together err as seldom as was stated.
    chance : float
        That it will stand when all looks are done.
    """

    key: str
    configuration: Configuration
    seeds: tuple[int, ...]
    precisions: tuple[float, ...]
    probability: float
    asked: float = 0.9
    chance: float = 1.0

    @property
    def mean(self) -> float:
        """Mean validation precision over the fresh seeds."""
        return float(np.mean(self.precisions))

    @property
    def stands(self) -> bool:
        """Whether fresh seeds support it."""
        return len(self.seeds) >= LEAST_SEEDS and self.probability >= self.asked

    @property
    def fallen(self) -> bool:
        """Whether fresh seeds speak against it, or do not speak for it after the most allowed."""
        if len(self.seeds) < LEAST_SEEDS or self.stands:
            return False
        return self.chance < _HOPELESS or len(self.seeds) >= MOST_SEEDS


class SearchModel(JointModel, Protocol):
    """What is needed of a fitted precision model."""

    @property
    def noise_std_(self) -> float:
        """Standard deviation of one training about its configuration's mean."""


@dataclass(frozen=True, eq=False)
class View:
    """All that a decision rests on.

    Parameters
    ----------
    X : shape (m, d)
        Every configuration that may be chosen (limits already applied).
    cost : shape (m,)
        Complexity of each.
    model : SearchModel
        Fitted to the samples.
    target, confidence : float
        The confidence is that of all claims of the study together.
    budget : int
        Trainings in all, verification included.
    tolerance : float
        The search ends when the expected further saving, in relative complexity, falls below it.
    workers : int
    study_seed : int
    pending : tuple of str
        Keys of configurations that are being trained.
    seconds : shape (m,), optional
        Expected training time of each configuration, where time is what is short.
    """

    space: Space
    samples: Samples
    X: Floats
    cost: Floats
    model: SearchModel
    target: float
    confidence: float
    budget: int
    tolerance: float
    workers: int
    study_seed: int
    pending: tuple[str, ...] = ()
    seconds: Floats | None = None


@dataclass(frozen=True)
class Step:
    """What to do next.

    Parameters
    ----------
    action : {"explore", "verify", "prove", "stop"}
        Train `requests`, to learn or to verify; open the test split for `evidence`; or end without proof.
    reason : str
        In words, for the user.
    outlook : Outlook, optional
        What may be cheaper than the cheapest proved so far (or, where nothing is, than what the model is sure
        of); None while it is sure of nothing.
    has : float
        Complexity of that cheapest; infinite while there is none.
    """

    action: Literal["explore", "verify", "prove", "stop"]
    reason: str
    requests: tuple[Request, ...] = ()
    evidence: Evidence | None = None
    outlook: Outlook | None = None
    has: float = np.inf


def first_requests(
    space: Space, cost: Floats, first: int, study_seed: int, baseline_seeds: int, X: Floats | None = None
) -> list[Request]:
    """The baseline's seeds and a design spread over cost, the longest trainings first.

    Parameters
    ----------
    X : shape (m, d), optional
        Every configuration that may be chosen; the whole space unless given.
    cost : shape (m,)
        Of each of them.
    first : int
        Configurations of the design.
    baseline_seeds : int
        Trainings of the baseline; they also tell the noise of a training.
    """
    everything = space.candidates() if X is None else X
    rows = first_rows(_levels(space, everything), np.maximum(cost, 1e-300), first, study_seed)
    rows = rows[np.argsort(-cost[rows], kind="stable")]
    baseline = [
        Request(space.baseline, training_seed(study_seed, n), Purpose.BASELINE) for n in range(baseline_seeds)
    ]
    seed = training_seed(study_seed, 0)
    design = [Request(c, seed, Purpose.DESIGN) for c in space.configurations(everything[rows])]
    return [*baseline, *(r for r in design if r.configuration != space.baseline)]


def first_size(space: Space) -> int:
    """How many configurations a first design needs: one more than there are parameters, at least 4."""
    return max(4, len(space.parameters) + 1)


def decide(view: View) -> Step:
    """What to do next.

    Explore while what is trained is expected to cost more than the tolerance above the cheapest that reaches
    the target, and enough of the budget is left for proofs. Then verify, on fresh seeds, the cheapest that is
    likely to be better than the target by what those seeds can tell. Whether it falls or stands, what was
    learned goes into the next decision; when nothing cheaper is likely to stand, the cheapest that stands is
    the answer.
    """
    evidence = fresh_evidence(view.samples, view.target, view.confidence)
    found = _Findings.of(view, evidence)
    return replace(_next_step(found), outlook=found.outlook, has=found.has)


def _next_step(found: _Findings) -> Step:
    """The step that follows from what was found, without its outlook."""
    view, best = found.view, found.best
    explore = found.to_explore()
    if len(explore):
        seed = training_seed(view.study_seed, 0)
        requests = tuple(Request(c, seed, Purpose.REFINE) for c in view.space.configurations(view.X[explore]))
        return Step("explore", found.why(int(explore[0])), requests)
    candidate = found.candidate()
    if candidate is not None:
        have = next((len(e.seeds) for e in found.evidence if e.key == candidate), 0)
        # the last look may come early, when the budget ends
        requests = _fresh(view, candidate, have)[: max(found.left, 0)]
        if requests and have + len(requests) >= LEAST_SEEDS:
            return Step("verify", f"{candidate}: fresh seeds; {found.state}", requests)
    if best is not None:
        reason = f"{best.key}: {len(best.seeds)} fresh seeds reach the target; {found.state}"
        return Step("prove", reason, evidence=best)
    if candidate is None:
        return Step("stop", "no configuration left is likely to reach the target")
    spent = f"the budget of {view.budget} trainings is spent ({len(view.samples)} done), nothing stands"
    return Step("stop", spent)


@dataclass(frozen=True, eq=False)
class _Findings:
    """What a view says, worked out once a decision."""

    view: View
    evidence: Sequence[Evidence]
    best: Evidence | None
    X: Floats
    walk: Walk
    belief: Belief
    trained: Rows
    barred: Rows
    left: int
    margin: float
    has: float
    outlook: Outlook | None

    @classmethod
    def of(cls, view: View, evidence: Sequence[Evidence]) -> _Findings:
        """All that a decision asks of a view."""
        barred = {e.key for e in evidence if e.fallen} | _untrainable(view.samples)
        places = _places(view, {*view.samples.keys, *view.pending})
        # what fell is no answer, whatever the model says of it
        out = np.array(sorted(places[k] for k in barred if k in places), dtype=np.int64)
        trained = np.array(sorted({row for k, row in places.items() if k not in barred}), dtype=np.int64)
        paid = {e.key: float(view.cost[places[e.key]]) if e.key in places else np.inf for e in evidence}
        best = min((e for e in evidence if e.stands), key=lambda e: paid[e.key], default=None)
        has = np.inf if best is None else paid[best.key]
        left = view.budget - len(view.samples) - len(view.pending)
        # by so much a mean over the most seeds must be above the target to be told from one below it
        most = min(MOST_SEEDS, max(left, 1))
        margin = float(stats.norm.ppf(asked_of(len(evidence), view.confidence)) / np.sqrt(most))
        margin *= view.model.noise_std_
        X = view.space.filled(view.X)
        walk = Walk.of(view.model, X, view.cost, [view.target, view.target + margin], ceiling=has)
        belief = walk.belief(view.model, X, of=0, always=trained).without(out)
        if best is None:
            sure = (belief.precision >= view.target).mean(axis=0) >= view.confidence
            has = float(belief.cost[sure].min(initial=np.inf))
        said = outlook(belief, view.target, has, view.tolerance) if np.isfinite(has) else None
        return cls(view, evidence, best, X, walk, belief, trained, out, left, margin, has, said)

    @property
    def ceiling(self) -> float:
        """Cost of what is proved; beyond that of the dearest where nothing is."""
        return self.has if self.best is not None else float(self.view.cost.max()) * np.e

    def to_explore(self) -> Rows:
        """Rows to train, at most one a worker; none when exploring has little to give, or had its share."""
        view = self.view
        # what is kept for proofs: of the first one half of the budget, of a further one what it takes at most
        spare = self.left - (view.budget // 2 if self.best is None else MOST_SEEDS)
        if spare <= 0:
            return np.empty(0, dtype=np.int64)
        now = held(self.belief, view.target, self.trained, self.ceiling)
        cheapest = np.minimum(self.belief.cheapest(view.target), now)
        if np.log(now / cheapest).mean() < -np.log1p(-view.tolerance):
            return np.empty(0, dtype=np.int64)
        return suggest(
            self.belief,
            view.target,
            self.trained,
            ceiling=self.ceiling,
            count=min(view.workers, spare),
            barred=self.barred,
            seconds=None if view.seconds is None else view.seconds[self.belief.rows],
        )

    def candidate(self) -> str | None:
        """Key of the configuration to verify: the one under way, or else the cheapest worth trying."""
        under_way = [e for e in self.evidence if not e.stands and not e.fallen]
        if under_way:
            return under_way[-1].key
        view, level = self.view, self.view.target + self.margin
        belief = self.walk.belief(view.model, self.X, of=1, always=self.trained).without(self.barred)
        if not len(belief.rows):
            return None
        chances = (belief.precision >= level).mean(axis=0)
        worth = chances >= _WORTH_TRYING
        if self.best is not None:
            worth &= belief.cost < self.has * (1.0 - view.tolerance)
        elif not worth.any():
            # nothing is so good: then what comes nearest to it, if it is likely to reach the target at all
            likely = (belief.precision >= view.target).mean(axis=0)
            worth = (chances >= chances.max()) & (likely >= _WORTH_TRYING)
        if not worth.any():
            return None
        row = belief.rows[np.flatnonzero(worth)[np.argmin(belief.cost[worth])]]
        return view.space.key(view.space.configurations(view.X[[row]])[0])

    def why(self, row: int) -> str:
        """Why to train this row, and how things stand."""
        place = int(np.flatnonzero(self.belief.rows == row)[0])
        likely = float((self.belief.precision[:, place] >= self.view.target).mean())
        key = self.view.space.key(self.view.space.configurations(self.view.X[[row]])[0])
        return f"{key} is {likely:.0%} likely to reach the target; {self.state}"

    @property
    def state(self) -> str:
        """The cheapest so far, and what may be cheaper."""
        if self.outlook is None:
            return "nothing is proved, and nothing is sure to reach it yet"
        if self.best is not None:
            so_far, what = f"proved so far: {self.best.key}", "something cheaper"
        else:
            so_far, what = "nothing is proved yet", "something cheaper than what is sure to reach it"
        return (
            f"{so_far}; {self.outlook.probability:.0%} likely that {what} exists, "
            f"{self.outlook.fraction:.0%} cheaper on average"
        )


def _fresh(view: View, candidate: str, have: int) -> tuple[Request, ...]:
    """The fresh seeds that a candidate, which has so many, is judged on next."""
    wanted = next(look for look in LOOKS if look > have) - have
    keys = np.array(view.samples.keys, dtype=object)
    tried = set(view.samples.frame["seed"][keys == candidate]) if len(keys) else set()
    seeds = (training_seed(view.study_seed, FRESH_SEED + n) for n in itertools.count())
    untried = itertools.islice((seed for seed in seeds if seed not in tried), wanted)
    return tuple(Request(view.space.parse(candidate), seed, Purpose.VERIFY) for seed in untried)


def asked_of(number: int, confidence: float) -> float:
    """The probability asked of a study's candidate of that number, from 0.

    The first may use half of the error stated, each further one half of what is left; each of the looks uses
    the same part of that.
    """
    return 1.0 - (1.0 - confidence) * 0.5 ** (number + 1) / _LOOKING


def fresh_evidence(samples: Samples, target: float, confidence: float = 0.9) -> list[Evidence]:
    """The evidence on every configuration that was trained on fresh seeds, in the order of their trainings.

    The noise of one training is pooled over all configurations that have repeats: three seeds alone tell it
    far too badly.
    """
    usable = samples.measured
    keys = np.array(usable.keys, dtype=str)
    fresh = (usable.frame["purpose"] == "verify").to_numpy(dtype=bool)
    noise, freedom = pooled_noise(keys, usable.precision)
    found = []
    for number, key in enumerate(dict.fromkeys(keys[fresh].tolist())):
        rows = np.flatnonzero(fresh & (keys == key))
        precisions = usable.precision[rows]
        asked = asked_of(number, confidence)
        gap, error = float(precisions.mean()) - target, noise / np.sqrt(len(rows))
        probability = float(stats.t.cdf(gap / error, freedom)) if error > 0 else float(gap >= 0)
        seeds = tuple(int(s) for s in usable.frame["seed"].to_numpy()[rows])
        configuration = usable.space.configurations(usable.X[rows[:1]])[0]
        chance = _chance(gap, noise, len(rows), freedom, asked)
        found.append(
            Evidence(key, configuration, seeds, tuple(map(float, precisions)), probability, asked, chance)
        )
    return found


def _chance(gap: float, noise: float, have: int, freedom: int, asked: float) -> float:
    """Probability that the mean over the most seeds will be as far above the target as is asked."""
    more = MOST_SEEDS - have
    if more <= 0 or noise <= 0:
        return float(gap >= 0)
    needed = float(stats.t.ppf(asked, freedom + more)) * noise / np.sqrt(MOST_SEEDS)
    spread = noise * np.sqrt(1.0 / have - 1.0 / MOST_SEEDS)
    return float(stats.norm.cdf((gap - needed) / spread))


def pooled_noise(keys: Sequence[str] | NDArray[np.str_], precision: Floats) -> tuple[float, int]:
    """Standard deviation of a training about its configuration's mean, and its degrees of freedom."""
    _, group = np.unique(np.asarray(keys, dtype=str), return_inverse=True)
    counts = np.bincount(group)
    means = np.bincount(group, weights=precision) / counts
    freedom = int((counts - 1).sum())
    if freedom < 1:
        return 0.0, 1
    return float(np.sqrt(((precision - means[group]) ** 2).sum() / freedom)), freedom


def _untrainable(samples: Samples) -> set[str]:
    """Configurations whose trainings failed more often than they succeeded."""
    balance: Counter[str] = Counter()
    for key, precision in zip(samples.keys, samples.precision, strict=True):
        balance[key] += -1 if np.isnan(precision) else 1
    return {key for key, count in balance.items() if count < 0}


def _places(view: View, keys: Collection[str]) -> dict[str, int]:
    """The row of the view of each of these keys that has one."""
    ordered = sorted(keys)
    places = rows_of(view.X, view.space.matrix([view.space.parse(k) for k in ordered]))
    return {key: int(place) for key, place in zip(ordered, places, strict=True) if place >= 0}


def _levels(space: Space, X: Floats) -> Floats:
    """Each parameter from 0 to 1 over its range, by logarithms where it has them; shape (n, d)."""
    filled = space.filled(X)
    levels = np.full(filled.shape, 0.5)  # a categorical parameter has no order
    for column, parameter in enumerate(space.parameters):
        values = np.log(filled[:, column]) if filled[:, column].min() > 0 else filled[:, column]
        if not parameter.categorical and np.ptp(values) > 0:
            levels[:, column] = (values - values.min()) / np.ptp(values)
    return levels

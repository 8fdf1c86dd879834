"""The closed loop: what to train next, decided from the samples alone.

`decide` is a pure function, so a study that is stopped anywhere and started again goes on exactly as it would
have: there is no other state than its samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from scipy import stats

from cpmodel.records.sample import Purpose, Request
from cpmodel.samples import Samples
from cpmodel.search.acquisition import Outlook, held, outlook, suggest
from cpmodel.search.belief import Belief, JointModel, Rows, Walk
from cpmodel.search.evidence import (
    LEAST_SEEDS,
    LOOKS,
    MOST_SEEDS,
    Evidence,
    asked_of,
    fresh_evidence,
    fresh_requests,
    training_seed,
    untrainable,
)
from cpmodel.space import Floats, Space, rows_of

# A candidate is tried when it is this likely to be better than the target by what all looks can tell
# (scripts/bench/search.py)
_WORTH_TRYING = 0.5
# One part in so many of the budget is kept for the first proof (scripts/bench/search.py)
_KEPT = 2


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
    X, cost : shape (m, d), (m,), every configuration that may be chosen (limits already applied)
    model : fitted to the samples
    confidence : that of all claims of the study together
    budget : trainings in all, verification included
    tolerance : the search ends when the expected further saving, in relative complexity, falls below it
    pending : keys of configurations that are being trained
    seconds : shape (m,), expected training time of each, where time is what is short
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

    def key(self, row: int) -> str:
        """The text that names the configuration of a row."""
        return self.space.key(self.space.configurations(self.X[[row]])[0])


@dataclass(frozen=True)
class Step:
    """What to do next.

    Parameters
    ----------
    action : train `requests`, to learn or to verify; open the test split for `evidence`; or end without proof
    reason : in words, for the user
    outlook : what may be cheaper than the cheapest proved so far (or, where nothing is, than what the model
        is sure of); None while it is sure of nothing
    has : complexity of that cheapest; infinite while there is none
    """

    action: Literal["explore", "verify", "prove", "stop"]
    reason: str
    requests: tuple[Request, ...] = ()
    evidence: Evidence | None = None
    outlook: Outlook | None = None
    has: float = np.inf


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
        wanted = min(next(look for look in LOOKS if look > have) - have, max(found.left, 0))
        requests = fresh_requests(view.samples, view.space.parse(candidate), wanted, view.study_seed)
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
        barred = {e.key for e in evidence if e.fallen} | untrainable(view.samples)
        known = sorted({*view.samples.keys, *view.pending})
        rows = rows_of(view.X, view.space.matrix([view.space.parse(key) for key in known]))
        places = {key: int(row) for key, row in zip(known, rows, strict=True) if row >= 0}
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
        levels = [view.target, view.target + margin]
        walk = Walk.of(view.model, view.space.filled(view.X), view.cost, levels, ceiling=has)
        belief = walk.belief(of=0, always=trained).without(out)
        if best is None:
            sure = (belief.precision >= view.target).mean(axis=0) >= view.confidence
            has = float(belief.cost[sure].min(initial=np.inf))
        said = outlook(belief, view.target, has, view.tolerance) if np.isfinite(has) else None
        return cls(view, evidence, best, walk, belief, trained, out, left, margin, has, said)

    @property
    def ceiling(self) -> float:
        """Cost of what is proved; beyond that of the dearest where nothing is."""
        return self.has if self.best is not None else float(self.view.cost.max()) * np.e

    def to_explore(self) -> Rows:
        """Rows to train, at most one a worker; none when exploring has little to give, or had its share."""
        view = self.view
        # kept for proofs: a part of the budget for the first one, for a further one what it takes at most
        spare = self.left - (view.budget // _KEPT if self.best is None else MOST_SEEDS)
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
        belief = self.walk.belief(of=1, always=self.trained).without(self.barred)
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
        return view.key(int(row))

    def why(self, row: int) -> str:
        """Why to train this row, and how things stand."""
        place = int(np.flatnonzero(self.belief.rows == row)[0])
        likely = float((self.belief.precision[:, place] >= self.view.target).mean())
        return f"{self.view.key(row)} is {likely:.0%} likely to reach the target; {self.state}"

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

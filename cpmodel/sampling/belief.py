"""What a fitted model believes of the candidates that matter: many truths, each as likely as the others.

Neighbours are wrong together, so that probabilities of single configurations do not tell how cheap the
cheapest one that reaches a target is. Draws of all candidates at once do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from cpmodel.errors import BadInputError
from cpmodel.space import Floats
from cpmodel.surrogates.predictive import Predictive

Rows = NDArray[np.int64]

# Candidates that are drawn together, and draws of them
CANDIDATES, DRAWS = 400, 512
# Added to the correlations, so that those of near twins can be factored
_JITTER = 1e-6


class JointModel(Protocol):
    """What is needed of a precision model; X as `Space.filled` gives it (raw values, no NaN)."""

    def predictive(self, X: Floats, /) -> Predictive:
        """The law of the precision of each row."""

    def covariance(self, X: Floats, /) -> Floats:
        """Covariance between the precisions of the rows, shape (n, n)."""


@dataclass(frozen=True, eq=False)
class Belief:
    """Equally likely truths about the candidates that matter.

    Parameters
    ----------
    rows : shape (m,)
        Of the table of configurations; distinct, ascending.
    cost : shape (m,)
        Complexity, above 0.
    precision : shape (draws, m), fractions in [0, 1]
        Mean over seeds of each candidate in each draw.
    """

    rows: Rows
    cost: Floats
    precision: Floats

    def among(self, rows: Sequence[int] | Rows) -> NDArray[np.bool_]:
        """Which candidates are among these rows of the table, shape (m,)."""
        return np.isin(self.rows, np.asarray(rows, dtype=np.int64))

    def cheapest(self, target: float, of: NDArray[np.bool_] | None = None) -> Floats:
        """Least cost that reaches the target in each draw, infinite where none does; shape (draws,).

        Parameters
        ----------
        of : shape (m,), optional
            The candidates to look at; all unless given.
        """
        at = slice(None) if of is None else of
        paid = np.where(self.precision[:, at] >= target, self.cost[at], np.inf)
        return np.asarray(paid.min(axis=1, initial=np.inf))

    @classmethod
    def of(
        cls,
        model: JointModel,
        X: Floats,
        cost: Floats,
        targets: float | Sequence[float],
        *,
        ceiling: float = np.inf,
        always: Sequence[int] | Rows = (),
        candidates: int = CANDIDATES,
        draws: int = DRAWS,
        seed: int = 0,
    ) -> Belief:
        """What a fitted model believes; the same arguments give the same belief.

        Parameters
        ----------
        X : shape (n, d)
            Every configuration that may be chosen, as the model sees it.
        cost : shape (n,), above 0
        targets : fraction in [0, 1], or several
            What matters is decided for each of them.
        ceiling : float
            What costs as much or more cannot matter.
        always : rows that are candidates whatever the model says (those trained)
        candidates : int
            How many of the others, at most, a target: those with the largest probability of reaching it times
            the logarithm of the saving.
        seed : int
            Of the draws.

        Raises
        ------
        BadInputError
            No configuration, or not one cost above 0 for each.
        """
        if not len(X) or cost.shape != (len(X),) or not np.all(cost > 0):
            raise BadInputError("candidates", expected="one cost above 0 for each of one or more rows of X")
        rows = [np.asarray(always, dtype=np.int64)]
        below = np.flatnonzero(cost < ceiling)
        if len(below):
            law = model.predictive(X[below])
            saving = np.log(min(ceiling, float(cost.max()) * np.e) / cost[below])
            for target in np.atleast_1d(np.asarray(targets, dtype=np.float64)):
                order = np.argsort(-law.probability(float(target)) * saving, kind="stable")
                rows.append(below[order[:candidates]])
        kept = np.unique(np.concatenate(rows)).astype(np.int64)
        return cls(kept, cost[kept], drawn(model, X[kept], draws, seed))


def drawn(model: JointModel, X: Floats, draws: int, seed: int) -> Floats:
    """Precision of the rows of X, all at once, in each of the draws; shape (draws, n).

    Notes
    -----
    Each row's law is the model's own, Student's t; that rows go together is from the model's covariance
    (the same draw of the tails for all rows: a multivariate t).
    """
    law, covariance = model.predictive(X), model.covariance(X)
    std = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    correlation = covariance / np.multiply.outer(std, std)
    np.fill_diagonal(correlation, 1.0 + _JITTER)
    rng = np.random.default_rng(seed)
    vary = rng.standard_normal((draws, len(X))) @ linalg.cholesky(correlation, lower=True).T
    if np.isfinite(law.freedom):
        vary /= np.sqrt(rng.chisquare(law.freedom, (draws, 1)) / law.freedom)
    # precision falls with the error: the same draw must lift it on every scale
    return law.link.inverse(law.location + law.link.sign * law.scale * vary)

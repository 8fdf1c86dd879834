"""Does the choice reach the target? An interval over seeds and images, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cpmodel.errors import BadInputError
from cpmodel.space import Value

Outcome = Literal["reached", "missed", "undecided"]


@dataclass(frozen=True)
class Interval:
    """A mean precision and where the true one lies.

    Parameters
    ----------
    mean, low, high : float
        Fractions in [0, 1].
    level : float
        Two-sided confidence level.
    seed_sd : float
        Standard deviation between seeds beyond what the finite images explain; NaN with one seed.
    freedom : float
        Degrees of freedom of the interval.
    """

    mean: float
    low: float
    high: float
    level: float
    seed_sd: float
    freedom: float


def precision_interval(
    correct: NDArray[np.bool_], *, level: float = 0.95, groups: NDArray[np.int64] | None = None
) -> Interval:
    """The mean precision over seeds and images, with an interval for both being a sample.

    Var(mean) = V_images + max(0, MS_seeds - MS_residual) / (n N): two crossed random effects, the images'
    part from the means over seeds, by group. The interval is Wilson's with the effective number of
    independent images p(1 - p) / Var and Student's quantile at Satterthwaite's degrees of freedom.

    Parameters
    ----------
    correct : shape (n seeds, N images)
        Whether each network classified each image rightly.
    groups : shape (N,), optional
        Images of one group (a person) count as one observation.

    Notes
    -----
    Searle, Casella, McCulloch: Variance Components (1992), ch. 4; Wilson (1927). With one seed the interval
    covers the images alone.
    """
    table = np.asarray(correct, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise BadInputError("correct", expected="shape (seeds, images), both at least 1", got=table.shape)
    n, images = table.shape
    mean = float(table.mean())
    by_image, by_seed = table.mean(axis=0), table.mean(axis=1)
    labels = np.arange(images) if groups is None else np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(labels, weights=by_image - mean)
    clusters = len(sums)
    image_part = clusters / max(clusters - 1, 1) * float((sums**2).sum()) / images**2
    seed_part, seed_sd, freedom = 0.0, float("nan"), float(max(clusters - 1, 1))
    if n > 1:
        residual = table - by_image - by_seed[:, None] + mean
        ms_residual = float((residual**2).sum()) / max((n - 1) * (images - 1), 1)
        ms_seeds = images * float(by_seed.var(ddof=1))
        seed_part = max(0.0, ms_seeds - ms_residual) / (n * images)
        seed_sd = float(np.sqrt(seed_part * n))
        if image_part + seed_part > 0:
            # few seeds tell their mean square badly, also where it happens to come out small
            freedom = (image_part + seed_part) ** 2 / (
                image_part**2 / max(clusters - 1, 1) + (ms_seeds / (n * images)) ** 2 / (n - 1)
            )
    variance = image_part + seed_part
    # all right or all wrong: the spread says nothing, the number of independent observations still does
    effective = mean * (1 - mean) / variance if variance > 0 else float(clusters)
    t = float(stats.t.ppf((1 + level) / 2, freedom))
    centre = (mean + t**2 / (2 * effective)) / (1 + t**2 / effective)
    half = t / (1 + t**2 / effective) * np.sqrt(mean * (1 - mean) / effective + t**2 / (4 * effective**2))
    # rounding must not push the mean itself out of its interval
    low, high = min(mean, max(0.0, centre - half)), max(mean, min(1.0, centre + half))
    return Interval(mean, float(low), float(high), level, seed_sd, float(freedom))


def stands(precisions: Sequence[float], target: float, confidence: float) -> bool:
    """Whether fresh seeds support that the mean precision over seeds reaches the target.

    True when P(mean >= target | seeds) >= confidence, by Student's t with a flat prior; with confidence 0.5
    that is: when their mean reaches it.
    """
    return probability_of_reaching(precisions, target) >= confidence


def probability_of_reaching(precisions: Sequence[float], target: float) -> float:
    """P(mean over seeds >= target) from fresh seeds alone; 0, 0.5 or 1 when they do not differ at all."""
    values = np.asarray(precisions, dtype=np.float64)
    if len(values) < 2:
        raise BadInputError("fresh seeds", expected="two or more", got=len(values))
    error = float(values.std(ddof=1)) / np.sqrt(len(values))
    gap = float(values.mean()) - target
    if error == 0:
        return 1.0 if gap >= 0 else 0.0
    return float(stats.t.cdf(gap / error, len(values) - 1))


@dataclass(frozen=True)
class Verdict:
    """The proof for one configuration: fresh seeds on validation, then the test split, opened once.

    Parameters
    ----------
    status : {"reached", "missed", "undecided"}
        The interval of the test precision lies above the target, below it, or around it.
    configuration, key
        What was verified.
    target : float
    seeds : tuple of int
    validation, test : tuple of float
        Precision of each seed's network on each split.
    interval : Interval
        Of the test precision, over seeds and images.
    test_images : int
    groups : int or None
        Independent groups among them, where there are groups.
    exported_seed : int
        The seed best on validation, whose weights are exported.
    """

    status: Outcome
    configuration: Mapping[str, Value]
    key: str
    target: float
    seeds: tuple[int, ...]
    validation: tuple[float, ...]
    test: tuple[float, ...]
    interval: Interval
    test_images: int
    groups: int | None
    exported_seed: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_dict` described."""
        tuples = {name: tuple(fields[name]) for name in ("seeds", "validation", "test")}
        return cls(**{**fields, **tuples, "interval": Interval(**fields["interval"])})


def judge(
    configuration: Mapping[str, Value],
    key: str,
    target: float,
    *,
    seeds: Sequence[int],
    validation: Sequence[float],
    correct: NDArray[np.bool_],
    groups: NDArray[np.int64] | None = None,
    level: float = 0.95,
) -> Verdict:
    """The verdict on a frozen choice.

    Parameters
    ----------
    validation : one precision a seed
    correct : shape (seeds, images)
        Of the test split.
    """
    interval = precision_interval(correct, level=level, groups=groups)
    status: Outcome = (
        "reached" if interval.low >= target else "missed" if interval.high < target else "undecided"
    )
    return Verdict(
        status,
        configuration,
        key,
        target,
        tuple(seeds),
        tuple(validation),
        tuple(float(p) for p in correct.mean(axis=1)),
        interval,
        int(correct.shape[1]),
        None if groups is None else len(np.unique(groups)),
        int(seeds[int(np.argmax(validation))]),
    )

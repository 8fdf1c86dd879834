"""Does the choice reach the target? Intervals over seeds and images, and a verdict.

A study states one error for all that it claims of its test split. Whenever networks are put to that split,
opening i may err with probability error * 6 / (pi^2 i^2); these sum to `error` however many there are, so
that asking again and again proves nothing that was not so. An interval holds for every target at once:
another target for networks whose interval is known spends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import pi
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cpmodel.errors import BadInputError
from cpmodel.space import Floats, Value

Outcome = Literal["reached", "missed", "undecided"]

ERROR = 0.05  # the stated error of a study: all claims about its test split together


def error_of_opening(number: int, error: float = ERROR) -> float:
    """The part of the stated error that opening `number` of the test split may spend: error 6 / (pi n)^2.

    >>> [round(error_of_opening(n), 4) for n in (1, 2, 3)]
    [0.0304, 0.0076, 0.0034]
    """
    if number < 1:
        raise BadInputError("opening", expected="1 or more", got=number)
    return error * 6 / (pi * number) ** 2


@dataclass(frozen=True)
class Interval:
    """A mean and where the true one lies.

    Parameters
    ----------
    mean, low, high : float
        Precisions in [0, 1], or differences of two in [-1, 1].
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


@dataclass(frozen=True)
class _Part:
    """One source of variance of a mean: what it adds, and how well that is known.

    `bound` is its mean square before what another source explains is taken off: a few seeds tell their
    spread badly, also where it happens to come out small.
    """

    variance: float
    bound: float
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
    table = _table("correct", correct)
    mean = float(table.mean())
    labels, clusters = _labels(table.shape[1], groups)
    sums = np.bincount(labels, weights=table.mean(axis=0) - mean).astype(np.float64)
    parts = [_images(sums, table.shape[1]), *_seeds(table)]
    variance, freedom = _combined(parts)
    # all right or all wrong: the spread says nothing, the number of independent observations still does
    effective = mean * (1 - mean) / variance if variance > 0 else float(clusters)
    t = float(stats.t.ppf((1 + level) / 2, freedom))
    centre = (mean + t**2 / (2 * effective)) / (1 + t**2 / effective)
    half = t / (1 + t**2 / effective) * np.sqrt(mean * (1 - mean) / effective + t**2 / (4 * effective**2))
    # rounding must not push the mean itself out of its interval
    low, high = min(mean, max(0.0, centre - half)), max(mean, min(1.0, centre + half))
    return Interval(mean, float(low), float(high), level, _seed_sd(table), freedom)


def difference_interval(
    correct: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    *,
    level: float = 0.95,
    groups: NDArray[np.int64] | None = None,
) -> Interval:
    """Mean precision of one configuration minus another's on the same images, over seeds and images.

    Each image is its own control: Var(D) = V_images + V_seeds + V_seeds of the reference, the first from the
    differences of the two means over seeds, by group, the others as in `precision_interval`. Two made-up
    images, one won and one lost, keep it honest where few images tell the two apart.

    Parameters
    ----------
    correct, reference : shape (n seeds, N images), (m seeds, N images)
        Of the configuration and of the one that it is compared with; the seeds need not be as many.
    groups : shape (N,), optional
        Images of one group count as one observation.

    Returns
    -------
    Interval
        Of the difference, in [-1, 1]; `seed_sd` is that of the configuration.

    Notes
    -----
    Bonett and Price, J. Educ. Behav. Stat. 37 (2012), whose interval it is with one seed each, but for
    Student's quantile; Searle, Casella, McCulloch (1992), ch. 4, for the seeds.
    """
    first, second = _table("correct", correct), _table("reference", reference)
    images = first.shape[1]
    if second.shape[1] != images:
        raise BadInputError("reference", expected=f"the same {images} images", got=second.shape[1])
    gain = first.mean(axis=0) - second.mean(axis=0)
    mean = float(gain.mean())
    labels, clusters = _labels(images, groups)
    size = images / clusters  # a made-up group is as large as the others are
    whole = images + 2 * size
    centre = float(gain.sum()) / whole
    sums = np.bincount(labels, weights=gain - centre)
    parts = [
        _images(np.append(sums, [size * (1 - centre), size * (-1 - centre)]), whole),
        *_seeds(first),
        *_seeds(second),
    ]
    variance, freedom = _combined(parts)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * np.sqrt(variance)
    low, high = min(mean, max(-1.0, centre - half)), max(mean, min(1.0, centre + half))
    return Interval(mean, float(low), float(high), level, _seed_sd(first), freedom)


def _table(name: str, correct: NDArray[np.bool_]) -> Floats:
    table = np.asarray(correct, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise BadInputError(name, expected="shape (seeds, images), both at least 1", got=table.shape)
    return table


def _labels(images: int, groups: NDArray[np.int64] | None) -> tuple[NDArray[np.int64], int]:
    """The group of each image, numbered from 0, and how many there are."""
    labels = np.arange(images) if groups is None else np.unique(groups, return_inverse=True)[1]
    return labels, int(labels.max()) + 1


def _images(sums: Floats, images: float) -> _Part:
    """The part of the images, from the sum over each group of what lies above the mean."""
    clusters = len(sums)
    variance = clusters / max(clusters - 1, 1) * float((sums**2).sum()) / images**2
    return _Part(variance, variance, float(max(clusters - 1, 1)))


def _seeds(table: Floats) -> list[_Part]:
    """The part of the seeds, where there are several: max(0, MS_seeds - MS_residual) / (n N)."""
    n, images = table.shape
    if n < 2:
        return []
    by_image, by_seed = table.mean(axis=0), table.mean(axis=1)
    residual = table - by_image - by_seed[:, None] + table.mean()
    ms_residual = float((residual**2).sum()) / max((n - 1) * (images - 1), 1)
    ms_seeds = images * float(by_seed.var(ddof=1))
    return [_Part(max(0.0, ms_seeds - ms_residual) / (n * images), ms_seeds / (n * images), n - 1.0)]


def _seed_sd(table: Floats) -> float:
    parts = _seeds(table)
    return float(np.sqrt(parts[0].variance * len(table))) if parts else float("nan")


def _combined(parts: Sequence[_Part]) -> tuple[float, float]:
    """The sum of the variances and its degrees of freedom by Satterthwaite."""
    variance = sum(part.variance for part in parts)
    doubt = sum(part.bound**2 / part.freedom for part in parts)
    return variance, variance**2 / doubt if variance > 0 else parts[0].freedom


@dataclass(frozen=True)
class Comparison:
    """The answer against the baseline's own networks on the same test images.

    Parameters
    ----------
    key : str
        Of the baseline.
    drop : float
        How far below the baseline the answer may lie, fraction.
    seeds : tuple of int
    validation, test : tuple of float
        Precision of each of the baseline's networks on each split.
    difference : Interval
        Of precision(answer) - precision(baseline).
    """

    key: str
    drop: float
    seeds: tuple[int, ...]
    validation: tuple[float, ...]
    test: tuple[float, ...]
    difference: Interval


@dataclass(frozen=True)
class Verdict:
    """The proof for one configuration: fresh seeds on validation, then the test split.

    Parameters
    ----------
    status : {"reached", "missed", "undecided"}
        The interval lies above the target, below it, or around it: that of the test precision, or with a
        drop that of the difference to the baseline.
    configuration, key
        What was verified.
    target : float
        With a drop: the baseline's mean validation precision less the drop.
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
    opening : int
        Which opening of the study's test split this is, counted from 1.
    error : float
        The stated error of the study, of which this opening spends 1 - `interval.level`.
    comparison : Comparison or None
        Where the target was given as a drop.
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
    opening: int = 1
    error: float = ERROR
    comparison: Comparison | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready fields."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Verdict:
        """The verdict that `to_dict` described."""
        tuples = {name: tuple(fields[name]) for name in ("seeds", "validation", "test")}
        comparison = fields["comparison"]
        if comparison is not None:
            pairs = {name: tuple(comparison[name]) for name in ("seeds", "validation", "test")}
            difference = Interval(**comparison["difference"])
            comparison = Comparison(**{**comparison, **pairs, "difference": difference})
        interval = Interval(**fields["interval"])
        return cls(**{**fields, **tuples, "interval": interval, "comparison": comparison})

    def judged(self, target: float, drop: float | None = None) -> Verdict:
        """The same measurements, judged by another target (and drop, where there is a comparison).

        Raises
        ------
        BadInputError
            A drop without a comparison, or a comparison without a drop.
        """
        if (drop is None) != (self.comparison is None):
            expected = "none" if drop is not None else "one, for a comparison"
            raise BadInputError("drop", expected=expected, got=drop)
        comparison = self.comparison
        if comparison is not None and drop is not None:
            comparison = replace(comparison, drop=drop)
            status = _status(comparison.difference, -drop)
        else:
            status = _status(self.interval, target)
        return replace(self, target=target, comparison=comparison, status=status)


def _status(interval: Interval, bar: float) -> Outcome:
    return "reached" if interval.low >= bar else "missed" if interval.high < bar else "undecided"


def judge(
    configuration: Mapping[str, Value],
    key: str,
    target: float,
    *,
    seeds: Sequence[int],
    validation: Sequence[float],
    correct: NDArray[np.bool_],
    groups: NDArray[np.int64] | None = None,
    opening: int = 1,
    error: float = ERROR,
    comparison: Comparison | None = None,
) -> Verdict:
    """The verdict on a frozen choice.

    Parameters
    ----------
    validation : one precision a seed
    correct : shape (seeds, images)
        Of the test split.
    opening, error
        See the head of the module: they make the level of the intervals.
    comparison : Comparison, optional
        From `compared`, at the same opening: it decides then.
    """
    interval = precision_interval(correct, level=1 - error_of_opening(opening, error), groups=groups)
    verdict = Verdict(
        "undecided",
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
        opening,
        error,
        comparison,
    )
    return verdict.judged(target, None if comparison is None else comparison.drop)


def compared(
    key: str,
    drop: float,
    *,
    seeds: Sequence[int],
    validation: Sequence[float],
    correct: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    groups: NDArray[np.int64] | None = None,
    opening: int = 1,
    error: float = ERROR,
) -> Comparison:
    """A configuration's networks against the baseline's, on the same test images.

    Parameters
    ----------
    key, seeds, validation
        Of the baseline.
    correct, reference : shape (seeds, images), (baseline's seeds, images)
    """
    level = 1 - error_of_opening(opening, error)
    difference = difference_interval(correct, reference, level=level, groups=groups)
    test = tuple(float(p) for p in reference.mean(axis=1))
    return Comparison(key, drop, tuple(seeds), tuple(validation), test, difference)

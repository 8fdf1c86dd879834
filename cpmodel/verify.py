"""Does the choice reach the target? Intervals over seeds and images, and a verdict.

A study states one error for all that it claims of test images. Whenever networks are put to a test split,
opening i of the study may err with probability error * 6 / (pi^2 i^2); these sum to `error` however many
there are, so that asking again and again proves nothing that was not so. An interval holds for every target
at once: another target for networks whose interval is known spends nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import pi
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from cpmodel.errors import BadInputError
from cpmodel.metrics import Labels, effective_images, mean
from cpmodel.space import Floats, Value

Outcome = Literal["reached", "missed", "undecided"]

ERROR = 0.05  # the stated error of a study: all claims about test images together


def error_of_opening(number: int, error: float = ERROR) -> float:
    """The part of the stated error that opening `number` of a study may spend: error 6 / (pi n)^2.

    >>> [round(error_of_opening(n), 4) for n in (1, 2, 3)]
    [0.0304, 0.0076, 0.0034]
    """
    if number < 1:
        raise BadInputError("opening", expected="1 or more", got=number)
    return error * 6 / (pi * number) ** 2


@dataclass(frozen=True)
class Interval:
    """A mean and where the true one lies: precisions in [0, 1], or differences of two in [-1, 1]."""

    mean: float
    low: float
    high: float
    level: float  # two-sided confidence level
    seed_sd: float  # between seeds beyond what the finite images explain; NaN with one seed
    freedom: float  # degrees of freedom
    image_sd: float = float("nan")  # of the mean, by the images alone; NaN where an older version measured it


def precision_interval(
    values: ArrayLike, *, level: float = 0.95, groups: Labels | None = None, strata: Labels | None = None
) -> Interval:
    """The mean precision over seeds and images, with an interval for both being a sample.

    Var(mean) = V_images + max(0, MS_seeds - MS_residual) / (n N): two crossed random effects, the images'
    part from the means over seeds, by group. The interval is Wilson's with the effective number of
    independent images p(1 - p) / Var and Student's quantile at Satterthwaite's degrees of freedom. The images
    of each of K strata are a sample of their own, whose part counts 1 / K^2; see `difference_interval` for
    the two made-up images that K strata share.

    Parameters
    ----------
    values : shape (n seeds, N images), in [0, 1]
        What each image adds to the precision of each network: for accuracy whether it is classified rightly.
    groups : shape (N,), optional
        Images of one group (a person) count as one observation.
    strata : shape (N,), optional
        The precision is the mean over strata of the mean in each.

    Notes
    -----
    Searle, Casella, McCulloch: Variance Components (1992), ch. 4; Wilson (1927); Cochran: Sampling Techniques
    (1977), ch. 5, for strata. With one seed the interval covers the images alone.
    """
    table = _table("values", values)
    parted = _strata(table.shape[1], groups, strata)
    # Wilson's formula itself is honest about one stratum that is all right or all wrong
    _, by_images = _images(table, parted, lowest=0.0 if len(parted) > 1 else None)
    seeds = _seeds(table, parted)
    variance, freedom = _combined([*by_images, *seeds])
    mean = _mean(table, parted)
    # all right or all wrong: the spread says nothing, the number of independent observations still does
    independent = effective_images([s.clusters for s in parted])
    effective = mean * (1 - mean) / variance if variance > 0 and 0 < mean < 1 else independent
    t = float(stats.t.ppf((1 + level) / 2, freedom))
    centre = (mean + t**2 / (2 * effective)) / (1 + t**2 / effective)
    half = t / (1 + t**2 / effective) * np.sqrt(mean * (1 - mean) / effective + t**2 / (4 * effective**2))
    # rounding must not push the mean itself out of its interval
    low, high = min(mean, max(0.0, centre - half)), max(mean, min(1.0, centre + half))
    return Interval(mean, float(low), float(high), level, _seed_sd(seeds), freedom, _sd(by_images))


def difference_interval(
    values: ArrayLike,
    reference: ArrayLike,
    *,
    level: float = 0.95,
    groups: Labels | None = None,
    strata: Labels | None = None,
) -> Interval:
    """Mean precision of one configuration minus another's on the same images, over seeds and images.

    Each image is its own control: Var(D) = V_images + V_seeds + V_seeds of the reference, the first from the
    differences of the two means over seeds, by group, the others as in `precision_interval`. Two made-up
    images, one won and one lost, keep it honest where few images tell the two apart; K strata share them.
    The seeds of the two need not be as many; the interval's `seed_sd` is that of the first.

    Notes
    -----
    Bonett and Price, J. Educ. Behav. Stat. 37 (2012), whose interval it is with one seed each, but for
    Student's quantile; Price and Bonett, Comput. Stat. Data Anal. 45 (2004), for strata; Searle, Casella,
    McCulloch (1992), ch. 4, for the seeds.
    """
    first, second = _table("values", values), _table("reference", reference)
    if second.shape[1] != first.shape[1]:
        raise BadInputError("reference", expected=f"the same {first.shape[1]} images", got=second.shape[1])
    parted = _strata(first.shape[1], groups, strata)
    gain = (first.mean(axis=0) - second.mean(axis=0))[None]
    centre, by_images = _images(gain, parted, lowest=-1.0)
    seeds = _seeds(first, parted)
    variance, freedom = _combined([*by_images, *seeds, *_seeds(second, parted)])
    mean = _mean(gain, parted)
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * np.sqrt(variance)
    low, high = min(mean, max(-1.0, centre - half)), max(mean, min(1.0, centre + half))
    return Interval(mean, float(low), float(high), level, _seed_sd(seeds), freedom, _sd(by_images))


@dataclass(frozen=True)
class _Part:
    """One source of variance of a mean: what it adds, and how well that is known.

    `bound` is its mean square before what another source explains is taken off: a few seeds tell their
    spread badly, also where it happens to come out small.
    """

    variance: float
    bound: float
    freedom: float


@dataclass(frozen=True, eq=False)
class _Stratum:
    """The columns of one stratum, and the group of each: its number among all, and among those there."""

    columns: slice | Labels
    groups: Labels
    members: Labels

    @property
    def clusters(self) -> int:
        """Groups that are there."""
        return int(self.members.max()) + 1


def _table(name: str, values: ArrayLike) -> Floats:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise BadInputError(name, expected="shape (seeds, images), both at least 1", got=table.shape)
    if not np.all((table >= 0) & (table <= 1)):
        raise BadInputError(name, expected="values in [0, 1]", got=f"{table.min():g} to {table.max():g}")
    return table


def _strata(images: int, groups: Labels | None, strata: Labels | None) -> list[_Stratum]:
    for name, given in (("groups", groups), ("strata", strata)):
        if given is not None and np.shape(given) != (images,):
            raise BadInputError(name, expected=f"one number for each of {images} images", got=np.shape(given))
    numbers = np.arange(images) if groups is None else np.unique(groups, return_inverse=True)[1]
    if strata is None:
        return [_Stratum(slice(None), numbers, numbers)]
    found = []
    for one in np.unique(strata):
        columns = np.flatnonzero(strata == one)
        members = np.unique(numbers[columns], return_inverse=True)[1]
        found.append(_Stratum(columns, numbers[columns], members))
    return found


def _mean(table: Floats, strata: Sequence[_Stratum]) -> float:
    return float(np.mean([table[:, s.columns].mean() for s in strata]))


def _images(
    table: Floats, strata: Sequence[_Stratum], lowest: float | None = None
) -> tuple[float, list[_Part]]:
    """The mean, shrunken by made-up groups, and the part of the images of each stratum.

    The values of the made-up groups are `lowest` and 1; without it there are none.
    """
    n_strata, mean, by_image = len(strata), _mean(table, strata), table.mean(axis=0)
    everywhere = np.zeros(max(int(s.groups.max()) for s in strata) + 1)  # the sum of each group over strata
    made_up = 0.0 if lowest is None else 2 / n_strata
    centres, parts, apart = [], [], 0.0
    for s in strata:
        values = by_image[s.columns]
        size = len(values) / s.clusters  # a made-up group is as large as the others are
        whole = len(values) + made_up * size
        if lowest is None:
            centre = float(table[:, s.columns].mean())
        else:
            centre = (float(values.sum()) + made_up / 2 * size * (1 + lowest)) / whole
        # a group that is alone in its stratum tells nothing of the spread there; all strata together do
        about = mean if s.clusters == 1 and n_strata > 1 else centre
        squares = np.bincount(s.members, weights=values - about) ** 2
        if lowest is not None:
            squares = np.append(squares, made_up / 2 * (size * (np.array([1.0, lowest]) - about)) ** 2)
        clusters = s.clusters + made_up
        factor, freedom = clusters / max(clusters - 1, 1), float(max(clusters - 1, 1))
        variance = factor * float(squares.sum()) / whole**2 / n_strata**2
        centres.append(centre)
        parts.append(_Part(variance, variance, freedom))
        sums = np.bincount(s.groups, weights=values - about, minlength=len(everywhere))
        sums *= np.sqrt(factor) / whole / n_strata
        everywhere += sums
        apart += float(sums @ sums)
    if sum(s.clusters for s in strata) > len(everywhere):  # groups of several strata: what those share
        common = float(everywhere @ everywhere) - apart
        parts.append(_Part(common, common, float(max(len(everywhere) - 1, 1))))
    return float(np.mean(centres)), parts


def _seeds(table: Floats, strata: Sequence[_Stratum]) -> list[_Part]:
    """The part of the seeds, where there are several: max(0, MS_seeds - MS_residual) / (n N)."""
    n, images = table.shape
    if n < 2:
        return []
    ms_residual = 0.0
    for s in strata:
        part = table[:, s.columns]
        residual = part - part.mean(axis=0) - part.mean(axis=1)[:, None] + part.mean()
        weight = images / (len(strata) ** 2 * part.shape[1])
        ms_residual += weight * (float((residual**2).sum()) / max((n - 1) * (part.shape[1] - 1), 1))
    by_seed = np.mean([table[:, s.columns].mean(axis=1) for s in strata], axis=0)
    ms_seeds = images * float(by_seed.var(ddof=1))
    return [_Part(max(0.0, ms_seeds - ms_residual) / (n * images), ms_seeds / (n * images), n - 1.0)]


def _sd(parts: Sequence[_Part]) -> float:
    return float(np.sqrt(max(0.0, sum(part.variance for part in parts))))


def _seed_sd(parts: Sequence[_Part]) -> float:
    return float(np.sqrt(parts[0].variance * (parts[0].freedom + 1))) if parts else float("nan")


def _combined(parts: Sequence[_Part]) -> tuple[float, float]:
    """The sum of the variances and its degrees of freedom by Satterthwaite."""
    variance = sum(part.variance for part in parts)
    doubt = sum(part.bound**2 / part.freedom for part in parts)
    return variance, variance**2 / doubt if variance > 0 else parts[0].freedom


@dataclass(frozen=True)
class Networks:
    """Trained networks of one configuration whose weights are kept, with their validation precisions."""

    key: str
    configuration: Mapping[str, Value]
    seeds: tuple[int, ...]
    validation: tuple[float, ...]

    def __str__(self) -> str:
        return f"{self.key} seeds={','.join(map(str, self.seeds))}"


@dataclass(frozen=True, eq=False)
class Opened:
    """What is known of the test images before networks are put to them."""

    groups: Labels | None = None  # as in `precision_interval`
    strata: Labels | None = None
    opening: int = 1  # with the stated error it makes the level of the intervals
    error: float = ERROR

    @property
    def kwargs(self) -> dict[str, Any]:
        """What both intervals take."""
        level = 1 - error_of_opening(self.opening, self.error)
        return {"level": level, "groups": self.groups, "strata": self.strata}

    def precisions(self, values: Floats) -> tuple[float, ...]:
        """Of each network, from values of shape (seeds, N)."""
        return tuple(mean(row, self.strata) for row in np.asarray(values, dtype=np.float64))


@dataclass(frozen=True)
class Comparison:
    """The answer against the baseline's own networks, of `key` and `seeds`, on the same test images."""

    key: str
    drop: float  # how far below the baseline the answer may lie, fraction
    seeds: tuple[int, ...]
    validation: tuple[float, ...]  # precision of each of the baseline's networks on each split
    test: tuple[float, ...]
    difference: Interval  # of precision(answer) - precision(baseline)


@dataclass(frozen=True)
class Verdict:
    """The proof for one configuration: fresh seeds on validation, then the test split.

    Parameters
    ----------
    status : {"reached", "missed", "undecided"}
        The interval lies above the target, below it, or around it: that of the test precision, or with a
        drop that of the difference to the baseline.
    target : float
        With a drop: the baseline's mean validation precision less the drop.
    validation, test : tuple of float
        Precision of each seed's network on each split.
    interval : Interval
        Of the test precision, over seeds and images.
    groups : int or None
        Independent groups among them, where there are groups.
    exported_seed : int
        The seed best on validation, whose weights are exported.
    opening : int
        Which opening of the study this is, counted from 1 over all its test splits.
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
    opening: int
    error: float
    comparison: Comparison | None = None

    def judged(self, target: float, drop: float | None = None) -> Verdict:
        """The same measurements, judged by another target (and drop, where there is a comparison)."""
        if (drop is None) != (self.comparison is None):
            expected = "none" if drop is not None else "one, for a comparison"
            raise BadInputError("drop", expected=expected, got=drop)
        comparison, interval, bar = self.comparison, self.interval, target
        if comparison is not None and drop is not None:
            comparison = replace(comparison, drop=drop)
            interval, bar = comparison.difference, -drop
        missed: Outcome = "missed" if interval.high < bar else "undecided"
        status: Outcome = "reached" if interval.low >= bar else missed
        return replace(self, target=target, comparison=comparison, status=status)


def judge(
    networks: Networks,
    target: float,
    values: Floats,
    opened: Opened = Opened(),
    comparison: Comparison | None = None,
) -> Verdict:
    """The verdict on a frozen choice by values of shape (seeds, N); a comparison, if any, decides."""
    verdict = Verdict(
        status="undecided",
        **vars(networks),
        target=target,
        test=opened.precisions(values),
        interval=precision_interval(values, **opened.kwargs),
        test_images=int(np.shape(values)[1]),
        groups=None if opened.groups is None else len(np.unique(opened.groups)),
        exported_seed=int(networks.seeds[int(np.argmax(networks.validation))]),
        opening=opened.opening,
        error=opened.error,
        comparison=comparison,
    )
    return verdict.judged(target, None if comparison is None else comparison.drop)


def compared(
    baseline: Networks, drop: float, values: Floats, reference: Floats, opened: Opened = Opened()
) -> Comparison:
    """A configuration's networks against the baseline's (`reference`), on the same test images."""
    difference = difference_interval(values, reference, **opened.kwargs)
    test = opened.precisions(reference)
    return Comparison(baseline.key, drop, baseline.seeds, baseline.validation, test, difference)

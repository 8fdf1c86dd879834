"""What a proof takes: how many test images, or how far above the target a precision must lie."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from cpmodel.errors import BadInputError
from cpmodel.verify import Verdict, error_of_opening

POWER = 0.8
_MOST = 1e4  # times as many images as there were: more are as good as none


@dataclass(frozen=True)
class Needed:
    """What would decide a verdict at the next opening, with a given power.

    Parameters
    ----------
    images : new test images for the same networks, if their precision is what it seems; None where no number
        would do, since its seeds differ too much
    margin : how far above the target (with a drop: above what is allowed) a precision must lie to be proved
        on as many images as there were, fraction
    power : the probability of a decision
    """

    images: int | None
    margin: float
    power: float


def needed(verdict: Verdict, power: float = POWER) -> Needed:
    """What would decide a verdict: more test images, or a better network.

    Notes
    -----
    Of the variance of the mean one part falls with the number of images, the other, of the seeds, does not;
    with it fall the degrees of freedom (Satterthwaite). A difference to the target is decided with the power
    asked where it is (t + z) standard deviations, t the quantile of the interval at the next opening, z that
    of the power.
    """
    if not 0.5 <= power < 1:
        raise BadInputError("power", expected="a fraction in [0.5, 1)", got=power)
    interval, bar = verdict.interval, verdict.target
    if verdict.comparison is not None:
        interval, bar = verdict.comparison.difference, -verdict.comparison.drop
    whole = ((interval.high - interval.low) / 2 / _quantile(interval.level, interval.freedom)) ** 2
    by_images = min(interval.image_sd**2, whole)
    by_seeds, seeds = whole - by_images, max(len(verdict.test) - 1, 1)
    # what the spread of the seeds is known by, chance of single images included
    bound = whole * float(np.sqrt(seeds / interval.freedom))
    level = 1 - error_of_opening(verdict.opening + 1, verdict.error)

    def apart(more: float) -> float:
        """The difference that is decided on so many times as many images."""
        variance = by_images / more + by_seeds
        told = by_seeds + max(bound - by_seeds, 0.0) / more
        freedom = seeds * (variance / told) ** 2 if told > 0 else np.inf
        t = _quantile(level, max(freedom, float(seeds)))
        return (t + float(stats.norm.ppf(power))) * float(np.sqrt(variance))

    gap, images = abs(interval.mean - bar), None
    if apart(_MOST) < gap <= apart(1 / _MOST):
        more = float(brentq(lambda log: apart(np.exp(log)) - gap, -np.log(_MOST), np.log(_MOST)))
        images = math.ceil(verdict.test_images * np.exp(more))
    return Needed(images, apart(1.0), power)


def _quantile(level: float, freedom: float) -> float:
    """Student's quantile of a two-sided interval."""
    return float(stats.t.ppf((1 + level) / 2, freedom))

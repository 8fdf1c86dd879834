"""What fresh seeds say of a configuration: evidence that it reaches the target, apart from any model."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cpmodel.records.sample import Purpose, Request
from cpmodel.samples import Samples
from cpmodel.space import Configuration, Floats

SEEDS_PER_STUDY = 10_000
# Numbers of a configuration's trainings from here on verify; no design uses them
FRESH_SEED = 1_000
LOOKS = (3, 5, 8, 12)
"""Numbers of fresh seeds after which a candidate is judged."""
LEAST_SEEDS, MOST_SEEDS = LOOKS[0], LOOKS[-1]

# Looking four times errs this many times as often as looking once (Pocock 1977, for 5 % on one side)
_LOOKING = 2.6
# A candidate less likely than this to stand after all looks is given up (scripts/bench/search.py)
_HOPELESS = 0.2


def training_seed(study_seed: int, number: int) -> int:
    """The seed of a configuration's training of that number; studies of other seeds share none."""
    return study_seed * SEEDS_PER_STUDY + number


@dataclass(frozen=True)
class Evidence:
    """What the fresh seeds of one configuration say.

    Parameters
    ----------
    seeds, precisions : of each fresh training that did not fail: validation precision
    probability : that the mean precision over seeds reaches the target
    asked : the probability asked of it, so that all candidates together err as seldom as was stated
    chance : that it will stand when all looks are done
    """

    key: str
    configuration: Configuration
    seeds: tuple[int, ...]
    precisions: tuple[float, ...]
    probability: float
    asked: float
    chance: float

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


def fresh_requests(
    samples: Samples, configuration: Configuration, count: int, study_seed: int
) -> tuple[Request, ...]:
    """So many further fresh trainings of a configuration, on the first fresh seeds that were not tried."""
    seeds = untried_seeds(samples, configuration, study_seed, FRESH_SEED)
    return tuple(Request(configuration, seed, Purpose.VERIFY) for seed in itertools.islice(seeds, count))


def untried_seeds(
    samples: Samples, configuration: Configuration, study_seed: int, first: int
) -> Iterator[int]:
    """The seeds of a configuration's further trainings, in order, from that of number `first` on."""
    key = samples.space.key(configuration)
    tried = {s for s, k in zip(samples.frame["seed"], samples.keys, strict=True) if k == key}
    seeds = (training_seed(study_seed, number) for number in itertools.count(first))
    return (seed for seed in seeds if seed not in tried)


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


def untrainable(samples: Samples) -> set[str]:
    """Configurations whose trainings failed more often than they succeeded."""
    balance: Counter[str] = Counter()
    for key, precision in zip(samples.keys, samples.precision, strict=True):
        balance[key] += -1 if np.isnan(precision) else 1
    return {key for key, count in balance.items() if count < 0}

"""What precision means: a value in [0, 1] for each image, and how the images of a split make one number.

A metric gives every image a value and, where classes or the like shall weigh the same, its stratum: P is the
mean over strata of the mean within each. So every metric has an interval over seeds and images. Inside the
product P is always better when it is higher; a metric of the other direction is turned at its edge (`inside`,
`shown`).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cpmodel import registry
from cpmodel.errors import BadInputError
from cpmodel.space import Floats

Labels = NDArray[np.int64]


class Metric(ABC):
    """A metric; a plug-in of the entry point group ``cpmodel.metrics`` names a class of this kind.

    Attributes
    ----------
    name : str
        The word of the command line.
    label : str
        In words, for people.
    unit : str
        ``%``: fractions are shown as percentages; anything else is printed beside the number.
    direction : {"higher", "lower"}
        Which values are better.
    """

    name: str
    label: str
    unit: str = "%"
    direction: Literal["higher", "lower"] = "higher"

    @abstractmethod
    def values(self, scores: Floats, labels: Labels) -> Floats:
        """The value of each image, shape (n,), in [0, 1].

        Parameters
        ----------
        scores : shape (n, classes)
            Logits.
        labels : shape (n,)
        """

    def strata(self, labels: Labels) -> Labels | None:
        """The stratum of each image, shape (n,); None where all images weigh the same."""
        del labels
        return None

    def images_told(self, labels: Labels) -> float:
        """Images that would tell a plain mean as well as these tell P, see `effective_images`."""
        strata = self.strata(labels)
        counts = [len(labels)] if strata is None else np.unique(strata, return_counts=True)[1]
        return effective_images(counts)

    def require(self, classes: int) -> None:
        """Refuse, by a `BadInputError`, a task of so many classes that the metric says nothing about it."""
        del classes

    def inside(self, value: float) -> float:
        """A value of the metric as P, which is better when it is higher."""
        return value if self.direction == "higher" else 1.0 - value

    def shown(self, precision: float) -> float:
        """P as a value of the metric."""
        return self.inside(precision)

    def precision_of(self, scores: Floats, labels: Labels) -> Floats:
        """What each image adds to P, shape (n,): its value, turned where lower is better."""
        values = np.asarray(self.values(scores, labels), dtype=np.float64)
        if values.shape != labels.shape or not np.all((values >= 0) & (values <= 1)):
            expected = f"{len(labels)} values in [0, 1], one an image"
            got = f"shape {values.shape}, from {values.min():g} to {values.max():g}"
            raise BadInputError(f"metric {self.name}", expected=expected, got=got)
        return values if self.direction == "higher" else 1.0 - values


class Accuracy(Metric):
    """The fraction of images that are classified rightly."""

    name = "accuracy"
    label = "precision"

    def values(self, scores: Floats, labels: Labels) -> Floats:
        """1 where the largest score is that of the label."""
        return np.asarray(scores.argmax(axis=1) == labels, dtype=np.float64)


class Balanced(Accuracy):
    """The mean over classes of the fraction that is classified rightly."""

    name = "balanced"
    label = "balanced accuracy"

    def strata(self, labels: Labels) -> Labels:
        """Classes weigh the same."""
        return labels


class TopK(Metric):
    """The fraction of images whose label is among the k largest scores."""

    def __init__(self, k: int = 5) -> None:
        self.k = k
        self.name = f"top{k}"
        self.label = f"top-{k} accuracy"

    def values(self, scores: Floats, labels: Labels) -> Floats:
        """1 where fewer than k scores are larger than that of the label; of equal ones the first counts."""
        own = scores[np.arange(len(labels)), labels][:, None]
        earlier = np.arange(scores.shape[1]) < labels[:, None]
        # a score that is no number is never among the largest
        rank = (~(scores <= own)).sum(axis=1) + ((scores == own) & earlier).sum(axis=1)
        return np.asarray((rank < self.k) & ~np.isnan(own[:, 0]), dtype=np.float64)

    def require(self, classes: int) -> None:
        """With k classes or fewer every image would be right."""
        if classes <= self.k:
            raise BadInputError(f"metric {self.name}", expected=f"more than {self.k} classes", got=classes)


def get_metric(name: str) -> Metric:
    """The metric of that name; ``top5``, ``top3``, ... for any k."""
    if match := re.fullmatch(r"top([1-9]\d?)", name):
        return TopK(int(match[1]))
    return registry.made("metrics", name, Metric)  # type: ignore[type-abstract]


def mean(values: Floats, strata: Labels | None = None) -> float:
    """P of a split: the mean over strata of the mean in each; the plain mean without strata."""
    if strata is None:
        return float(values.mean())
    _, place, counts = np.unique(strata, return_inverse=True, return_counts=True)
    return float((np.bincount(place, weights=values) / counts).mean())


def effective_images(counts: ArrayLike) -> float:
    """Images that tell a plain mean as well as strata of these sizes tell P: K^2 / sum 1 / n_s.

    >>> effective_images([40]), effective_images([30, 10])
    (40.0, 30.0)
    """
    sizes = np.asarray(counts, dtype=np.float64)
    return float(sizes[0]) if len(sizes) == 1 else float(len(sizes) ** 2 / np.sum(1.0 / sizes))


@dataclass(frozen=True)
class Figure:
    """A figure of a whole split that rides along with P; it needs no value for each image."""

    label: str
    unit: str
    of: Callable[[Floats, Labels], float]  # of scores, shape (n, classes), and labels, shape (n,)
    least_classes: int = 2  # with fewer it says nothing


def _mean_of(metric: Metric) -> Callable[[Floats, Labels], float]:
    return lambda scores, labels: mean(metric.values(scores, labels), metric.strata(labels))


def _nll(scores: Floats, labels: Labels) -> float:
    """Mean negative log likelihood of the labels, nats."""
    from scipy.special import logsumexp

    wide = scores.astype(np.float64)
    return float((logsumexp(wide, axis=1) - wide[np.arange(len(labels)), labels]).mean())


def _macro_f1(scores: Floats, labels: Labels) -> float:
    """Mean over classes that occur, or are said to, of 2 right / (there + said)."""
    classes, said = scores.shape[1], scores.argmax(axis=1)
    right = np.bincount(labels[said == labels], minlength=classes)
    either = np.bincount(labels, minlength=classes) + np.bincount(said, minlength=classes)
    return float((2 * right[either > 0] / either[either > 0]).mean())


FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "accuracy": Figure("accuracy", "%", _mean_of(Accuracy())),
        "balanced": Figure("balanced accuracy", "%", _mean_of(Balanced())),
        "nll": Figure("negative log likelihood", "nats", _nll),
        "top5": Figure("top-5 accuracy", "%", _mean_of(TopK(5)), least_classes=10),
        "macro_f1": Figure("macro F1", "%", _macro_f1),
    }
)


def figures(scores: Floats, labels: Labels, metric: Metric) -> dict[str, float]:
    """All figures of a split that tell something beside `metric`, by name, each in its unit."""
    return {
        name: figure.of(scores, labels)
        for name, figure in FIGURES.items()
        if name != metric.name and scores.shape[1] >= figure.least_classes
    }

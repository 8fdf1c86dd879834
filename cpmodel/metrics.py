"""What precision means: a value in [0, 1] for each image, and how the images of a split make one number.

A metric gives every image a value and, where classes or the like shall weigh the same, its stratum: P is the
mean over strata of the mean within each. So every metric has an interval over seeds and images. Inside the
product P is always better when it is higher; a metric of the other direction is turned at its edge (`inside`,
`shown`).
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

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

    def inside(self, value: float) -> float:
        """A value of the metric as P, which is better when it is higher."""
        return value if self.direction == "higher" else 1.0 - value

    def shown(self, precision: float) -> float:
        """P as a value of the metric."""
        return self.inside(precision)

    def precision_of(self, scores: Floats, labels: Labels) -> Floats:
        """What each image adds to P, shape (n,): its value, turned where lower is better."""
        values = np.asarray(self.values(scores, labels), dtype=np.float64)
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
        """1 where fewer than k scores are larger than that of the label; ties count by position."""
        own = scores[np.arange(len(labels)), labels][:, None]
        earlier = np.arange(scores.shape[1]) < labels[:, None]
        rank = (scores > own).sum(axis=1) + ((scores == own) & earlier).sum(axis=1)
        return np.asarray(rank < self.k, dtype=np.float64)


@dataclass(frozen=True)
class Figure:
    """A figure of a whole split that rides along with P."""

    label: str
    unit: str = ""


FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "balanced": Figure("balanced accuracy", "%"),
        "top5": Figure("top-5 accuracy", "%"),
        "nll": Figure("negative log likelihood", "nats"),
        "macro_f1": Figure("macro F1", "%"),
    }
)


def get_metric(name: str) -> Metric:
    """The metric of that name; ``top5``, ``top3``, ... for any k.

    Raises
    ------
    BadInputError
        There is none of that name.
    """
    if match := re.fullmatch(r"top([1-9]\d?)", name):
        return TopK(int(match[1]))
    made = registry.plugin("metrics", name)()
    if not isinstance(made, Metric):
        raise BadInputError(f"metric {name}", expected="a cpmodel.metrics.Metric", got=type(made).__name__)
    return made


def mean(values: Floats, strata: Labels | None = None) -> float:
    """P of a split: the mean over strata of the mean in each; the plain mean without strata.

    Parameters
    ----------
    values, strata : shape (n,)
    """
    if strata is None:
        return float(values.mean())
    _, place, counts = np.unique(strata, return_inverse=True, return_counts=True)
    return float((np.bincount(place, weights=values) / counts).mean())

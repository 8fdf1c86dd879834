"""A metric of which less is better: the share of wrong images."""

from __future__ import annotations

from typing import Literal

import numpy as np

from cpmodel.metrics import Labels, Metric
from cpmodel.space import Floats


class Wrong(Metric):
    """The fraction of images that are classified wrongly."""

    name = "wrong"
    label = "wrong images"
    direction: Literal["higher", "lower"] = "lower"

    def values(self, scores: Floats, labels: Labels) -> Floats:
        return np.asarray(scores.argmax(axis=1) != labels, dtype=np.float64)

"""Made-up tables of trainings with known laws, for the tests of the precision models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
VALUES = (np.array([2.0, 4, 8, 16, 32, 64]), np.array([8.0, 12, 16, 20, 28]), np.array([3.0, 4, 5]))
DOMAIN = np.array([[2.0, 64.0], [8.0, 28.0], [3.0, 5.0]])


def precision(X: Floats) -> Floats:
    """A power law of the error with a bend: precision of rows (f, s, k)."""
    f, s, k = np.log(X / DOMAIN[:, 1]).T
    return 1 - np.exp(-2.0 - 0.35 * f - 0.3 * s - 0.15 * k + 0.03 * f * f)


def table(n: int, seeds: int = 1, noise: float = 0.003, seed: int = 0) -> tuple[Floats, Floats]:
    """n configurations, each trained with some seeds."""
    generator = np.random.default_rng(seed)
    X = np.stack([generator.choice(values, n) for values in VALUES], axis=1)
    X = np.repeat(X, seeds, axis=0)
    return X, np.clip(precision(X) + generator.normal(0, noise, len(X)), 0, 1)

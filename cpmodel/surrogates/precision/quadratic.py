"""Precision as a second-degree polynomial in the logs of the parameters, shrunk as far as the data say."""

from __future__ import annotations

import numpy as np

from cpmodel.space import Floats
from cpmodel.surrogates.gaussian import Prior
from cpmodel.surrogates.link import Link
from cpmodel.surrogates.precision.process import ProcessModel

# Median and log-spread of the size of squares and products, and of the scatter, in units of the mean error
_CURVATURE = (0.07, 1.0)
_SCATTER = (0.0175, 0.8)


class QuadraticPrecision(ProcessModel):
    """P = level + sum of slopes, squares and products of the logs of the parameters.

    Notes
    -----
    Coefficients are of the error, in units of the mean error. How far squares, and products, are shrunk
    towards zero is found by their evidence.
    """

    name = "quadratic"
    shape = "quadratic"

    def _choose_link(self, errors: Floats, weight: Floats) -> Link:
        return Link("error", unit=float(max(np.average(errors, weights=weight), 1e-6)))

    def _prior(self, slope: Floats) -> Prior:
        return Prior(slope, amplitude=_CURVATURE, scatter=_SCATTER)

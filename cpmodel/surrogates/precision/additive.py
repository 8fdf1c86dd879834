"""Power law of the error with an own effect of each parameter's values, however irregular."""

from __future__ import annotations

from cpmodel.space import Floats
from cpmodel.surrogates.gaussian import Prior
from cpmodel.surrogates.precision.process import ProcessModel

# Median and log-spread of the size of each parameter's own deviations from the power law
_ROUGHNESS = (0.05, 0.5)


class AdditivePrecision(ProcessModel):
    """log(1 - P) = power law + sum_i g_i(x_i) + noise of seeds, each g_i continuous but not smooth.

    Notes
    -----
    Grids have few values of each parameter, and one of them may do better or worse than its neighbours
    wherever it is used (a width that another recipe was tuned for): a thing that smooth deviations cannot
    follow. g_i has an exponential covariance, that of a random walk over the parameter's range.
    """

    name = "additive"
    shape = "additive"

    def _prior(self, slope: Floats) -> Prior:
        return Prior(slope, amplitude=_ROUGHNESS)

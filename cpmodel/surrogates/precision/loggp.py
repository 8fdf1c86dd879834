"""Gaussian process on log(1 - P) over the logs of the parameters, its mean a power law."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from cpmodel.errors import FitError
from cpmodel.space import Floats
from cpmodel.surrogates.features import Derived
from cpmodel.surrogates.link import Link
from cpmodel.surrogates.precision.model import least_error
from cpmodel.surrogates.precision.process import ProcessModel


class LogErrorGP(ProcessModel):
    """log(1 - P - saturation) is a power law plus smooth deviations plus the noise of seeds.

    Parameters
    ----------
    saturation : fraction in [0, 1)
        The error that no configuration gets below, as a share of the least error measured.
    derived, domain, names, categorical : as in `ProcessModel`

    Notes
    -----
    Deviations have a Matern-3/2 covariance with one length for each parameter.
    """

    name = "loggp"
    shape = "matern"

    def __init__(
        self,
        *,
        saturation: float = 0.0,
        derived: Derived | None = None,
        domain: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        categorical: Sequence[int] = (),
    ) -> None:
        super().__init__(derived=derived, domain=domain, names=names, categorical=categorical)
        self.saturation = saturation

    def _choose_link(self, errors: Floats, weight: Floats) -> Link:
        if not 0.0 <= self.saturation < 1.0:
            raise FitError(f"saturation: expected a fraction in [0, 1), got {self.saturation}")
        asymptote = float(self.saturation * errors.min())
        return Link("log_error", asymptote=asymptote, floor=least_error(errors - asymptote))

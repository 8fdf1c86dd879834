"""The scale on which a model is smooth and its noise normal: precision, error, or log of the error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.space import Floats

Kind = Literal["precision", "error", "log_error"]

# Errors are never told from smaller ones than this
_LEAST = 1e-12


@dataclass(frozen=True)
class Link:
    """z = P, or (1 - P) / unit, or log(1 - P - asymptote).

    Parameters
    ----------
    unit : for "error", above 0: what counts as 1
    asymptote : for "log_error", fraction in [0, 1): the error that no configuration gets below
    floor : for "log_error", above 0: what 1 - P - asymptote is held at, so that a perfect precision is finite

    Examples
    --------
    >>> Link("log_error", asymptote=0.1).inverse(np.log([0.1, 0.9]))
    array([0.8, 0. ])
    """

    kind: Kind = "log_error"
    unit: float = 1.0
    asymptote: float = 0.0
    floor: float = 1e-3

    @property
    def sign(self) -> int:
        """1 when z rises with the precision, -1 when it falls."""
        return 1 if self.kind == "precision" else -1

    def forward(self, precision: ArrayLike) -> Floats:
        """Z of fractions of any shape."""
        precision = np.asarray(precision, dtype=np.float64)
        if self.kind == "precision":
            return precision
        if self.kind == "error":
            return (1.0 - precision) / self.unit
        return np.log(np.maximum(1.0 - precision - self.asymptote, self.floor))

    def inverse(self, z: Floats) -> Floats:
        """Precision of z, held within [0, 1]."""
        if self.kind == "precision":
            return np.clip(z, 0.0, 1.0)
        if self.kind == "error":
            return np.clip(1.0 - z * self.unit, 0.0, 1.0)
        # z above 0 is an error above 1 already; cutting there keeps exp() finite
        return np.clip(1.0 - self.asymptote - np.exp(np.minimum(z, 0.0)), 0.0, 1.0)

    def unheld(self, precision: float) -> float:
        """Z of one precision wherever it lies, without `floor`: infinite where no z reaches it."""
        if self.kind != "log_error":
            return float(self.forward(precision))
        room = 1.0 - precision - self.asymptote
        return float(np.log(room)) if room > _LEAST else -np.inf

    def slope(self, z: Floats) -> Floats:
        """|dP/dz| at z; what turns a small spread of z into one of P."""
        if self.kind == "precision":
            return np.ones_like(z)
        if self.kind == "error":
            return np.full_like(z, self.unit)
        return np.exp(np.minimum(z, 0.0))

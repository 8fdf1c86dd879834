"""min C(T) subject to P(T) >= P_T, exactly, over all configurations that can be built; the envelope C(P).

Ties are broken the same way everywhere: the lowest complexity, then the highest predicted precision, then
the order of enumeration (the last parameter fastest).
"""

from cpmodel.optimize.drawing import cloud, paper_grid
from cpmodel.optimize.results import Candidate, Choice, Cloud, Envelope
from cpmodel.optimize.scan import WHOLE_UP_TO, CostFunction, Limits, Predictor
from cpmodel.optimize.search import envelope, envelope_table, optimize

__all__ = [
    "WHOLE_UP_TO",
    "Candidate",
    "Choice",
    "Cloud",
    "CostFunction",
    "Envelope",
    "Limits",
    "Predictor",
    "cloud",
    "envelope",
    "envelope_table",
    "optimize",
    "paper_grid",
]

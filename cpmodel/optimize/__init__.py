"""min C(T) subject to P(T) >= P_T, exactly, over all configurations that can be built; the envelope C(P).

Ties are broken the same way everywhere: the lowest complexity, then the highest predicted precision, then
the order of enumeration (the last parameter fastest).
"""

from cpmodel.optimize.drawing import cloud, paper_grid
from cpmodel.optimize.results import Candidate, Choice, Cloud, Envelope
from cpmodel.optimize.scan import Problem
from cpmodel.optimize.search import cheapest, envelope, envelope_table

__all__ = [
    "Candidate",
    "Choice",
    "Cloud",
    "Envelope",
    "Problem",
    "cheapest",
    "cloud",
    "envelope",
    "envelope_table",
    "paper_grid",
]

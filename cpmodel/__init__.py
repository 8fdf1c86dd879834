"""The cheapest CNN that reaches the precision you need: how sure we are, and the whole curve.

    import cpmodel

    answer = cpmodel.run("study", target=0.88)      # train few, fit, choose, verify; resumable
    answer.verdict.key, answer.verdict.interval     # the proved network, its precision on the test split
    cpmodel.optimize("study", target=0.85).plain    # another target, from the samples there are: no training
    cpmodel.fit("measurements.csv")                 # anybody's table goes through the same stages
    cpmodel.report("study")                         # one page: curve, fits, everything that was trained

Every stage is a function here and a command of the same name: `run`, `sample`, `measure`, `fit`, `optimize`,
`verify`, `report`, `export`; `curve` is `cpmodel run --curve`. Images are loaded by `cpmodel.datasets.load`,
networks built by families (`cpmodel.families`), precision models live in `cpmodel.surrogates`, results are
frozen dataclasses.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cpmodel.version import __version__

if TYPE_CHECKING:
    from cpmodel.space import Parameter, Space
    from cpmodel.study import curve, export, fit, measure, optimize, report, run, sample, verify

__all__ = [
    "Parameter",
    "Space",
    "__version__",
    "curve",
    "export",
    "fit",
    "measure",
    "optimize",
    "report",
    "run",
    "sample",
    "verify",
]

_HOMES = {"Parameter": "cpmodel.space", "Space": "cpmodel.space"}


def __getattr__(name: str) -> Any:
    """Load what is asked for only then: `cpmodel --version` must not wait for torch."""
    if name not in __all__:
        raise AttributeError(f"module 'cpmodel' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES.get(name, "cpmodel.study")), name)


def __dir__() -> list[str]:
    return __all__


class _Package(ModuleType):
    """The package, whose functions stay what they are when modules of the same names are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

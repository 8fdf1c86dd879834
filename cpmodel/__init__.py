"""The cheapest CNN that reaches the precision you need: how sure we are, and the whole curve.

    import cpmodel

    study = cpmodel.open("study", dataset="embedded")   # makes or reopens; nothing is trained yet
    answer = study.run(target=0.88)                     # train few, fit, choose, verify; resumable
    answer.verdict.key, answer.verdict.interval         # the proved network, its precision on the test split
    study.optimize(target=0.85).plain                   # another target, from the samples there are
    cpmodel.read("measurements.csv").fit()              # anybody's table goes through the same stages
    study.report()                                      # one page: curve, fits, everything that was trained

Every stage is a method of a `Study` and a command of the same name: `run`, `sample`, `measure`, `fit`,
`optimize`, `verify`, `report`, `export`; `curve` is `cpmodel run --curve`. Images are loaded by
`cpmodel.datasets.load`, networks built by families (`cpmodel.families`), precision models live in
`cpmodel.surrogates`, `cpmodel.optuna` has the search as an Optuna sampler; results are frozen dataclasses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cpmodel.version import __version__

if TYPE_CHECKING:
    from cpmodel.space import Parameter, Space
    from cpmodel.study import Study, Table, open, read

__all__ = ["Parameter", "Space", "Study", "Table", "__version__", "open", "read"]

_HOMES = {"Parameter": "cpmodel.space", "Space": "cpmodel.space"}


def __getattr__(name: str) -> Any:
    """Load what is asked for only then: `cpmodel --version` must not wait for torch."""
    from importlib import import_module
    from importlib.util import find_spec

    if name in __all__:
        return getattr(import_module(_HOMES.get(name, "cpmodel.study")), name)
    if not name.startswith("_") and find_spec(f"cpmodel.{name}") is not None:
        return import_module(f"cpmodel.{name}")
    raise AttributeError(f"module 'cpmodel' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

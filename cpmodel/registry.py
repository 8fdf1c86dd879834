"""Plug-ins: families, data sets, metrics and precision models, found by their entry points; ours too."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any, Literal

from cpmodel.errors import BadInputError

Kind = Literal["families", "datasets", "metrics", "precision_models"]

_WORDS: dict[Kind, str] = {
    "families": "family",
    "datasets": "data set",
    "metrics": "metric",
    "precision_models": "precision model",
}


def names(kind: Kind) -> tuple[str, ...]:
    """Names of everything of that kind that is installed, in alphabetical order."""
    return tuple(sorted({point.name for point in entry_points(group=f"cpmodel.{kind}")}))


def plugin(kind: Kind, name: str) -> Any:
    """What the entry point `name` of the group ``cpmodel.<kind>`` names, loaded.

    Raises
    ------
    BadInputError
        Nothing of that name is installed, or it cannot be imported.
    """
    for point in entry_points(group=f"cpmodel.{kind}", name=name):
        try:
            return point.load()
        except (ImportError, AttributeError) as error:
            raise BadInputError(f"{_WORDS[kind]} {name}: {error}", expected="one that imports") from error
    raise BadInputError(_WORDS[kind], expected="one of " + ", ".join(names(kind)), got=name)

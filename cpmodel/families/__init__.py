"""Families of networks: one file each, found through the entry point group ``cpmodel.families``."""

from __future__ import annotations

from importlib.metadata import entry_points

from cpmodel.errors import BadInputError
from cpmodel.families.base import Family, Task

__all__ = ["Family", "Task", "family_names", "get_family"]


def family_names() -> list[str]:
    """Names of all installed families."""
    return sorted(point.name for point in entry_points(group="cpmodel.families"))


def get_family(name: str) -> Family:
    """The installed family called `name`.

    Raises
    ------
    BadInputError
        There is none of that name.
    """
    for point in entry_points(group="cpmodel.families", name=name):
        family = point.load()()
        if not isinstance(family, Family):
            raise BadInputError(
                f"family {name}", expected="a cpmodel.families.Family", got=type(family).__name__
            )
        return family
    raise BadInputError("family", expected="one of " + ", ".join(family_names()), got=name)

"""Families of networks: one file each, found through the entry point group ``cpmodel.families``."""

from __future__ import annotations

from cpmodel import registry
from cpmodel.errors import BadInputError
from cpmodel.families.base import Family, Task

__all__ = ["Family", "Task", "get_family"]


def get_family(name: str) -> Family:
    """The installed family called `name`."""
    family = registry.plugin("families", name)()
    if not isinstance(family, Family):
        raise BadInputError(f"family {name}", expected="a cpmodel.families.Family", got=type(family).__name__)
    return family

"""Families of networks: one file each, found through the entry point group ``cpmodel.families``."""

from __future__ import annotations

from cpmodel import registry
from cpmodel.families.base import Family, Task

__all__ = ["Family", "Task", "get_family"]


def get_family(name: str) -> Family:
    """The installed family called `name`."""
    return registry.made("families", name, Family)  # type: ignore[type-abstract]

"""Families of networks: one file each, found through the entry point group ``cpmodel.families``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from cpmodel import registry
from cpmodel.errors import BadInputError
from cpmodel.families.base import Family, Task
from cpmodel.families.own import absolute, load, name_of_function

__all__ = ["Family", "Task", "absolute", "family_of", "get_family", "name_of"]


def get_family(name: str) -> Family:
    """The family that a name stands for.

    Parameters
    ----------
    name : that of an installed family, with what is fixed for it as in ``convpool?dropout=0.4``; or
        ``module:name`` or ``file.py:name`` of a family or of a function that builds a network
    """
    address, _, query = absolute(name).partition("?")
    found = load(address)
    if _builds(found):
        from cpmodel.families.function import FunctionFamily

        if query:
            expected = "no options: the arguments of a function are its parameters"
            raise BadInputError(f"family {name}", expected=expected)
        return FunctionFamily(address, found)
    made = _with(name, found, query)
    return registry.of_kind("families", name, made, Family)  # type: ignore[type-abstract]


def _builds(found: Any) -> bool:
    """Whether something is a function that builds a network, or the class of one."""
    if isinstance(found, type):
        return any(each.__module__.startswith("torch.") for each in found.__mro__)
    return callable(found) and not isinstance(found, Family)


def family_of(given: str | Family | Callable[..., Any]) -> Family:
    """The family that is meant: by its name, by itself, or by a function that builds a network."""
    if isinstance(given, str):
        return get_family(given)
    if isinstance(given, Family):
        return given
    from cpmodel.families.function import FunctionFamily

    return FunctionFamily(name_of_function(given), given)


def name_of(family: Family) -> str:
    """The name by which another process finds a family, with what is fixed for it other than by default."""
    if family.code:
        return family.name
    name = registry.name_of("families", family)
    values = {key: (getattr(family, key), default) for key, default in _fixed(family).items()}
    told = [f"{key}={value}" for key, (value, default) in values.items() if value != default]
    return f"{name}?{'&'.join(told)}" if told else name


def _fixed(found: object) -> dict[str, Any]:
    """The arguments that a family, or its class, has beside its parameters, with their defaults."""
    return {field.name: field.default for field in fields(found)} if is_dataclass(found) else {}


def _with(name: str, found: Any, query: str) -> Any:
    """What is found, made with the fixed arguments that the query tells."""
    known, given = _fixed(found), dict[str, Any]()
    for clause in filter(None, query.split("&")):
        key, _, text = clause.partition("=")
        if key not in known or key in given:
            expected = f"{', '.join(known)}, once" if known else "none"
            raise BadInputError(f"option '{key}' of family {name.partition('?')[0]}", expected=expected)
        try:
            given[key] = type(known[key])(text)
        except ValueError as error:
            expected = f"like {known[key]}"
            raise BadInputError(f"option '{key}' of family {name}", expected=expected, got=text) from error
    return found(**given) if callable(found) else found

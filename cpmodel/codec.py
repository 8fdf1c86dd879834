"""One codec for all that is kept as JSON: dataclasses to plain values by their type hints, and back.

What cannot be told (NaN) is null, infinite numbers are the texts ``inf`` and ``-inf``; arrays are lists.
Reading refuses what is not of the type that the hints say, and names the place.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from cpmodel.errors import BadInputError

T = TypeVar("T")

_CALLED = {float: "a number", int: "a whole number", str: "a text", bool: "true or false", type(None): "null"}


def dump(value: Any, *, omit_defaults: bool = False) -> Any:
    """`value`, a dataclass or anything made of them, as JSON-ready values.

    Without what equals its default, if that is asked for: so a new field with a default changes no hash.
    """
    if is_dataclass(value) and not isinstance(value, type):
        told = [f for f in fields(value) if f.init and not (omit_defaults and _is_default(value, f))]
        return {f.name: dump(getattr(value, f.name), omit_defaults=omit_defaults) for f in told}
    if isinstance(value, Mapping):
        return {str(name): dump(inner, omit_defaults=omit_defaults) for name, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset, range)):
        return [dump(inner, omit_defaults=omit_defaults) for inner in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return dump(value.tolist())
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def _is_default(value: Any, field: Field[Any]) -> bool:
    default = field.default if field.default_factory is MISSING else field.default_factory()
    same = getattr(value, field.name) == default
    return default is not MISSING and isinstance(same, bool) and same


def load(kind: type[T], data: Any, *, where: str = "", what: str = "record") -> T:
    """The `kind` that `dump` described; the first place where something is wrong is named and refused."""
    try:
        made: T = _read(kind, data, "")
        return made
    except BadInputError as error:
        raise BadInputError(f"{what}: {str(error).lstrip('.: ')}", where=where) from error


def _read(kind: Any, value: Any, place: str) -> Any:
    """`value` as the hint `kind` says."""
    if kind is Any or type(value) is kind:
        return value
    origin, args = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, types.UnionType):
        return _one_of(args, value, place)
    if origin is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        known = args if origin is Literal else tuple(member.value for member in kind)
        _must(value in known, place, "one of " + ", ".join(map(str, known)), value)
        return value if origin is Literal else kind(value)
    if origin is np.ndarray:
        try:
            return np.array(value, dtype=get_args(args[1])[0])
        except (TypeError, ValueError):
            raise BadInputError(place, expected="a list of numbers", got=repr(value)) from None
    if not isinstance(origin, type):
        raise TypeError(f"no way to read {kind}")
    if is_dataclass(origin):
        return _made(origin, value, place)
    if issubclass(origin, Mapping):
        _must(isinstance(value, Mapping), place, "names with values", value)
        whole = args[:1] == (int,)
        inner = args[1] if args else Any
        return {int(k) if whole else k: _read(inner, v, f"{place}.{k}") for k, v in value.items()}
    if issubclass(origin, (tuple, list, set)) or origin.__module__ == "collections.abc":
        _must(isinstance(value, (list, tuple)), place, "a list", value)
        hints = args[:1] * len(value) if args[1:] in ((), (...,)) else args
        _must(len(hints) == len(value) or not args, place, f"a list of {len(hints)}", f"{len(value)} values")
        read = [_read(h, v, f"{place}[{n}]") for n, (h, v) in enumerate(zip(hints, value, strict=True))]
        return read if origin is list else set(read) if issubclass(origin, set) else tuple(read)
    if origin is float and (value is None or value in ("inf", "-inf")):
        return math.nan if value is None else float(value)
    _must(type(value) in ((int, float) if origin is float else (origin,)), place, _called(origin), value)
    return float(value) if origin is float else value


def _must(holds: bool, place: str, expected: str, got: Any) -> None:
    if not holds:
        said = "null" if got is None else "nothing" if got is MISSING else repr(got)
        raise BadInputError(place, expected=expected, got=said)


def _one_of(kinds: tuple[Any, ...], value: Any, place: str) -> Any:
    """`value` as the first of the kinds that it is; numbers and texts stay what they are."""
    if value is None and type(None) in kinds:
        return None
    others = [kind for kind in kinds if kind is not type(None)]
    if type(value) in others:
        return value
    for kind in others[:-1]:
        with suppress(BadInputError):
            return _read(kind, value, place)
    try:
        return _read(others[-1], value, place)
    except BadInputError:
        _must(len(others) == 1 or is_dataclass(others[-1]), place, " or ".join(map(_called, others)), value)
        raise


def _called(kind: Any) -> str:
    return _CALLED.get(kind) or str(getattr(kind, "__name__", kind))


def _made(kind: type, value: Any, place: str) -> Any:
    _must(isinstance(value, Mapping), place, f"the fields of a {kind.__name__}", value)
    hints, needed = _fields(kind)
    unknown = [str(name) for name in value if name not in hints]
    _must(not unknown, place, "only " + ", ".join(hints), ", ".join(unknown))
    for name in needed:
        _must(name in value, f"{place}.{name}", "it to be there", MISSING)
    read = {name: _read(hints[name], inner, f"{place}.{name}") for name, inner in value.items()}
    try:
        return kind(**read)
    except BadInputError as error:
        raise BadInputError(f"{place}: {error}" if place else str(error)) from error


@cache
def _fields(kind: type) -> tuple[dict[str, Any], list[str]]:
    """The hints of a dataclass's fields, and the names of those without a default."""
    hints, known = get_type_hints(kind), [field for field in fields(kind) if field.init]
    needed = [field.name for field in known if field.default is field.default_factory is MISSING]
    return {field.name: hints[field.name] for field in known}, needed

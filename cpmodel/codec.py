"""One codec for all that is kept as JSON: dataclasses to plain values by their type hints, and back.

What cannot be told (NaN) is null, infinite numbers are the texts ``inf`` and ``-inf``; arrays are lists.
Reading refuses what is not of the type that the hints say, and names the place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import numpy as np

from cpmodel.errors import BadInputError

T = TypeVar("T")


def dump(value: Any, *, omit_defaults: bool = False) -> Any:
    """`value`, a dataclass or anything made of them, as JSON-ready values.

    Parameters
    ----------
    omit_defaults : bool
        Leave out what equals its default, so that a new field with a default changes no hash.
    """
    return _plain(_converter(omit_defaults).unstructure(value))


def load(kind: type[T], data: Any, *, where: str = "", what: str = "record") -> T:
    """The `kind` that `dump` described.

    Raises
    ------
    BadInputError
        Something is missing, unknown or of another type; the message names the first such place.
    """
    import cattrs

    try:
        made: T = _converter(False).structure(data, kind)
        return made
    except cattrs.BaseValidationError as error:
        raise BadInputError(f"{what}: {_first(error)}", where=where) from error
    except BadInputError as error:
        raise BadInputError(f"{what}: {error}", where=where) from error
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise BadInputError(f"{what}: {error}", expected=kind.__name__, where=where) from error


@cache
def _converter(omit_defaults: bool) -> Any:
    from cattrs import Converter

    made = Converter(forbid_extra_keys=True, omit_if_default=omit_defaults, unstruct_collection_overrides={})
    made.register_structure_hook(float, lambda v, _: _number(v))
    for scalar in (int, bool, str):
        made.register_structure_hook(scalar, _of)
    made.register_structure_hook_func(_is_array, lambda v, _: np.array(_numbers(v), dtype=float))
    made.register_structure_hook_func(_is_value, lambda v, _: _scalar(v))
    return made


def _is_array(kind: Any) -> bool:
    return getattr(kind, "__origin__", None) is np.ndarray


def _is_value(kind: Any) -> bool:
    """A union of scalars, such as the value of a parameter."""
    scalars = {int, float, str, bool, type(None)}
    return get_origin(kind) in (Union, UnionType) and len(set(get_args(kind)) & scalars - {type(None)}) > 1


def _scalar(value: Any) -> Any:
    if value is not None and not isinstance(value, (int, float, str, bool)):
        raise TypeError(f"expected a number or a text, got {type(value).__name__}")
    return value


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if value in ("inf", "-inf") or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return float(value)
    raise TypeError(f"expected a number, got {value!r}")


def _numbers(value: Any) -> Any:
    """Numbers, or rows of them."""
    return [_numbers(x) for x in value] if isinstance(value, (list, tuple)) else _number(value)


def _of(value: Any, kind: type) -> Any:
    if issubclass(kind, Enum):
        return kind(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError(f"expected {kind.__name__}, got {value!r}")
    return value


def _plain(value: Any) -> Any:
    """Only what JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset, range)):
        return [_plain(inner) for inner in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def _first(error: Exception) -> str:
    """Where the first fault lies, and what it is."""
    from cattrs import transform_error

    return str(transform_error(error, path="it")[0]).replace("it.", "", 1)

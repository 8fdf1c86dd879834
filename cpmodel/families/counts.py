"""Parameters of families that count something: what they may be, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cpmodel.errors import BadInputError
from cpmodel.space import Configuration, Space, Value


def counts_of(configuration: Configuration, *names: str) -> tuple[int, ...]:
    """The values of some parameters, as whole numbers."""
    return tuple(int(configuration[name]) for name in names)


def require_fraction(what: str, value: Value) -> None:
    """Refuse what is no fraction in [0, 1)."""
    if isinstance(value, (bool, str)) or not 0 <= value < 1:
        raise BadInputError(what, expected="a fraction in [0, 1)", got=value)


def require_shares(values: Mapping[str, Sequence[Value]], **most: float) -> dict[str, Sequence[Value]]:
    """The values given for these parameters, which must be above 0 and not above the `most` of each."""
    found = {name: values[name] for name in most if name in values}
    for name, chosen in found.items():
        for value in chosen:
            if isinstance(value, (bool, str)) or not 0 < value <= most[name]:
                raise BadInputError(f"parameter {name}", expected=f"numbers in (0, {most[name]}]", got=value)
    return found


def require_counts(
    default: Space, values: Mapping[str, Sequence[Value]] | None, **within: tuple[int, int]
) -> dict[str, Sequence[Value]]:
    """The values given for some parameters; those of numeric ones must be whole numbers, 1 or more.

    Parameters
    ----------
    default : the family's own space; names that it does not have are refused
    within : of some parameters the least and the largest value
    """
    found: dict[str, Sequence[Value]] = {}
    for name, chosen in (values or {}).items():
        if default[name].categorical:
            found[name] = tuple(chosen)
            continue
        low, high = within.get(name, (1, None))
        expected = f"whole numbers, {low} or more" if high is None else f"whole numbers from {low} to {high}"
        for value in chosen:
            if isinstance(value, (bool, str)) or not float(value).is_integer():
                raise BadInputError(f"parameter {name}", expected=expected, got=value)
            if value < low or (high is not None and value > high):
                raise BadInputError(f"parameter {name}", expected=expected, got=value)
        found[name] = tuple(int(value) for value in chosen)
    return found

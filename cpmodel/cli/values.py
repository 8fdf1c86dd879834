"""What people write on the command line, as values; each refuses what it does not understand in one line."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from cpmodel.errors import BadInputError

Value = int | float | str
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_PARAMETER = "--PARAMETER v1,v2,..."


class Keywords(dict[str, Any]):
    """What one option says of several keywords."""


def fraction(text: str, option: str) -> float:
    """A fraction in (0, 1]: ``0.94``, ``94%``."""
    stripped, found = text.strip(), math.nan
    with suppress(ValueError):
        found = float(stripped.removesuffix("%")) / (100 if stripped.endswith("%") else 1)
    if not 0 < found <= 1:
        raise BadInputError(option, expected="a fraction in (0, 1], like 0.94 or 94%", got=repr(text))
    return found


def span(text: str, option: str) -> Keywords:
    """Two fractions, the lower one first: ``0.80:92%``."""
    low, colon, high = text.partition(":")
    if not colon:
        raise BadInputError(option, expected="two precisions, like 0.80:0.92", got=repr(text))
    return Keywords(low=fraction(low, option), high=fraction(high, option))


def budget(text: str, option: str) -> Keywords:
    """A budget: ``40`` trainings, or ``90s``, ``10m``, ``2h`` of time."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if match and match[2] and float(match[1]) > 0:
        return Keywords(budget=None, seconds=float(match[1]) * _SECONDS[match[2]])
    if match and match[1].isdigit() and int(match[1]) > 0:
        return Keywords(budget=int(match[1]), seconds=None)
    raise BadInputError(option, expected="trainings (40) or a time (90s, 10m, 2h)", got=repr(text))


def number(text: str) -> Value:
    """A whole number if it is one, else a number, else the text itself."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def names(text: str, option: str) -> list[str]:
    """Names separated by commas: ``f,s``."""
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise BadInputError(option, expected="names separated by commas", got=repr(text))
    return found


def pairs(texts: Iterable[str], option: str, shape: str = "NAME=VALUE") -> dict[str, Any]:
    """Both sides of texts like ``epochs=10``, each name once; numbers as numbers."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = map(str.strip, text.partition("="))
        if not (name and equals and value):
            raise BadInputError(option, expected=shape, got=repr(text))
        if name in found:
            raise BadInputError(name, expected="it once, its values separated by commas", got="twice")
        found[name] = number(value)
    return found


def axes(texts: Iterable[str], option: str, shape: str = "NAME=VALUES") -> dict[str, tuple[Value, ...]]:
    """Values of what is searched beside T: ``epochs=3,6,12``."""
    found = {}
    for name, one_or_more in pairs(texts, option, shape).items():
        parts = str(one_or_more).split(",")
        found[name] = tuple(number(part.strip()) for part in parts if part.strip())
        if not found[name]:
            raise BadInputError(option, expected=shape, got="no value")
    return found


def parameter_values(words: Sequence[str]) -> dict[str, tuple[Value, ...]]:
    """Options of the family's parameters.

    >>> parameter_values(["--f", "8,16", "--k=3"])
    {'f': (8, 16), 'k': (3,)}
    """
    texts, rest = [], iter(words)
    for word in rest:
        if not re.match("--[^=]", word):
            raise BadInputError(f"'{word}'", expected=f"an option, or {_PARAMETER}")
        texts.append(word if "=" in word else f"{word}={next(rest, '')}")
    return {name.removeprefix("--"): values for name, values in axes(texts, "option", _PARAMETER).items()}


def limits(texts: Iterable[str], option: str) -> dict[str, float]:
    """Upper limits of complexities: ``params=20000``."""
    found = pairs(texts, option, shape := "NAME=NUMBER, like params=20000")
    for name, value in found.items():
        if isinstance(value, str) or not value > 0:
            raise BadInputError(option, expected=shape, got=repr(f"{name}={value}"))
    return found


def configuration(text: str, option: str) -> dict[str, Value]:
    """A configuration: ``f=8,s=28``."""
    return pairs(text.split(","), option)


def recipe(texts: Iterable[str], option: str) -> dict[str, Any]:
    """Fields of a recipe; several words of one field are joined by a plus sign: ``augment=flip+shift``."""
    found = pairs(texts, option)
    if "augment" in found:
        found["augment"] = tuple(word for word in str(found["augment"]).split("+") if word != "none")
    return found


# How an option is read, by its metavar; any other is the text that it is, or its number
READERS: dict[str, Callable[..., Any]] = {
    "P": fraction,
    "P:P": span,
    "N|TIME": budget,
    "NAMES": names,
    "T": configuration,
    "NAME=NUMBER": limits,
    "FIELD=VALUES": axes,
    "FIELD=VALUE": recipe,
}

"""What people write on the command line, as values; each refuses what it does not understand in one line."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cpmodel.errors import BadInputError, hidden

_SECONDS = {"s": 1, "m": 60, "h": 3600}
Value = int | float | str


@dataclass(frozen=True)
class Budget:
    """A number of trainings, or a time; the other one is None."""

    trainings: int | None = None
    seconds: float | None = None


def fraction(text: str, option: str) -> float:
    """A fraction in (0, 1], written ``0.94`` or ``94%``.

    >>> fraction("94%", "--target"), fraction("0.94", "--target")
    (0.94, 0.94)
    """
    stripped = text.strip()
    try:
        number = float(stripped.removesuffix("%")) / (100 if stripped.endswith("%") else 1)
    except ValueError:
        number = math.nan
    if not 0 < number <= 1:
        raise BadInputError(option, expected="a fraction in (0, 1], like 0.94 or 94%", got=repr(text))
    return number


def span(text: str, option: str) -> tuple[float, float]:
    """Two fractions, the lower one first.

    >>> span("0.80:92%", "--curve")
    (0.8, 0.92)
    """
    low, colon, high = text.partition(":")
    if not colon:
        raise BadInputError(option, expected="two precisions, like 0.80:0.92", got=repr(text))
    return fraction(low, option), fraction(high, option)


def budget(text: str, option: str) -> Budget:
    """A budget: ``40`` trainings, or ``90s``, ``10m``, ``2h`` of time.

    >>> budget("40", "--budget"), budget("10m", "--budget")
    (Budget(trainings=40, seconds=None), Budget(trainings=None, seconds=600.0))
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if match and match[2] and float(match[1]) > 0:
        return Budget(seconds=float(match[1]) * _SECONDS[match[2]])
    if match and match[1].isdigit() and int(match[1]) > 0:
        return Budget(trainings=int(match[1]))
    raise BadInputError(option, expected="trainings (40) or a time (90s, 10m, 2h)", got=repr(text))


def number(text: str) -> Value:
    """A whole number if it is one, else a number, else the text itself."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def names(text: str, option: str) -> list[str]:
    """Names separated by commas.

    >>> names("f, s", "--vary")
    ['f', 's']
    """
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise BadInputError(option, expected="names separated by commas", got=repr(text))
    return found


def parameter_values(arguments: Sequence[str]) -> dict[str, tuple[Value, ...]]:
    """Options of the family's parameters: ``--f 8,16,32 --k 3``.

    >>> parameter_values(["--f", "8,16", "--k=3"])
    {'f': (8, 16), 'k': (3,)}
    """
    found: dict[str, tuple[Value, ...]] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name or (not equals and not rest):
            raise BadInputError(f"'{word}'", expected="an option, or --PARAMETER v1,v2,...")
        _add(found, name, text if equals else rest.pop(0), f"--{name}")
    return found


def axes(texts: Iterable[str], option: str) -> dict[str, tuple[Value, ...]]:
    """Values of what is searched beside T: ``epochs=3,6,12``.

    >>> axes(["epochs=3,6"], "--axis")
    {'epochs': (3, 6)}
    """
    found: dict[str, tuple[Value, ...]] = {}
    for text in texts:
        name, _, listed = text.partition("=")
        _add(found, name.strip(), listed, f"{option} {name.strip()}")
    return found


def _add(found: dict[str, tuple[Value, ...]], name: str, text: str, option: str) -> None:
    """One more parameter's values, separated by commas."""
    if name in found:
        raise BadInputError(option, expected="it once, its values separated by commas", got="twice")
    found[name] = tuple(number(part.strip()) for part in text.split(",") if part.strip())
    if not found[name]:
        raise BadInputError(option, expected="values separated by commas", got=repr(text))


def limits(texts: Iterable[str], option: str) -> dict[str, float]:
    """Upper limits of complexities: ``params=20000``.

    >>> limits(["params=20000"], "--max")
    {'params': 20000.0}
    """
    shape = "NAME=NUMBER, like params=20000"
    found = assignments(texts, option, shape)
    for name, value in found.items():
        if isinstance(value, str) or not value > 0:
            raise BadInputError(option, expected=shape, got=repr(f"{name}={value}"))
    return {name: float(value) for name, value in found.items()}


def assignments(texts: Iterable[str], option: str, shape: str = "NAME=VALUE") -> dict[str, Value]:
    """Pairs like ``epochs=10``."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise BadInputError(option, expected=shape, got=repr(text))
        found[name.strip()] = number(value.strip())
    return found


def configuration(text: str, option: str) -> dict[str, Value]:
    """A configuration: ``f=8,s=28``."""
    return assignments(text.split(","), option)


def recipe(texts: Iterable[str], option: str) -> dict[str, Any]:
    """Fields of a recipe; several words of one field are joined by a plus sign.

    >>> recipe(["epochs=10", "augment=flip+shift"], "--recipe")
    {'epochs': 10, 'augment': ('flip', 'shift')}
    """
    found: dict[str, Any] = dict(assignments(texts, option))
    if "augment" in found:
        found["augment"] = tuple(word for word in str(found["augment"]).split("+") if word != "none")
    return found


def command() -> str:
    """The command as it was written."""
    return " ".join(["cpmodel", *map(hidden, sys.argv[1:])]) if sys.argv[0].endswith("cpmodel") else ""

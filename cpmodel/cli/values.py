"""What people write on the command line, as values; each refuses what it does not understand in one line."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cpmodel.errors import BadInputError, hidden
from cpmodel.families.base import Task

_SECONDS = {"s": 1, "m": 60, "h": 3600}


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


def alone(option: str, **others: str | None) -> None:
    """Refuse options that say something else than `option` does."""
    for name, given in others.items():
        if given is not None:
            raise BadInputError(option, expected=f"it without {name}", got=f"{name} {given}")


def budget(text: str) -> Budget:
    """A budget: ``40`` trainings, or ``90s``, ``10m``, ``2h`` of time.

    >>> budget("40"), budget("10m")
    (Budget(trainings=40, seconds=None), Budget(trainings=None, seconds=600.0))
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if match and match[2] and float(match[1]) > 0:
        return Budget(seconds=float(match[1]) * _SECONDS[match[2]])
    if match and match[1].isdigit() and int(match[1]) > 0:
        return Budget(trainings=int(match[1]))
    raise BadInputError("--budget", expected="trainings (40) or a time (90s, 10m, 2h)", got=repr(text))


def number(text: str) -> int | float | str:
    """A whole number if it is one, else a number, else the text itself."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parameter_values(arguments: Sequence[str]) -> dict[str, tuple[int | float | str, ...]]:
    """Options of the family's parameters: ``--f 8,16,32 --k 3``.

    >>> parameter_values(["--f", "8,16", "--k=3"])
    {'f': (8, 16), 'k': (3,)}
    """
    values: dict[str, tuple[int | float | str, ...]] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not name or (not equals and not rest):
            raise BadInputError(f"'{word}'", expected="an option, or --PARAMETER v1,v2,...")
        text = text if equals else rest.pop(0)
        if name in values:
            raise BadInputError(f"--{name}", expected="it once, its values separated by commas", got="twice")
        values[name] = tuple(number(part.strip()) for part in text.split(",") if part.strip())
        if not values[name]:
            raise BadInputError(f"--{name}", expected="values separated by commas", got=repr(text))
    return values


def limits(texts: Iterable[str]) -> dict[str, float]:
    """Upper limits of complexities: ``params=20000``.

    >>> limits(["params=20000"])
    {'params': 20000.0}
    """
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            equals = ""
        if not equals or not name.strip() or not found[name.strip()] > 0:
            raise BadInputError("--max", expected="NAME=NUMBER, like params=20000", got=repr(text))
    return found


def assignments(texts: Iterable[str], option: str) -> dict[str, int | float | str]:
    """Pairs like ``epochs=10``."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip() or not value.strip():
            raise BadInputError(option, expected="NAME=VALUE", got=repr(text))
        found[name.strip()] = number(value.strip())
    return found


def task(image: str, classes: int) -> Task:
    """What networks are for, from ``28x28x1`` and a number of classes.

    >>> task("32x32x3", 10)
    Task(height=32, width=32, channels=3, classes=10)
    """
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([13])", image.strip())
    if not match:
        raise BadInputError("--image", expected="HEIGHTxWIDTHxCHANNELS, like 28x28x1", got=repr(image))
    height, width, channels = map(int, match.groups())
    return Task(height, width, channels, classes)


def command() -> str:
    """The command as it was written."""
    return " ".join(["cpmodel", *map(hidden, sys.argv[1:])]) if sys.argv[0].endswith("cpmodel") else ""


def choice(text: str, known: Sequence[str], option: str) -> Any:
    """One of some words."""
    if text not in known:
        raise BadInputError(option, expected="one of " + ", ".join(known), got=repr(text))
    return text

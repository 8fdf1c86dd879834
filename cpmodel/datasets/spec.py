"""The words by which images are named: ``NAME``, ``NAME:PATH``, with options as ``?key=value&key=value``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cpmodel import registry
from cpmodel.datasets.arrays import located
from cpmodel.datasets.loaded import HELD_OUT, Loaded, Request
from cpmodel.errors import DatasetError

T = TypeVar("T")

LARGEST_SIZE = 2048
COMMON_OPTIONS = ("size", "channels", "validation", "test", "mirrored")


@dataclass(frozen=True)
class Source:
    """A kind of image set; a plug-in of the entry point group ``cpmodel.datasets`` names one."""

    summary: str  # one line for help texts
    read: Callable[[Request], Loaded]
    takes_path: bool = False  # whether ``:PATH`` follows the name
    options: tuple[str, ...] = ()  # beside the common ones


def parse(spec: str, *, image_size: int | None, seed: int) -> tuple[Source, Request]:
    """The source that `spec` names and what is asked of it."""
    text = spec.strip()
    address, _, query = text.partition("?")
    name, colon, path = address.partition(":")
    if name not in registry.names("datasets"):
        known = ", ".join(registry.written("datasets"))
        mine = bool(address) and Path(address).expanduser().exists()
        hint = " (for files of your own write folder:PATH or npz:PATH)" if mine else ""
        raise DatasetError("data set", expected=known, got=f"'{text}'{hint}")
    source = registry.made("datasets", name, Source)
    if bool(path if source.takes_path else colon) != source.takes_path:
        wanted = f"{name}:PATH" if source.takes_path else f"{name} without a path"
        raise DatasetError("data set", expected=wanted, got=f"'{text}'")
    with located(text):
        if seed < 0:
            raise DatasetError("seed of the splits", expected="0 or more", got=seed)
        options = _options(query, (*COMMON_OPTIONS, *source.options))
        request = Request(
            text=text,
            path=Path(path).expanduser() if path else None,
            size=_size(options.pop("size", None), image_size),
            channels=_one_of("channels", options, {"1": 1, "3": 3}, "1 (gray) or 3 (colour)"),
            fractions=_fractions(options),
            seed=seed,
            mirrored_alike=_one_of("mirrored", options, {"alike": True, "other": False}, "alike or other"),
            options=options,
        )
    return source, request


def _options(query: str, known: Collection[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for clause in filter(None, query.split("&")):
        key, _, value = clause.partition("=")
        if key not in known:
            raise DatasetError(f"option '{key}'", expected="one of " + ", ".join(known))
        if not value or key in options:
            raise DatasetError(f"option '{key}'", expected=f"{key}=VALUE, once", got=f"'{query}'")
        options[key] = value
    return options


def _size(option: str | None, argument: int | None) -> int | None:
    """Of the two ways to ask for a size either may be used, or both if they agree."""
    asked = [str(value) for value in (option, argument) if value is not None]
    for value in asked:
        if not (value.isdecimal() and 1 <= int(value) <= LARGEST_SIZE):
            raise DatasetError("image size", expected=f"1 to {LARGEST_SIZE} pixels", got=value)
    if len(set(map(int, asked))) > 1:
        raise DatasetError("image size", expected="one size", got=" and ".join(asked))
    return int(asked[0]) if asked else None


def _one_of(name: str, options: dict[str, str], meanings: Mapping[str, T], expected: str) -> T | None:
    """Takes an option with a few words for its values out of `options`."""
    if name in options and options[name] not in meanings:
        raise DatasetError(f"option '{name}'", expected=expected, got=options[name])
    return meanings[options.pop(name)] if name in options else None


def fraction(option: str, value: str) -> float:
    """The value of an option that is a fraction in (0, 1]."""
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise DatasetError(f"option '{option}'", expected="a fraction in (0, 1]", got=value)
    return number


def _fractions(options: dict[str, str]) -> dict[str, float]:
    """Takes both shares out of `options`."""
    fractions = {n: fraction(n, options.pop(n, str(HELD_OUT))) for n in ("validation", "test")}
    if (total := sum(fractions.values())) >= 1:
        raise DatasetError("options 'validation' and 'test'", expected="a sum below 1", got=total)
    return fractions

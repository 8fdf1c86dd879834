"""The words by which images are named: ``NAME``, ``NAME:PATH``, with options as ``?key=value&key=value``."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from cpmodel import registry
from cpmodel.datasets.loaded import HELD_OUT, Loaded, Request
from cpmodel.errors import DatasetError

LARGEST_SIZE = 2048
COMMON_OPTIONS = ("size", "channels", "validation", "test", "mirrored")


@dataclass(frozen=True)
class Source:
    """A kind of image set.

    Parameters
    ----------
    summary : str
        One line for help texts.
    read : callable
    takes_path : bool
        Whether ``:PATH`` follows the name.
    options : tuple of str
        Beside the common ones.
    """

    summary: str
    read: Callable[[Request], Loaded]
    takes_path: bool = False
    options: tuple[str, ...] = ()


def parse(spec: str, *, image_size: int | None, seed: int) -> tuple[Source, Request]:
    """The source that `spec` names and what is asked of it.

    Raises
    ------
    DatasetError
        Unknown name or option, a path missing or too many, a value that cannot be.
    """
    text = spec.strip()
    address, _, query = text.partition("?")
    name, colon, path = address.partition(":")
    if name not in registry.names("datasets"):
        known = [_word(key) for key in registry.names("datasets")]
        hint = (
            " (for files of your own write folder:PATH or npz:PATH)"
            if Path(address).expanduser().exists()
            else ""
        )
        raise DatasetError("data set", expected=", ".join(known), got=f"'{text}'{hint}")
    if seed < 0:
        raise DatasetError("seed of the splits", expected="0 or more", got=seed, where=text)
    source = _source(name)
    if source.takes_path and not path:
        raise DatasetError("data set", expected=f"{name}:PATH", got=f"'{text}'")
    if colon and not source.takes_path:
        raise DatasetError("data set", expected=f"{name} without a path", got=f"'{text}'")
    options = _options(query, (*COMMON_OPTIONS, *source.options), text)
    request = Request(
        text=text,
        path=Path(path).expanduser() if path else None,
        size=_size(options.pop("size", None), image_size, text),
        channels=_channels(options.pop("channels", None), text),
        fractions=_fractions(options, text),
        seed=seed,
        mirrored_alike=_mirrored_alike(options.pop("mirrored", None), text),
        options=options,
    )
    return source, request


def _source(name: str) -> Source:
    found = registry.plugin("datasets", name)
    if not isinstance(found, Source):
        raise DatasetError(f"data set {name}", expected="a cpmodel.datasets.Source", got=type(found).__name__)
    return found


def _word(name: str) -> str:
    return f"{name}:PATH" if _source(name).takes_path else name


def _options(query: str, known: Collection[str], where: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for clause in filter(None, query.split("&")):
        key, _, value = clause.partition("=")
        if key not in known:
            raise DatasetError(f"option '{key}'", expected="one of " + ", ".join(known), where=where)
        if not value or key in options:
            raise DatasetError(
                f"option '{key}'", expected=f"{key}=VALUE, once", got=f"'{query}'", where=where
            )
        options[key] = value
    return options


def _size(option: str | None, argument: int | None, where: str) -> int | None:
    """Of the two ways to ask for a size either may be used, or both if they agree."""
    given = [value for value in (option, argument) if value is not None]
    sizes = set()
    for value in given:
        try:
            size = int(value)
        except ValueError:
            size = 0
        if not 1 <= size <= LARGEST_SIZE or isinstance(value, bool):
            raise DatasetError("image size", expected=f"1 to {LARGEST_SIZE} pixels", got=value, where=where)
        sizes.add(size)
    if len(sizes) > 1:
        raise DatasetError("image size", expected="one size", got=f"{option} and {argument}", where=where)
    return sizes.pop() if sizes else None


def _channels(option: str | None, where: str) -> int | None:
    if option not in (None, "1", "3"):
        raise DatasetError("option 'channels'", expected="1 (gray) or 3 (colour)", got=option, where=where)
    return int(option) if option else None


def _mirrored_alike(option: str | None, where: str) -> bool | None:
    if option not in (None, "alike", "other"):
        raise DatasetError("option 'mirrored'", expected="alike or other", got=option, where=where)
    return None if option is None else option == "alike"


def fraction(option: str, value: str, where: str) -> float:
    """The value of an option that is a fraction in (0, 1]."""
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise DatasetError(f"option '{option}'", expected="a fraction in (0, 1]", got=value, where=where)
    return number


def _fractions(options: dict[str, str], where: str) -> dict[str, float]:
    """Takes both shares out of `options`."""
    fractions = {
        name: fraction(name, options.pop(name), where) if name in options else HELD_OUT
        for name in ("validation", "test")
    }
    if sum(fractions.values()) >= 1:
        raise DatasetError(
            "options 'validation' and 'test'",
            expected="a sum below 1",
            got=sum(fractions.values()),
            where=where,
        )
    return fractions

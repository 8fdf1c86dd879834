"""Commands derived from option groups: one more field of a group is one more option of all that take it."""

from __future__ import annotations

import argparse
import inspect
import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import Field, dataclass, fields, make_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from cpmodel.errors import BadInputError
from cpmodel.pipeline.options import Options, checked, option, told

Value = int | float | str
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_PARAMETER = "--PARAMETER v1,v2,..."
# What was written, as keywords; a command's own options are always there
Given = dict[str, Any]
# Gives the study or table that it worked on, if any, and its result
Work = Callable[[Given], tuple[Any, Any]]


class Parser(argparse.ArgumentParser):
    """Raises an error in one line where it does not understand; expands no abbreviations."""

    def __init__(self, **about: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **about)

    def error(self, message: str) -> NoReturn:
        """Raise it as any other error of what the user gives."""
        raise BadInputError(message)


@dataclass(frozen=True)
class Command:
    """A function as a command, the options of its groups and of its own by their names.

    A command that takes `values` takes options that nobody declared for those of a family's parameters.
    """

    work: Work
    groups: tuple[type[Options], ...]
    own: dict[str, Field[Any]]

    @cached_property
    def options(self) -> dict[str, Field[Any]]:
        """All that the command line has, by their names."""
        kinds = [(name, "bool" if f.default is False else "str | None", f) for name, f in self.own.items()]
        groups = (*self.groups, make_dataclass("Own", kinds, frozen=True))
        return {each.name: each for group in groups for each in fields(group) if flags_of(each)}

    def add(self, commands: Any, *, asked: bool) -> None:
        """Teach a parser this command; its help looks up what is installed, so only where it is asked for."""
        name, about = self.work.__name__, inspect.getdoc(self.work) or ""
        usage, summary = f"cpmodel {name} [OPTIONS]", about.partition("\n")[0]
        parser = commands.add_parser(name, help=summary, description=about, usage=usage)
        for each in self.options.values():
            flags, metavar = flags_of(each), each.metadata["metavar"]
            how: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(each) if asked else ""}
            if flags[0][0] != "-":
                how, flags = {**how, "nargs": "?", "metavar": f"[{flags[0]}]"}, [each.name]
            elif each.default is False:
                how |= {"dest": each.name, "action": "store_true"}
            else:
                action = "append" if "=" in metavar else "store"
                how |= {"dest": each.name, "action": action, "metavar": metavar}
            parser.add_argument(*flags, **how)

    def given(self, words: dict[str, Any], rest: list[str]) -> Given:
        """What was written, read as each option wants it; `rest` are the words that no option has."""
        given = {name: each.default for name, each in self.own.items()}
        if rest and not any(each.name == "values" for group in self.groups for each in fields(group)):
            raise BadInputError("unknown", expected="what --help tells of", got=" ".join(rest))
        if rest:
            given["values"] = parameter_values(rest)
        for each in self.options.values():
            given |= _read(each, words[each.name]) if each.name in words else {}
        return given


def command(*groups: type[Options], **own: Any) -> Callable[[Work], Command]:
    """Make a function a `Command` with the options of these groups, and its own, as `option` makes them."""
    json = option(False, "Print the result as JSON.")
    return lambda work: Command(work, groups, {**own, "json": json})


def flags_of(each: Field[Any]) -> list[str]:
    """As they are written, a short one first; none of an option that only Python has."""
    flag, long = each.metadata["flag"], "--" + each.name.replace("_", "-")
    if flag is None:
        return []
    return [flag, long] if flag[:1] == "-" and flag[:2] != "--" else [flag or long]


def _help(each: Field[Any]) -> str:
    shown = each.default not in (None, "", False, ())
    return (told(each) + (f" [default: {each.default}]" if shown else "")).replace("%", "%%")


def _read(each: Field[Any], written: Any) -> dict[str, Any]:
    """What was written of one option, as keywords: words like 10m may be several."""
    flag, reader = flags_of(each)[-1], READERS.get(each.metadata["metavar"])
    found = written if reader is None else reader(written, flag)
    if reader is None and {"int", "float"} & set(str(each.type).split(" | ")):
        found = number(written)
    return found if isinstance(found, Keywords) else {each.name: checked(each, found, flag)}


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


def recipe(texts: Iterable[str], option: str) -> dict[str, Any]:
    """Fields of a recipe; several words of one field are joined by a plus sign: ``augment=flip+shift``.

    A text without an equals sign is a file of such fields, which those that are written beside it change.
    """
    files = [text for text in texts if "=" not in text]
    written = pairs([text for text in texts if text not in files], option)
    if "augment" in written:
        written["augment"] = tuple(word for word in str(written["augment"]).split("+") if word != "none")
    if len(files) > 1:
        raise BadInputError(option, expected="one file", got=", ".join(files))
    if not files:
        return written
    from cpmodel.recipe import read_recipe

    return read_recipe(Path(files[0]).expanduser()) | written


# How an option is read, by its metavar; any other is the text that it is, or its number
READERS: dict[str, Callable[..., Any]] = {
    "P": fraction,
    "P:P": span,
    "N|TIME": budget,
    "NAMES": names,
    "T": lambda text, option: pairs(text.split(","), option),
    "NAME=NUMBER": limits,
    "FIELD=VALUES": axes,
    "FILE|FIELD=VALUE": recipe,
}

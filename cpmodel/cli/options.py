"""Commands derived from option groups: one more field of a group is one more option of all that take it."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from dataclasses import Field, dataclass, fields, make_dataclass
from functools import cached_property
from typing import Any, NoReturn

from cpmodel.cli import values
from cpmodel.errors import BadInputError
from cpmodel.pipeline.options import Options, checked, option, told

# What was written, as keywords; a command's own options are always there
Given = dict[str, Any]
# Gives the study or table that it worked on, if any, and its result
Work = Callable[[Given], tuple[Any, Any]]


class Parser(argparse.ArgumentParser):
    """Raises an error in one line where it does not understand; expands no abbreviations."""

    def __init__(self, **about: Any) -> None:
        shape = argparse.RawDescriptionHelpFormatter
        super().__init__(allow_abbrev=False, formatter_class=shape, **about)

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
                how |= {
                    "dest": each.name,
                    "action": "append" if "=" in metavar else "store",
                    "metavar": metavar,
                }
            parser.add_argument(*flags, **how)

    def given(self, words: dict[str, Any], rest: list[str]) -> Given:
        """What was written, read as each option wants it; `rest` are the words that no option has."""
        given = {name: each.default for name, each in self.own.items()}
        if rest and not any(each.name == "values" for group in self.groups for each in fields(group)):
            raise BadInputError("unknown", expected="what --help tells of", got=" ".join(rest))
        if rest:
            given["values"] = values.parameter_values(rest)
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
    flag, reader = flags_of(each)[-1], values.READERS.get(each.metadata["metavar"])
    found = written if reader is None else reader(written, flag)
    if reader is None and {"int", "float"} & set(str(each.type).split(" | ")):
        found = values.number(written)
    return found if isinstance(found, values.Keywords) else {each.name: checked(each, found, flag)}

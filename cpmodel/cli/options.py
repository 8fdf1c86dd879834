"""Commands derived from option groups: one more field of a group is one more option of all that take it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, fields
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from cpmodel.cli import values
from cpmodel.errors import BadInputError
from cpmodel.pipeline.options import Options, told

STUDY = "study"
Study = Annotated[str, typer.Option("--study", "-o", metavar="FOLDER", help="Folder of the study.")]
Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A study's folder, or a CSV table of measurements.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

# The options of each group that were written, as keywords of what takes the group
Given = Mapping[type[Options], dict[str, Any]]
Command = Callable[..., int]


def command(
    app: typer.Typer, *groups: type[Options], example: str, without: tuple[str, ...] = (), free: bool = False
) -> Callable[[Command], Command]:
    """Register a function as a command that takes the groups' options beside those of its signature.

    Parameters
    ----------
    groups
        What the function gets of them is its first argument, `Given`.
    example : str
        A line of the shell, below the help.
    without : tuple of str
        Fields of the groups that this command has not.
    free : bool
        Whether options that nobody declared are taken, too: the parameters of a family.
    """
    known = {
        each.name: (group, each)
        for group in groups
        for each in fields(group)
        if each.name not in without and each.metadata.get("flags") != ()
    }

    class Derived(TyperCommand):
        """Looks up the names that help texts list only when somebody asks for help."""

        def format_options(self, ctx: Any, formatter: Any) -> None:
            for parameter in self.params:
                if parameter.name in known:
                    parameter.help = _help(known[parameter.name][1])  # type: ignore[attr-defined]
            super().format_options(ctx, formatter)

    def registered(function: Command) -> Command:
        def called(**words: Any) -> int:
            given: dict[type[Options], dict[str, Any]] = {group: {} for group in groups}
            for name, (group, each) in known.items():
                written = words.pop(name)
                if written not in (None, [], False):
                    given[group] |= _read(each, written)
            return function(given, **words)

        own = [*signature(function, eval_str=True).parameters.values()][1:]
        derived = [_parameter(each) for _, each in known.values()]
        called.__name__, called.__doc__ = function.__name__, function.__doc__
        placed = [each for each in own if each.kind is not Parameter.KEYWORD_ONLY]
        called.__signature__ = Signature([*placed, *derived, *own[len(placed) :]])  # type: ignore[attr-defined]
        extra = {"allow_extra_args": True, "ignore_unknown_options": True} if free else None
        app.command(cls=Derived, epilog=f"Example: {example}", context_settings=extra)(called)
        return function

    return registered


def _flags(each: Field[Any]) -> tuple[str, ...]:
    return tuple(each.metadata.get("flags") or ("--" + each.name.replace("_", "-"),))


def _help(each: Field[Any]) -> str:
    shown = each.default not in (None, "", False, ())
    return told(each) + (f" [default: {each.default}]" if shown else "")


def _read(each: Field[Any], written: Any) -> dict[str, Any]:
    """What was written of one option, as keywords: words like 10m may be several."""
    among = each.metadata["among"]
    if among and written not in among:
        raise BadInputError(_flags(each)[0], expected="one of " + ", ".join(among), got=repr(written))
    if each.metadata["words"]:
        written = getattr(values, each.metadata["words"])(written, _flags(each)[0])
    if isinstance(written, values.Budget):
        return {"budget": written.trainings, "seconds": written.seconds}
    return {each.name: written}


def _parameter(each: Field[Any]) -> Parameter:
    """A field as a parameter of a typer command; what is not written is None."""
    about, kinds = each.metadata, str(each.type).split(" | ")
    kind: Any = next((k for k in (bool, int, float) if k.__name__ in kinds and not about["words"]), str)
    least = int(about["within"][1:].partition(",")[0]) if kind is int and about["within"] else None
    option = typer.Option(
        *_flags(each), metavar=about["metavar"] or None, min=least, help="", show_default=False
    )
    kind = list[str] if about["repeated"] else kind
    default = False if kind is bool else None
    annotation: Any = Annotated[kind if kind is bool else kind | None, option]
    return Parameter(each.name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)

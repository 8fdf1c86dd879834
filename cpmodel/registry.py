"""Plug-ins: families, data sets, metrics and precision models, found by their entry points; ours too."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from cpmodel.errors import BadInputError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

T = TypeVar("T")
Kind = Literal["families", "datasets", "metrics", "precision_models"]

_WORDS: dict[Kind, str] = {
    "families": "family",
    "datasets": "data set",
    "metrics": "metric",
    "precision_models": "precision model",
}


def names(kind: Kind) -> tuple[str, ...]:
    """Names of everything of that kind that is installed, in alphabetical order."""
    return tuple(sorted({point.name for point in _installed(kind)}))


def written(kind: Kind) -> list[str]:
    """The same as a user writes them: a path follows those of the group ``cpmodel.<kind>.path``."""
    from importlib.metadata import entry_points

    found = entry_points()
    paths = found.select(group=f"cpmodel.{kind}.path").names
    known = sorted(found.select(group=f"cpmodel.{kind}").names)
    return [f"{name}:PATH" if name in paths else name for name in known]


def plugin(kind: Kind, name: str) -> Any:
    """What the entry point `name` of the group ``cpmodel.<kind>`` names, or ``module:name``, loaded."""
    from importlib.metadata import EntryPoint

    direct = [EntryPoint(name, name, kind)] if ":" in name else []
    for point in [*direct, *_installed(kind).select(name=name)]:
        try:
            return point.load()
        except Exception as error:  # whatever a person's module can raise
            reason = (str(error).splitlines() or [""])[0]
            if not isinstance(error, (ImportError, AttributeError)):
                reason = f"{type(error).__name__}: {reason}"
            raise BadInputError(f"{_WORDS[kind]} {name}: {reason}", expected="one that imports") from error
    known = ", ".join(names(kind))
    raise BadInputError(_WORDS[kind], expected=f"one of {known}, or MODULE:NAME", got=name)


def made(kind: Kind, name: str, of: type[T]) -> T:
    """The plug-in itself, or what it makes when it is called, which must be one `of` the class."""
    found = plugin(kind, name)
    return of_kind(kind, name, found() if callable(found) else found, of)


def of_kind(kind: Kind, name: str, one: Any, of: type[T]) -> T:
    """A plug-in, which must be one `of` the class."""
    if not isinstance(one, of):
        expected = f"a cpmodel.{kind}.{of.__name__}"
        raise BadInputError(f"{_WORDS[kind]} {name}", expected=expected, got=type(one).__name__)
    return one


def name_of(kind: Kind, made: Any) -> str:
    """The name by which another process finds what an object is made from, itself called without arguments.

    There is none, and that is refused, where its class was defined in a program or a function.
    """
    known = [getattr(made, "name", ""), f"{type(made).__module__}:{type(made).__qualname__}"]
    for name in known:
        if name and "__main__" not in name:
            with suppress(BadInputError):
                if plugin(kind, name) is type(made):
                    return str(name)
    expected = "a class of a module, which worker processes can import"
    raise BadInputError(f"{_WORDS[kind]} {known[0]}", expected=expected, got=known[1])


def _installed(kind: Kind) -> EntryPoints:
    from importlib.metadata import entry_points  # a tenth of the time until help is on the screen

    return entry_points(group=f"cpmodel.{kind}")

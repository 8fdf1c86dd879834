"""The options, each declared once: Python takes the fields as keywords, the command line derives from them.

A field says its type, its default and, in `metadata`, its help; what it may be is checked by that alone. The
metadata are

- ``help``, ``metavar``: for people; `told` fills in the names that ``{families}`` and its like stand for;
- ``flags``: on the command line, ``--name`` unless given; empty for an option that only Python has;
- ``words``: the function of `cpmodel.cli.values` that reads what is written there;
- ``repeated``: whether it may be given several times there, as whatever reads NAME=VALUE;
- ``within``: the interval of a number, like ``(0, 1]``;
- ``among``: the words that there are.
"""

# ruff: noqa: RUF009 - `option` makes a field, which dataclasses do not share
from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from functools import wraps
from inspect import Parameter, signature
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from cpmodel import registry
from cpmodel.errors import BadInputError

if TYPE_CHECKING:
    from cpmodel.datasets.base import ImageSet
    from cpmodel.families import Family
    from cpmodel.metrics import Metric
    from cpmodel.recipe import Recipe
    from cpmodel.samples import Samples
    from cpmodel.space import Configuration, Value

R = TypeVar("R")

COUNT = "[1, inf)"
_BASELINE = "Baseline configuration, f=64,s=28,...; default: each largest value."


def option(
    default: Any,
    help: str,
    metavar: str = "",
    *,
    flags: tuple[str, ...] | None = None,
    words: str = "",
    within: str = "",
    among: tuple[str, ...] = (),
) -> Any:
    """A field of an option group; see the head of the module."""
    repeated = "=" in metavar
    said = f"{help}; may be given several times." if repeated else help
    kept = {"help": said, "metavar": metavar, "words": words, "within": within, "among": among}
    named = {} if flags is None else {"flags": flags}
    return field(default=default, metadata={**kept, **named, "repeated": repeated})


@dataclass(frozen=True)
class Options:
    """A group of options; whatever is no number of its kind is refused when it is made."""

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, _checked(each, getattr(self, each.name)))


@dataclass(frozen=True)
class StudyOptions(Options):
    """What a study is made of; what is None is as the study there has it."""

    dataset: str | ImageSet | None = option(
        None, "Images: {datasets}; default: embedded.", "NAME", flags=("--dataset", "-d")
    )
    family: str | Family | None = option(None, "Family of networks: {families}; default: plain.", "NAME")
    values: Mapping[str, Sequence[Value]] | None = option(
        None, "Values of the family's parameters, instead of its own.", flags=()
    )
    baseline: Configuration | None = option(None, _BASELINE, "T", words="configuration")
    axes: Mapping[str, Sequence[Value]] | None = option(
        None,
        "Search a field of the recipe, too: epochs=3,6,12",
        "FIELD=VALUES",
        flags=("--axis",),
        words="axes",
    )
    recipe: Mapping[str, Any] | Recipe | None = option(
        None, "A field of the training recipe: epochs=10", "FIELD=VALUE", words="recipe"
    )
    metric: str | Metric | None = option(
        None, "What precision means: {metrics}, topK; default: accuracy.", "NAME"
    )
    seed: int | None = option(
        None, "All randomness of the study comes from it; default: 0.", "N", within="[0, 4294967295]"
    )
    storage: str | None = option(
        None, "Optuna storage URL, instead of study.db in the folder; many machines can share one.", "URL"
    )


@dataclass(frozen=True)
class ComplexityOptions(Options):
    """What is minimised, and what limits other complexities."""

    complexity: str = option(
        "",
        "What is minimised: a cost or a column; default: the main one.",
        "NAME",
        flags=("--complexity", "-c"),
    )
    limits: Mapping[str, float] = option(
        None, "Limit on another complexity: params=20000", "NAME=NUMBER", flags=("--max",), words="limits"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "limits", {k: float(v) for k, v in (self.limits or {}).items()})


@dataclass(frozen=True)
class Asked(ComplexityOptions):
    """What may be asked for: a precision, or a drop below the baseline's, and how sure it must be."""

    target: float | None = option(
        None,
        "Precision to reach: 0.88 or 88%.",
        "P",
        flags=("--target", "-t"),
        words="fraction",
        within="(0, 1]",
    )
    drop: float | None = option(
        None,
        "Instead: how far below the baseline it may lie, 0.02 or 2%.",
        "P",
        words="fraction",
        within="(0, 1]",
    )
    confidence: float = option(
        0.9, "Probability of reaching the target that an answer needs.", "P", within="[0.5, 1)"
    )

    @property
    def goal(self) -> Goal | None:
        """The goal, where one is asked for."""
        return None if self.target is None and self.drop is None else Goal(**vars(self))


@dataclass(frozen=True)
class Goal(Asked):
    """What is asked for: either a target or a drop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.target is None) == (self.drop is None):
            got = "neither" if self.target is None else "both"
            raise BadInputError("target, or drop below the baseline", expected="one of them", got=got)

    def precision(self, samples: Samples) -> float:
        """The target as a precision; a drop is counted from the baseline's mean over its seeds.

        Raises
        ------
        BadInputError
            It hangs on the baseline, which was not trained.
        """
        if self.drop is None:
            return float(self.target or 0)
        measured = samples.measured
        baseline = samples.space.key(samples.space.baseline)
        rows = [number for number, key in enumerate(measured.keys) if key == baseline]
        if not rows:
            raise BadInputError("drop", expected=f"samples of the baseline {baseline}", got="none")
        precision = float(measured.precision[rows].mean())
        if self.drop >= precision:
            raise BadInputError(
                "drop", expected=f"less than the baseline's precision, {precision:.4f}", got=self.drop
            )
        return precision - self.drop


@dataclass(frozen=True)
class CurveGoal(ComplexityOptions):
    """Which part of C(P) is asked for: that between two precisions."""

    low: float = option(0.0, "The lower precision.", flags=(), within="(0, 1)")
    high: float = option(0.0, "The higher precision.", flags=(), within="(0, 1)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high:
            raise BadInputError(
                "curve", expected="two precisions like 0.80:0.92", got=f"{self.low:g}:{self.high:g}"
            )


@dataclass(frozen=True)
class Machine(Options):
    """What trains, and how much of it at once."""

    workers: int | None = option(
        None, "Trainings at once; default: one a core, 8 a GPU.", "N", flags=("--workers", "-j"), within=COUNT
    )
    device: str | None = option(None, "What trains: cpu, cuda (all GPUs), cuda:1, auto (default).", "NAME")


@dataclass(frozen=True)
class Training(Machine):
    """How much is trained."""

    budget: int | None = option(
        40, "Trainings in all (40), or a time (90s, 10m, 2h).", "N|TIME", words="budget", within=COUNT
    )
    seconds: float | None = option(
        None, "Time after which no training is started any more.", flags=(), within="(0, inf)"
    )
    full: bool = option(False, "Train everything to its end, even where the end can be foreseen.")


@dataclass(frozen=True)
class Effort(Training):
    """How much a search may spend."""

    tolerance: float = option(
        0.05, "Stop when less saving is expected, or a curve is known to it.", "FRACTION", within="[0, 1)"
    )
    measured: int = option(60, "Run-times measured for the model of them.", "N", within="[0, inf)")
    batch: int = option(64, "Images in one forward pass when run-time is measured.", "N", within=COUNT)


@dataclass(frozen=True)
class DesignOptions(Options):
    """Which configurations are trained to learn from, and how often."""

    design: str = option("spread", "Design of the sampling: {designs}.", "NAME")
    vary: Sequence[str] | None = option(
        None, "Only these parameters move: f,s; default: all.", "NAMES", words="names"
    )
    seeds: int = option(1, "Trainings of each configuration.", "N", within=COUNT)


@dataclass(frozen=True)
class ProofOptions(Options):
    """What is verified, and on how many fresh seeds at first."""

    configuration: Configuration | str | None = option(
        None, "Configuration f=8,s=20,...; default: what optimize chooses.", "T", flags=("--config",)
    )
    seeds: int = option(
        3, "Fresh seeds at first; more are trained where these leave it open.", "N", within="[3, inf)"
    )


@dataclass(frozen=True)
class MeasureOptions(Options):
    """How run-times of untrained networks are measured."""

    count: int = option(100, "Configurations drawn from the space.", "N", within="[0, inf)")
    batch: int = option(64, "Images in one forward pass.", "N", within=COUNT)
    threads: int = option(1, "Processor threads.", "N", within=COUNT)
    dtype: str = option("float32", "float32, bfloat16 or float16.", "NAME")
    device: str = option("cpu", "cpu, cuda, ...", "NAME")


@dataclass(frozen=True)
class FitOptions(Options):
    """Which models are fitted."""

    model: str = option("auto", "Precision model: {precision_models}.", "NAME")
    costs: str | None = option(None, "Run-times of another device (cpmodel measure --out there).", "CSV")


@dataclass(frozen=True)
class TableOptions(Options):
    """How a table of measurements is read."""

    parameters: Sequence[str] = option(
        (), "CSV: names of the parameter columns, c1,c2,... (default: f,s,k,l).", "NAMES", words="names"
    )
    precision: str = option("precision", "CSV: name of the precision column.", "NAME")
    seed_column: str = option("seed", "CSV: name of the seed column.", "NAME")
    unit: Literal["auto", "fraction", "percent"] = option(
        "auto", "CSV: what precision is; auto looks at it.", "UNIT", among=("auto", "fraction", "percent")
    )
    baseline: Configuration | None = option(None, _BASELINE, "T", words="configuration")
    family: str | None = option(None, "Without a study: family of networks; default: plain.", "NAME")
    image: str | tuple[int, int, int] | None = option(
        None, "Without a study: what networks take, height x width x channels, 28x28x1.", "HxWxC"
    )
    classes: int = option(10, "Without a study: number of classes.", "N", within="[2, inf)")


def takes(*groups: type[Options], **defaults: Any) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """A function of option groups as one of their fields: ``run(target=0.9, budget=40)``.

    What is decorated takes the groups first (after `self`). The signature and the docstring tell the fields.

    Parameters
    ----------
    **defaults
        Defaults that differ from those of the fields.
    """
    known = {each.name: each for group in groups for each in fields(group)}

    def decorated(function: Callable[..., R]) -> Callable[..., R]:
        parameters = list(signature(function).parameters.values())
        start = int(parameters[0].name == "self")
        del parameters[start : start + len(groups)]
        other = [p.name for p in parameters[start:]]

        @wraps(function)
        def call(*given: Any, **keywords: Any) -> R:
            for name in keywords:
                if name not in known and name not in other:
                    expected = "one of " + ", ".join([*known, *other])
                    raise BadInputError(f"{function.__name__}: option {name}", expected=expected)
            chosen = {**defaults, **{name: keywords.pop(name) for name in known if name in keywords}}
            made = [g(**{f.name: chosen[f.name] for f in fields(g) if f.name in chosen}) for g in groups]
            return function(*given[:start], *made, *given[start:], **keywords)

        free = [p for p in parameters if p.kind is not Parameter.KEYWORD_ONLY]
        options = [
            Parameter(n, Parameter.KEYWORD_ONLY, default=defaults.get(n, f.default), annotation=f.type)
            for n, f in known.items()
        ]
        shown = [*free, *options, *parameters[len(free) :]]
        call.__signature__ = signature(function).replace(parameters=shown)  # type: ignore[attr-defined]
        rows = "\n".join(f"{name}\n    {told(each)}" for name, each in known.items())
        call.__doc__ = f"{(function.__doc__ or '').rstrip()}\n\nOptions\n-------\n{rows}\n"
        return call

    return decorated


def told(each: Field[Any]) -> str:
    """The help of an option, with the names of all that is installed."""

    def names(found: re.Match[str]) -> str:
        if found[1] == "designs":
            from cpmodel.search.designs import DESIGNS

            return ", ".join(DESIGNS)
        kinds = {kind: kind for kind in get_args(registry.Kind)}
        return ", ".join(registry.names(kinds[found[1]]))

    return re.sub(r"\{(\w+)\}", names, each.metadata["help"])


def _checked(each: Field[Any], value: Any) -> Any:
    """The value of an option, a number of numpy as Python's own; anything that it cannot be is refused."""
    kinds, limits, among = str(each.type).split(" | "), each.metadata["within"], each.metadata["among"]
    if value is None and "None" in kinds:
        return None
    if "int" in kinds or "float" in kinds:
        kind, number = (int, Integral) if "int" in kinds else (float, Real)
        fits = not isinstance(value, bool) and isinstance(value, number) and math.isfinite(float(value))
        if fits and _inside(float(value), limits):
            return kind(value)
        expected = ("a whole number" if kind is int else "a number") + _said(limits)
    elif among and value not in among:
        expected = "one of " + ", ".join(among)
    elif kinds == ["str"] and not isinstance(value, str):
        expected = "a text"
    elif kinds == ["bool"] and not isinstance(value, bool):
        expected = "True or False"
    else:
        return value
    raise BadInputError(each.name, expected=expected, got=repr(value) if isinstance(value, str) else value)


def _inside(number: float, interval: str) -> bool:
    low, high = _ends(interval)
    above = number >= low if interval.startswith("[") else number > low
    return above and (number <= high if interval.endswith("]") else number < high)


def _said(interval: str) -> str:
    low, high = _ends(interval)
    if math.isfinite(high):
        return f" in {interval}"
    return "" if not interval else f", {low:g} or more" if interval.startswith("[") else f" above {low:g}"


def _ends(interval: str) -> tuple[float, float]:
    low, _, high = (interval or "(-inf, inf)")[1:-1].partition(", ")
    return float(low), float(high)

"""The options, each declared once: Python takes the fields as keywords, the command line derives from them.

A field says its type, its default and, by `option`, the rest; what it may be is checked by that alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, dataclass_transform

from cpmodel import registry
from cpmodel.errors import BadInputError

if TYPE_CHECKING:
    from cpmodel.datasets.base import ImageSet
    from cpmodel.families import Family
    from cpmodel.metrics import Metric
    from cpmodel.recipe import Recipe
    from cpmodel.samples import Unit
    from cpmodel.space import Configuration, Value

    Values = Mapping[str, Sequence[Value]]
    Network = Callable[..., Any]  # a function that builds one

COUNT = "[1, inf)"


def option(
    default: Any,
    help: str,
    metavar: str = "",
    flag: str | None = "",
    within: str | tuple[str, ...] = "(-inf, inf)",
) -> Any:
    """A field of an option group.

    In its help ``{families}`` and its like stand for all that is installed. By its metavar the command line
    knows how it is written: see `cpmodel.cli.options.READERS`. A flag is a short one beside ``--name``, or a
    long one instead; without dashes what stands there by its place; None for what only Python has. A value is
    within the interval of a number, like ``(0, 1]``, or among the words that there are.
    """
    said = f"{help}; may be given several times." if "=" in metavar else help
    return field(default=default, metadata={"help": said, "metavar": metavar, "flag": flag, "within": within})


@dataclass_transform(frozen_default=True)
@dataclass(frozen=True)
class Options:
    """A group of options, a frozen dataclass as all that inherit from it; checks what it is made of."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, checked(each, getattr(self, each.name)))


# Each an option of several groups
STORAGE = option(None, "Optuna storage URL instead of study.db there; machines can share one.", "URL")
BASELINE = option(None, "Baseline configuration, f=64,s=28,...; default: each largest value.", "T")
BATCH = option(64, "Images in one forward pass when run-time is measured.", "N", within=COUNT)


class StudyOptions(Options):
    """What a study is made of; what is None is as the study there has it."""

    dataset: str | ImageSet | None = option(None, "Images: {datasets}; default: embedded.", "NAME", flag="-d")
    family: str | Family | Network | None = option(
        None, "Networks: {families}, FILE.py:FUNCTION; default: plain.", "NAME"
    )
    values: Values | None = option(None, "Values of the family's parameters, not its own.", flag=None)
    baseline: Configuration | None = BASELINE
    axes: Values | None = option(None, "Recipe's field to search: epochs=3,6", "FIELD=VALUES", flag="--axis")
    epochs: int | None = option(None, "Passes over the training images; a field of the recipe, too.", "N")
    recipe: Mapping[str, Any] | Recipe | None = option(
        None, "A TOML file of a recipe, or a field of it: epochs=10", "FILE|FIELD=VALUE"
    )
    metric: str | Metric | None = option(None, "Precision: {metrics}, topK; default: accuracy.", "NAME")
    seed: int | None = option(None, "Seed of all randomness; default: 0.", "N", within="[0, 4294967295]")
    storage: str | None = STORAGE


class ComplexityOptions(Options):
    """What is minimised, and what limits other complexities."""

    complexity: str = option("", "Cost or column to minimise; default: the main one.", "NAME", flag="-c")
    limits: Mapping[str, float] = option(None, "Limit on a cost: params=20000", "NAME=NUMBER", flag="--max")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "limits", {k: float(v) for k, v in (self.limits or {}).items()})


class Asked(ComplexityOptions):
    """What may be asked for: a precision, or a drop below the baseline's, and how sure it must be."""

    target: float | None = option(None, "Precision to reach: 0.88, 88%.", "P", flag="-t", within="(0, 1]")
    drop: float | None = option(None, "Instead: drop from the baseline's, 0.02, 2%.", "P", within="(0, 1]")
    confidence: float = option(0.9, "Probability that the target is reached.", "NUMBER", within="[0.5, 1)")


class Goal(Asked):
    """What is asked for: either a target or a drop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.target is None) == (self.drop is None):
            got = "neither" if self.target is None else "both"
            raise BadInputError("target, or drop below the baseline", expected="one of them", got=got)


class CurveGoal(ComplexityOptions):
    """Which part of C(P) is asked for: that between two precisions."""

    low: float = option(0.0, "The lower precision.", flag=None, within="(0, 1)")
    high: float = option(0.0, "The higher precision.", flag=None, within="(0, 1)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high:
            got = f"{self.low:g}:{self.high:g}"
            raise BadInputError("curve", expected="two precisions like 0.80:0.92", got=got)


class Machine(Options):
    """What trains, and how much of it at once."""

    workers: int | None = option(None, "Trainings at once; default: 1 a core, 8 a GPU.", "N", "-j", COUNT)
    device: str | None = option(None, "What trains: cpu, cuda (all GPUs), cuda:1; default: auto.", "NAME")


class Training(Machine):
    """How much is trained."""

    budget: int | None = option(40, "Trainings in all, or a time (90s, 10m, 2h).", "N|TIME", within=COUNT)
    seconds: float | None = option(None, "Time after which none begins.", flag=None, within="(0, inf)")
    full: bool = option(False, "Train everything to its end, even where the end can be foreseen.")


class Effort(Training):
    """How much a search may spend."""

    tolerance: float = option(0.05, "Stop when less saving is expected.", "FRACTION", within="[0, 1)")
    measured: int = option(60, "Run-times measured for the model of them.", "N", within="[0, inf)")
    batch: int = BATCH


class DesignOptions(Options):
    """Which configurations are trained to learn from, and how often."""

    design: str = option("spread", "Design of the sampling: {designs}.", "NAME")
    vary: Sequence[str] | None = option(None, "Only these parameters move: f,s; default: all.", "NAMES")
    seeds: int = option(1, "Trainings of each configuration.", "N", within=COUNT)


class ProofOptions(Options):
    """What is verified, and on how many fresh seeds at first."""

    configuration: Configuration | str | None = option(
        None, "Configuration f=8,s=20,...; default: what optimize chooses.", "T", flag="--config"
    )
    seeds: int = option(3, "Fresh seeds; more where these leave it open.", "N", within="[3, inf)")
    batch: int = BATCH


class MeasureOptions(Options):
    """How run-times of untrained networks are measured, or what is imported instead."""

    count: int = option(100, "Configurations drawn from the space.", "N", within="[0, inf)")
    batch: int = BATCH
    threads: int = option(1, "Processor threads.", "N", within=COUNT)
    dtype: str = option("float32", "float32, bfloat16 or float16.", "NAME")
    device: str = option("cpu", "cpu, cuda, ...", "NAME")
    costs: str | Path | None = option(None, "Import this costs table instead of measuring.", "CSV")


class FitOptions(Options):
    """Which models are fitted."""

    model: str = option("auto", "Precision model: {precision_models}.", "NAME")
    costs: str | Path | None = option(None, "Run-times of another device (cpmodel measure --out).", "CSV")


class NetworkOptions(Options):
    """What networks are talked about, where no study says so."""

    family: str | None = option(None, "Without a study: family of networks, as for run.", "NAME")
    image: str | tuple[int, int, int] | None = option(None, "Without a study: images, 28x28x1.", "HxWxC")
    classes: int = option(10, "Without a study: number of classes.", "N", within="[2, inf)")


class TableOptions(NetworkOptions):
    """How a table of measurements is read."""

    parameters: Sequence[str] = option((), "CSV: parameter columns, c1,c2,...; default: f,s,k,l.", "NAMES")
    precision: str = option("precision", "CSV: name of the precision column.", "NAME")
    seed_column: str = option("seed", "CSV: name of the seed column.", "NAME")
    unit: Unit = option("auto", "CSV: what precision is.", "UNIT", within=("auto", "fraction", "percent"))
    baseline: Configuration | None = BASELINE


def belonging(given: Mapping[str, Any], *groups: type[Options]) -> dict[str, Any]:
    """What of the given keywords these groups take."""
    return {each.name: given[each.name] for group in groups for each in fields(group) if each.name in given}


def told(each: Field[Any]) -> str:
    """The help of an option, with all that is installed as it is written."""

    def names(found: re.Match[str]) -> str:
        if found[1] == "designs":
            from cpmodel.search.designs import DESIGNS

            return ", ".join(DESIGNS)
        return ", ".join(registry.written(cast(registry.Kind, found[1])))

    return re.sub(r"\{(\w+)\}", names, each.metadata["help"])


def checked(each: Field[Any], value: Any, called: str = "") -> Any:
    """The value of an option, a number of numpy as Python's own; anything that it cannot be is refused."""
    kinds, within = str(each.type).split(" | "), each.metadata["within"]
    if value is None and "None" in kinds:
        return None
    number = int if "int" in kinds else float if "float" in kinds else None
    if number is not None:
        numeric = isinstance(value, Integral if number is int else Real) and not isinstance(value, bool)
        if numeric and _inside(value, within):
            return number(value)
        expected = ("a whole number" if number is int else "a number") + _limits(within)
    elif isinstance(within, tuple) and value not in within:
        expected = "one of " + ", ".join(within)
    elif kinds == ["str"] and not isinstance(value, str):
        expected = "a text"
    elif kinds == ["bool"] and not isinstance(value, bool):
        expected = "True or False"
    else:
        return value
    got = repr(value) if isinstance(value, str) else value
    raise BadInputError(called or each.name, expected=expected, got=got)


def _inside(number: Any, interval: str) -> bool:
    low, high = map(float, interval[1:-1].split(", "))
    ends = [low] * (interval[0] == "[") + [high] * (interval[-1] == "]")
    return low < number < high or number in ends


def _limits(interval: str) -> str:
    """What to say of an interval behind the word number."""
    low = interval[1:].partition(",")[0]
    if not interval.endswith("inf)"):
        return f" in {interval}"
    return "" if low == "-inf" else f", {low} or more" if interval[0] == "[" else f" above {low}"

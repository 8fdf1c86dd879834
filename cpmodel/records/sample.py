"""What is asked of a study and what comes of it: requests, samples, and what makes two of them the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from cpmodel.codec import dump, load
from cpmodel.errors import BadInputError
from cpmodel.samples import Status
from cpmodel.space import Configuration, Value


class Purpose(StrEnum):
    """Why a network is trained."""

    BASELINE = "baseline"
    DESIGN = "design"
    REFINE = "refine"
    VERIFY = "verify"
    PARENT = "parent"

    @property
    def keeps_weights(self) -> bool:
        """Whether the network is needed after its training: for the test split, or to start others from."""
        return self in (Purpose.BASELINE, Purpose.VERIFY, Purpose.PARENT)


@dataclass(frozen=True)
class Start:
    """Where a training begins: fresh, with new weights decided by the seed, or from another's network.

    Kinds that are not in `TRAINABLE` are refused until something can train them.
    """

    kind: Literal["fresh", "pruned", "ticket"] = "fresh"
    parent: str = ""  # identity of the sample whose network it starts from


FRESH = Start()
TRAINABLE = ("fresh",)  # kinds of start that the trainer can do


@dataclass(frozen=True)
class Request:
    """A training that is wanted; its configuration is T, and the axes that are no part of it."""

    configuration: Mapping[str, Value]
    seed: int
    purpose: Purpose = Purpose.DESIGN
    start: Start = FRESH

    def __post_init__(self) -> None:
        if self.purpose not in set(Purpose):
            raise BadInputError("purpose", expected="one of " + ", ".join(Purpose), got=self.purpose)


@dataclass(frozen=True)
class Sample:
    """One training; see `cpmodel.samples.COLUMNS`."""

    configuration: Mapping[str, Value]
    seed: int
    precision: float | None  # the study's metric on `split`, in [0, 1]; None when it failed
    split: str = "validation"
    status: Status = "complete"
    reason: str = ""
    precision_sd: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)  # see `cpmodel.metrics.FIGURES`
    curve: tuple[float, ...] = ()  # before its last point of mean weights: see `Trained`
    train_s: float = 0.0  # seconds
    family: str = ""
    dataset: str = ""
    data: str = ""
    recipe: str = ""
    start: Start = FRESH
    purpose: Purpose = Purpose.DESIGN
    plan: str = ""


def identity(
    configuration: Configuration, seed: int, *, family: str, data: str, recipe: str, start: Start = FRESH
) -> str:
    """Sixteen hexadecimal digits of all that decides a training, where it differs from the defaults."""
    known = {
        "configuration": sorted((name, str(value)) for name, value in configuration.items()),
        "seed": int(seed),
        "family": family,
        "data": data,
        "recipe": recipe,
        **({"start": dump(start, omit_defaults=True)} if start != FRESH else {}),
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:16]


def request_of(kept: Mapping[str, Any]) -> Request:
    """The request that a study keeps, of this format or of an older one."""
    return load(Request, _today(kept), what="request")


def sample_of(kept: Mapping[str, Any]) -> Sample:
    """The sample that a study keeps, of this format or of an older one."""
    return load(Sample, _today(kept), what="sample")


def _today(kept: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that this format knows: format 1 named a parent only, and took any text as a purpose."""
    fields = {name: value for name, value in kept.items() if name not in ("identity", "parent")}
    if "parent" in kept:
        if kept["parent"]:
            fields["start"] = {"kind": "pruned", "parent": kept["parent"]}
        if kept["purpose"] not in set(Purpose):
            fields["purpose"] = Purpose.DESIGN
    return fields

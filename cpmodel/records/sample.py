"""What is asked of a study and what comes of it: requests, samples, and what makes two of them the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from cpmodel.codec import dump
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
    """Where a training begins.

    Parameters
    ----------
    kind : {"fresh"}
        ``fresh``: new weights, decided by the seed. Other kinds are refused until something can train them.
    parent : str
        Identity of the sample whose network it starts from; empty for a fresh start.
    """

    kind: Literal["fresh", "pruned", "ticket"] = "fresh"
    parent: str = ""


FRESH = Start()


@dataclass(frozen=True)
class Request:
    """A training that is wanted.

    Parameters
    ----------
    configuration : mapping
        The values of the study's space: T, and the axes that are no part of it.
    seed : int
    purpose : Purpose
    start : Start
    """

    configuration: Mapping[str, Value]
    seed: int
    purpose: Purpose = Purpose.DESIGN
    start: Start = FRESH


@dataclass(frozen=True)
class Sample:
    """One training.

    Parameters
    ----------
    configuration : mapping
    seed : int
    precision : float or None
        The study's metric on `split`, a fraction in [0, 1]; None when it failed.
    metrics : mapping
        Whole-set figures on the same split, each in its own unit; see `cpmodel.metrics.FIGURES`.
    curve : tuple of float
        Validation precision after each epoch (before the last, of mean weights: see `Trained`).
    train_s : float
        Seconds the training took.
    """

    configuration: Mapping[str, Value]
    seed: int
    precision: float | None
    split: str = "validation"
    status: Status = "complete"
    reason: str = ""
    precision_sd: float = 0.0
    metrics: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[float, ...] = ()
    train_s: float = 0.0
    family: str = ""
    dataset: str = ""
    data: str = ""
    recipe: str = ""
    start: Start = FRESH
    purpose: Purpose = Purpose.DESIGN
    plan: str = ""

    @property
    def identity(self) -> str:
        """Samples of one identity are the same sample, and it is never trained twice."""
        return identity(
            self.configuration,
            self.seed,
            family=self.family,
            data=self.data,
            recipe=self.recipe,
            start=self.start,
        )


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

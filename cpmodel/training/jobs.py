"""What is sent to a process that trains, one JSON line each; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cpmodel.recipe import Recipe
from cpmodel.records.sample import FRESH, Start
from cpmodel.space import Value
from cpmodel.training.early import Stopping


@dataclass(frozen=True)
class Setup:
    """What all trainings of a process share; its first line."""

    device: str
    images: str  # a folder, as `cpmodel.datasets.cache` makes it
    study: str  # a folder whose lock is held while training
    family: str
    recipe: Recipe
    metric: str


@dataclass
class Job:
    """One training to be done."""

    seat: int  # its number among those of the process; a seat has one job at a time
    configuration: Mapping[str, Value]  # what the family builds: without axes
    seed: int
    recipe: Recipe
    start: Start = FRESH  # what cannot be done fails before anything is trained
    weights: str | None = None  # the file where the network is kept
    stopping: Stopping | None = None  # asked after each epoch but the last; True ends the training
    alone: bool = False  # whether none other may run meanwhile
    parts: int = 1  # see `Plan`
    happened: list[str] = field(default_factory=list)  # why it is not done as it was meant to be

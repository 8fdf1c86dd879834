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
    """What all trainings of a process share; its first line.

    `images` is a folder, as `cpmodel.datasets.cache` makes it, `study` one whose lock is held while training.
    """

    device: str
    images: str
    study: str
    family: str
    recipe: Recipe
    metric: str


@dataclass
class Job:
    """One training to be done.

    Parameters
    ----------
    seat : int
        Its number among those of the process; a seat has one job at a time.
    configuration : mapping
        What the family builds: without axes.
    recipe : Recipe
        Of this training.
    start : Start
        Where it begins; what cannot be done fails before anything is trained.
    weights : str or None
        File where the network is kept.
    stopping : callable, optional
        Asked after each epoch but the last; True ends the training, its curve as long as it is.
    alone : bool
        Whether none other may run meanwhile.
    parts : int
        See `Plan`.
    happened : list of str
        Why it is not done as it was meant to be.
    """

    seat: int
    configuration: Mapping[str, Value]
    seed: int
    recipe: Recipe
    start: Start = FRESH
    weights: str | None = None
    stopping: Stopping | None = None
    alone: bool = False
    parts: int = 1
    happened: list[str] = field(default_factory=list)

"""A study together with its family and images: what every stage starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cpmodel.costs.table import CostsTable
from cpmodel.costs.table import read_csv as read_costs
from cpmodel.datasets import load
from cpmodel.datasets.base import ImageSet
from cpmodel.errors import StudyError
from cpmodel.families import Family, Task, get_family
from cpmodel.recipe import Recipe
from cpmodel.records.settings import Settings
from cpmodel.records.store import Store
from cpmodel.space import Configuration, Floats, Space, Value

DATASET = "embedded"
FAMILY = "plain"


@dataclass(frozen=True)
class Project:
    """An opened study and the family of its networks.

    Parameters
    ----------
    study : Store
    family : Family
    task : Task
        The images that come in and the classes that go out.
    """

    study: Store
    family: Family
    task: Task

    @property
    def space(self) -> Space:
        """The configurations that can be built."""
        return self.study.settings.space

    def effort(self, X: Floats) -> Floats:
        """How long a training of each row of X takes, relative to others: shape (n,), any unit."""
        return self.family.effort(self.space.networks_of(X), self.task)

    @property
    def folder(self) -> Path:
        """Where the study's files are."""
        return self.study.folder

    @property
    def costs(self) -> CostsTable:
        """The run-times measured for this study, here or on other devices."""
        path = self.folder / "costs.csv"
        return read_costs(path, self.space) if path.exists() else CostsTable.of(self.space, [])

    def add_costs(self, table: CostsTable) -> None:
        """Keep run-times with the study; newer ones of the same configuration and conditions win."""
        self.costs.merged(table.for_space(self.space)).write_csv(self.folder / "costs.csv")

    def images(self) -> ImageSet:
        """The images of the study.

        Raises
        ------
        StudyError
            They are not what they were when the study was made.
        """
        images = load(self.study.settings.dataset)
        self.study.accept(images)
        return images


def reopen(folder: str | Path, storage: str | None = None) -> Project:
    """The project of a study that is there already.

    Raises
    ------
    StudyError
        There is none, or it cannot be read.
    """
    study = Store.open(folder, storage)
    settings = study.settings
    height, width, channels = settings.image_shape
    task = Task(height, width, channels, len(settings.class_names))
    return Project(study, get_family(settings.family), task)


@dataclass(frozen=True)
class Plan:
    """A study that can be made or gone on with, nothing of it written yet.

    Parameters
    ----------
    folder, storage
        Where it is to be.
    settings : Settings
    family : Family
    task : Task
    images : ImageSet
    """

    folder: str | Path
    storage: str | None
    settings: Settings
    family: Family
    task: Task
    images: ImageSet

    def begin(self) -> Project:
        """The project, its study made if there is none.

        Raises
        ------
        StudyError
            The study there was made with other settings.
        """
        study = Store.create(self.folder, self.settings, self.storage, self.images)
        return Project(study, self.family, self.task)


def plan(
    folder: str | Path,
    *,
    dataset: str | None = None,
    family: str | None = None,
    values: Mapping[str, Sequence[Value]] | None = None,
    baseline: Configuration | None = None,
    recipe: Mapping[str, Any] | None = None,
    seed: int | None = None,
    storage: str | None = None,
) -> Plan:
    """The study in `folder` as it is to be; whatever is None is as the study there has it.

    Parameters
    ----------
    dataset : str, optional
        Default ``embedded``.
    family : str, optional
        Default ``plain``.
    values : mapping, optional
        Values of some parameters, instead of the family's own.
    recipe : mapping, optional
        Fields of the `Recipe` that differ from its default.
    seed : int, optional
        All randomness comes from it; default 0.

    Raises
    ------
    StudyError
        The study there cannot be read.
    BadInputError
        Something given cannot be used.
    """
    there = _settings_there(folder, storage)
    if there is not None:
        dataset, family = dataset or there.dataset, family or there.family
    images = load(dataset or DATASET)
    network_family = get_family(family or FAMILY)
    height, width, channels = images.image_shape
    task = Task(height, width, channels, len(images.class_names))
    if there is not None and values is None and baseline is None:
        space = there.space
    else:
        space = network_family.space(task, values, baseline)
    if there is not None and not recipe:
        chosen = there.recipe
    else:
        defaults = {} if images.mirrored_alike else {"augment": ()}
        chosen = Recipe.default(len(images.train), **{**defaults, **(recipe or {})})
    settings = Settings.of(
        images,
        network_family.name,
        space,
        chosen,
        dataset=_from_anywhere(dataset or DATASET),
        seed=seed if seed is not None else there.seed if there is not None else 0,
    )
    return Plan(folder, storage, settings, network_family, task, images)


def _from_anywhere(dataset: str) -> str:
    """The data set's name with its path made absolute, so that the study goes on from any folder."""
    kind, colon, path = dataset.partition(":")
    return f"{kind}:{Path(path).expanduser().resolve()}" if colon and "?" not in kind else dataset


def _settings_there(folder: str | Path, storage: str | None) -> Settings | None:
    if storage is None and not (Path(folder) / "study.db").exists():
        return None
    try:
        return Store.open(folder, storage).settings
    except StudyError:
        if storage is None:
            raise
        return None  # a server's storage that does not have this study yet

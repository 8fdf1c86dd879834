"""A study together with its family and images: what every stage starts from; nothing of it is read twice."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from cpmodel import registry
from cpmodel.costs.table import CostsTable
from cpmodel.costs.table import read_csv as read_costs
from cpmodel.datasets import load, load_again
from cpmodel.datasets.base import ImageSet
from cpmodel.errors import BadInputError, StudyError
from cpmodel.families import Family, Task, absolute, family_of, get_family, name_of
from cpmodel.metrics import Metric, get_metric
from cpmodel.pipeline.material import Material, effort_of
from cpmodel.pipeline.options import StudyOptions
from cpmodel.recipe import Recipe
from cpmodel.records.settings import Settings
from cpmodel.records.store import Store
from cpmodel.samples import Samples
from cpmodel.space import Floats, Parameter, Space

DATASET = "embedded"
FAMILY = "plain"


class Project:
    """An opened study and the family of its networks, with what was read of them so far.

    Parameters
    ----------
    family, images : those of the study, where they are at hand
    """

    def __init__(self, study: Store, family: Family | None = None, images: ImageSet | None = None) -> None:
        settings = study.settings
        self.study = study
        family = family or get_family(settings.family)
        require_code(family, settings, study.folder)
        self.family = family.used_for(settings.space.networks, study.folder)
        self.task = Task(*settings.image_shape, len(settings.class_names))
        self._images = images
        self._costs: tuple[Any, CostsTable, CostsTable] | None = None
        self._material: Material | None = None

    def __repr__(self) -> str:
        return f"Project({str(self.folder)!r}, family={self.family.name!r})"

    @cached_property
    def metric(self) -> Metric:
        """What precision means in this study."""
        return get_metric(self.study.settings.metric)

    @property
    def space(self) -> Space:
        """The configurations that can be built."""
        return self.study.settings.space

    def effort(self, X: Floats) -> Floats:
        """How long a training of each row of X takes, relative to others: shape (n,), any unit."""
        return effort_of(self.family, self.task, self.space, X)

    @property
    def folder(self) -> Path:
        """Where the study's files are."""
        return self.study.folder

    @property
    def costs(self) -> CostsTable:
        """The run-times measured for this study's space, here or on other devices."""
        return self._read_costs()[1]

    def add_costs(self, table: CostsTable) -> None:
        """Keep run-times with the study; newer ones of the same configuration and conditions win."""
        merged = self._read_costs()[0].merged(table.for_space(self.space.networks))
        merged.write_csv(self._costs_file)
        self._costs = self._costs_state(), merged, merged.for_space(self.space.networks)

    def _read_costs(self) -> tuple[CostsTable, CostsTable]:
        """All that was measured, and what of it is of the space; read again when others have added to it."""
        state = self._costs_state()
        if self._costs is None or self._costs[0] != state:
            space = self.space.networks
            table = CostsTable.of(space, []) if state is None else read_costs(self._costs_file, space)
            self._costs = state, table, table.for_space(space)
        return self._costs[1:]

    @property
    def _costs_file(self) -> Path:
        return self.folder / "costs.csv"

    def _costs_state(self) -> tuple[int, int] | None:
        there = self._costs_file.stat() if self._costs_file.exists() else None
        return None if there is None else (there.st_mtime_ns, there.st_size)

    def material(self, samples: Samples | None = None) -> Material:
        """The study's samples (or those given) and costs; the same object while these are the same."""
        table, last = self.study.samples() if samples is None else samples, self._material
        made = Material(table, self.family, self.task, self.costs, self)
        if last is not None and last.costs is made.costs:
            made = replace(made, priced=last.priced)
        if samples is not None:
            return made
        if last is not None and last.samples.frame.equals(table.frame):
            made = last if last.costs is made.costs else replace(made, samples=last.samples, fits=last.fits)
        self._material = made
        return made

    def images(self) -> ImageSet:
        """The images of the study; refused where they are not what they were when it was made."""
        if self._images is None:
            images = load_again(self.study.settings.dataset)
            self.study.accept(images)
            self._images = images
        return self._images


def require_code(family: Family, settings: Settings, folder: str | Path) -> None:
    """Refuse a family whose networks are not what they were when the study was made."""
    if family.code != settings.code:
        expected = "the code as it was, or another folder for a new study (-o NEW)"
        where = str(folder)
        raise StudyError(f"the code of {family.name} has changed since", expected=expected, where=where)


def reopen(folder: str | Path, storage: str | None = None) -> Project:
    """The project of a study that is there already."""
    return Project(Store.open(folder, storage))


@dataclass(frozen=True)
class Plan:
    """A study that can be made or gone on with, nothing of it written yet."""

    folder: str | Path
    storage: str | None
    settings: Settings
    family: Family
    task: Task
    images: ImageSet

    def begin(self) -> Project:
        """The project, its study made if there is none; refused where it was made with other settings."""
        study = Store.create(self.folder, self.settings, self.storage, self.images)
        return Project(study, self.family, self.images)


def plan(folder: str | Path, options: StudyOptions) -> Plan:
    """The study in `folder` as it is to be; whatever is None is as the study there has it."""
    store = store_there(folder, options.storage)
    there = None if store is None else store.settings
    dataset = DATASET if options.dataset is None else options.dataset
    named = options.family or (FAMILY if there is None else there.family)
    if options.dataset is None and there is not None:
        images, dataset = load_again(there.dataset), there.dataset
    else:
        images = load(dataset)
    family = family_of(named)
    own = isinstance(named, str) and (".py:" in absolute(named) or "?" not in named)
    name = absolute(named) if isinstance(named, str) and own else name_of(family)
    if there is not None and there.family == name:
        require_code(family, there, folder)
    task = Task(*images.image_shape, len(images.class_names))
    recipe = options.recipe
    if there is not None and not recipe:
        recipe = there.recipe
    elif not isinstance(recipe, Recipe):
        defaults = {} if images.mirrored_alike else {"augment": ()}
        recipe = Recipe.default(len(images.train), **{**defaults, **(recipe or {})})
    if options.epochs is not None:
        recipe = replace(recipe, epochs=options.epochs)
    if there is not None and options.values is None and options.baseline is None and options.axes is None:
        space = there.space
    else:
        space = _space(family, task, options, recipe)
    if there is None:  # what cannot be built is refused before anything is written
        networks = space.networks
        used = family.used_for(networks, None)
        for reason in used.refused(networks.matrix([networks.baseline]), task).values():
            raise BadInputError(f"the baseline: {reason}")
    settings = Settings.of(
        images,
        name,
        space,
        recipe,
        dataset=_from_anywhere(dataset) if isinstance(dataset, str) else images.name,
        metric=_metric(options.metric, there, len(images.class_names)),
        seed=options.seed if options.seed is not None else 0 if there is None else there.seed,
        code=family.code,
    )
    return Plan(folder, options.storage, settings, family, task, images)


def _space(family: Family, task: Task, options: StudyOptions, recipe: Recipe) -> Space:
    """The family's space with the axes of the search, whose baseline is the recipe's own values."""
    axes, baseline = options.axes or {}, dict(options.baseline or {})
    begin = {name: baseline.pop(name) for name in axes if name in baseline}
    networks = family.space(task, options.values, baseline or None)
    for name, values in axes.items():
        if name not in begin and getattr(recipe, name, None) in values:
            begin[name] = getattr(recipe, name)
    added = []
    for name, values in axes.items():
        numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
        added.append(Parameter(name, tuple(values), categorical=not numeric, axis=True))
    whole = (*networks.parameters, *added), {**networks.baseline, **begin}
    return Space(*whole, networks.most) if added else networks


def _metric(given: str | Metric | None, there: Settings | None, classes: int) -> str:
    """The name of the study's metric, which must say something about so many classes."""
    if given is None:
        return "accuracy" if there is None else there.metric
    if isinstance(given, str):
        metric, name = get_metric(given), given
    else:
        metric, name = given, registry.name_of("metrics", given)
    metric.require(classes)
    return name


def _from_anywhere(dataset: str) -> str:
    """The data set's name with its path made absolute, so that the study goes on from any folder."""
    kind, colon, path = dataset.partition(":")
    return f"{kind}:{Path(path).expanduser().resolve()}" if colon and "?" not in kind else dataset


def store_there(folder: str | Path, storage: str | None) -> Store | None:
    """The study in `folder`, None where there is none."""
    if storage is None and not (Path(folder) / "study.db").exists():
        return None
    try:
        return Store.open(folder, storage)
    except StudyError:
        if storage is None:
            raise
        return None  # a server's storage that does not have this study yet

"""What the stages after training work on: samples, and what is known of their complexity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cpmodel.costs.table import CostsTable
from cpmodel.families import Family, Task
from cpmodel.pipeline.project import Project
from cpmodel.samples import Samples
from cpmodel.space import Floats, Space
from cpmodel.surrogates.features import Derived


@dataclass(frozen=True, eq=False)
class Material:
    """Samples with their costs, from a study or from anybody's table.

    Parameters
    ----------
    samples : Samples
    family, task : Family, Task, or None
        What computes exact complexity; None for a table of unknown networks.
    costs : CostsTable or None
        Measured run-times.
    project : Project or None
        The study they come from.
    source : str
        The file of a person's table, for messages.
    """

    samples: Samples
    family: Family | None = None
    task: Task | None = None
    costs: CostsTable | None = None
    project: Project | None = None
    source: str = ""

    @property
    def space(self) -> Space:
        """The configurations that can be chosen from."""
        return self.samples.space

    @property
    def derived(self) -> Derived | None:
        """Exact costs as further features of a configuration, where its family is known.

        What cannot be built, like most of the paper's grid, counts as the nearest that can.
        """
        family, task = self.family, self.task
        if family is None or task is None:
            return None
        there = {cost.name for cost in family.cost_kinds(task)}
        names = tuple(name for name in family.telling if name in there)
        if not names:
            return None

        def of(X: Floats) -> Floats:
            costs = self.computed(X)
            return np.stack([costs[name] for name in names], axis=1)

        return Derived.of_space(names, self.space, of)

    def computed(self, X: Floats) -> dict[str, Floats]:
        """What the family, if any, computes of each row of X, shape (n, d): columns of shape (n,)."""
        if self.family is None or self.task is None:
            return {}
        return self.family.costs(self.space.networks_of(X), self.task)

    @classmethod
    def of_study(cls, project: Project, samples: Samples | None = None) -> Material:
        """A study's own samples (or those given) and run-times."""
        table = project.study.samples() if samples is None else samples
        return cls(table, project.family, project.task, project.costs.for_space(project.space), project)

    @property
    def folder(self) -> Path | None:
        """The study's folder, if there is one."""
        return None if self.project is None else self.project.folder

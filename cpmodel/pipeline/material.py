"""What the stages after training work on: samples, what is known of their complexity, and fits to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from cpmodel.cost import Cost
from cpmodel.costs.table import CostsTable
from cpmodel.errors import BadInputError
from cpmodel.families import Family, Task
from cpmodel.pipeline.fitting import PrecisionFit, fit_precision, validated
from cpmodel.samples import Samples
from cpmodel.space import Floats, Space
from cpmodel.surrogates.features import Derived

if TYPE_CHECKING:
    from cpmodel.pipeline.options import Goal
    from cpmodel.pipeline.project import Project


@dataclass(frozen=True, eq=False)
class Material:
    """Samples with their costs, from a study or from anybody's table.

    Parameters
    ----------
    family, task : what computes exact complexity; None for a table of unknown networks
    costs : measured run-times
    project : the study they come from
    source : the file of a person's table, for messages
    priced, fits : complexities by name, and models of P(T) by name and seed, that were made already
    """

    samples: Samples
    family: Family | None = None
    task: Task | None = None
    costs: CostsTable | None = None
    project: Project | None = None
    source: str = ""
    priced: dict[str, Any] = field(default_factory=dict, repr=False)
    fits: dict[tuple[str, int], PrecisionFit] = field(default_factory=dict, repr=False)

    @property
    def space(self) -> Space:
        """The configurations that can be chosen from."""
        return self.samples.space

    @property
    def computable(self) -> tuple[Cost, ...]:
        """The costs that the family computes; none where it is unknown."""
        return () if self.family is None or self.task is None else self.family.cost_kinds(self.task)

    def computed(self, X: Floats) -> Mapping[str, Floats]:
        """What the family computes of X, shape (n, d): name -> shape (n,); nothing where it is unknown."""
        if self.family is None or self.task is None:
            return {}
        return self.family.costs(self.space.networks_of(X), self.task)

    def effort(self, X: Floats) -> Floats:
        """How long a training of each row of X takes, relative to others: shape (n,), any unit."""
        assert self.family is not None and self.task is not None
        return effort_of(self.family, self.task, self.space, X)

    def target(self, goal: Goal) -> float:
        """The precision that is asked for; a drop is counted from the baseline's mean over its seeds."""
        if goal.drop is None:
            return float(goal.target or 0)
        measured, baseline = self.samples.measured, self.space.key(self.space.baseline)
        rows = np.array(measured.keys, dtype=str) == baseline
        if not rows.any():
            raise BadInputError("drop", expected=f"samples of the baseline {baseline}", got="none")
        precision = float(measured.precision[rows].mean())
        if goal.drop >= precision:
            expected = f"less than the baseline's precision, {precision:.4f}"
            raise BadInputError("drop", expected=expected, got=goal.drop)
        return precision - goal.drop

    @cached_property
    def derived(self) -> Derived | None:
        """Exact costs as further features of a configuration, where its family is known."""
        if self.family is None or self.task is None:
            return None
        return derived_costs(self.family, self.task, self.space)

    def precision(self, model: str = "auto", *, seed: int = 0, validate: bool = False) -> PrecisionFit:
        """P(T) fitted to the samples, once for each model; see `fit_precision`."""
        fit = self.fits.get((model, seed))
        if fit is None:
            fit = fit_precision(self.samples, model, self.derived)
        if validate:  # several fits more, for what is shown of this one: no decision asks for it
            fit = validated(fit, self.samples, seed, self.derived)
        self.fits[model, seed] = fit
        return fit


def effort_of(family: Family, task: Task, space: Space, X: Floats) -> Floats:
    """How long a training of each row of X, shape (n, d), takes, relative to others: shape (n,), any unit."""
    effort = family.effort(space.networks_of(X), task)
    by_epochs = any(p.axis and p.name == "epochs" for p in space.parameters)
    return effort * X[:, space.names.index("epochs")] if by_epochs else effort


def derived_costs(family: Family, task: Task, space: Space) -> Derived | None:
    """What a family computes of a configuration and tells the most, as further features of models.

    What cannot be built, like most of the paper's grid, counts as the nearest that can.
    """
    there = {cost.name for cost in family.cost_kinds(task)}
    names = tuple(name for name in family.telling if name in there)
    if not names:
        return None

    def of(X: Floats) -> Floats:
        costs = family.costs(space.networks_of(X), task)
        columns = np.stack([costs[name] for name in names], axis=1)
        if (unknown := np.isnan(columns)).any():  # drawings ask for what cannot be built
            columns = np.where(unknown, of(space.matrix([space.baseline])), columns)
        return columns

    return Derived.of_space(names, space, of)

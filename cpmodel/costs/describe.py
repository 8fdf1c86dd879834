"""What a configuration of a family costs, said with names and units; a count on its network beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cpmodel.cost import Cost
from cpmodel.families import Family, Task
from cpmodel.space import Configuration, Value

if TYPE_CHECKING:
    from cpmodel.families.count import Counted


@dataclass(frozen=True)
class Figure:
    """A cost of a configuration, as its family computes it and as it was counted on the built network.

    Parameters
    ----------
    value : in the cost's unit
    counted : None where nothing was counted, or nobody knows how to
    """

    cost: Cost
    value: float
    counted: float | None = None

    @property
    def equal(self) -> bool | None:
        """Whether both agree; None where it was not counted."""
        return None if self.counted is None else self.counted == self.value


@dataclass(frozen=True)
class Described:
    """The costs of a configuration.

    Parameters
    ----------
    configuration : a value for every parameter of the family
    figures : in the family's order
    unseen : operators of the network whose multiplications the count cannot see; see `Counted`
    references : the same costs of well-known networks, by their names, as far as they are known
    """

    configuration: Configuration
    figures: tuple[Figure, ...]
    unseen: tuple[str, ...] = ()
    references: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether whatever was counted is what the family computes."""
        return all(figure.equal is not False for figure in self.figures)


def describe(
    family: Family, task: Task, configuration: Configuration | None = None, *, check: bool = False
) -> Described:
    """Every computed cost of a configuration.

    Parameters
    ----------
    configuration : values of some parameters or all, in the family's own space or not; the others are the
        baseline's
    check : whether the network is built and counted, too; needs torch
    """
    given, own = configuration or {}, family.space(task)
    others = {n: (*own[n].values, v) for n, v in given.items() if v not in own[n].values}
    space, whole = family.space(task, others), dict[str, Value]()
    for parameter in space.parameters:
        if parameter.when is None or whole.get(parameter.when.parameter) in parameter.when.values:
            default = own.baseline.get(parameter.name, own[parameter.name].values[-1])
            whole[parameter.name] = given.get(parameter.name, default)
    whole = space.validated({**whole, **given})
    columns = family.costs(space.matrix([whole]), task)
    counted = count_configuration(family, task, whole) if check else None
    figures = tuple(
        Figure(cost, float(columns[cost.name][0]), None if counted is None else counted.costs.get(cost.name))
        for cost in family.cost_kinds(task)
    )
    unseen = () if counted is None else counted.unseen
    return Described(whole, figures, unseen, family.references(task))


def sizes(family: Family, task: Task, configuration: Configuration) -> tuple[float, float, float]:
    """Activation elements of all layers, parameters, and the peak: what a training keeps in memory.

    What the family does not compute is counted.
    """
    names = ("activation_elements", "params", "activation_peak_elements")
    if family.code:  # it would count, too, and only knows its values where a study gives them
        known: dict[str, float] = {}
    else:
        known = {figure.cost.name: figure.value for figure in describe(family, task, configuration).figures}
    if not set(names) <= set(known):
        known |= count_configuration(family, task, configuration).costs
    activations, params, peak = (float(known[name]) for name in names)
    return activations, params, peak


def count_configuration(family: Family, task: Task, configuration: Configuration) -> Counted:
    """What is counted on the network of a configuration; it is built without any memory for its weights."""
    import torch

    from cpmodel.families.count import count

    with torch.device("meta"):
        network = family.build(configuration, task)
    return count(network, (task.channels, *family.input_size(configuration, task)))

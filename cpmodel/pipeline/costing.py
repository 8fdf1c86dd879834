"""Complexity as a function of the configuration: computed exactly, or modelled from what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from cpmodel import locks
from cpmodel.cost import LATENCY, ComparedCost, Cost
from cpmodel.costs.table import CostsTable
from cpmodel.errors import BadInputError, FitError
from cpmodel.families import Family, Task
from cpmodel.pipeline.fitting import one_thread
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.options import ComplexityOptions, MeasureOptions
from cpmodel.pipeline.project import Project
from cpmodel.pipeline.watch import SILENT, Watcher
from cpmodel.samples import COLUMNS
from cpmodel.space import Configuration, Floats, Space, rows_of
from cpmodel.surrogates.complexity.fit import ComplexityFit, fit_complexity

G = TypeVar("G", bound=ComplexityOptions)

LEAST_MEASURED = 5  # values below which no model of them is fitted


@dataclass(frozen=True, eq=False)
class Complexity:
    """One kind of complexity.

    Parameters
    ----------
    of : X of shape (n, d) -> complexity of shape (n,)
    fit : the model behind it, where it is not computed exactly
    eq1 : the paper's eq. 1 fitted to the same measurements, to compare with
    X, measured : shape (n, d), (n,), what the model was fitted to
    """

    cost: Cost
    of: Callable[[Floats], Floats]
    fit: ComplexityFit | None = None
    eq1: ComplexityFit | None = None
    X: Floats | None = None
    measured: Floats | None = None


def complexity_of(material: Material, name: str) -> Complexity:
    """The complexity called `name` of all configurations of the material's space; a model is fitted once."""
    if name not in material.priced:
        material.priced[name] = _priced(material, name)
    complexity: Complexity = material.priced[name]
    return complexity


def _priced(material: Material, name: str) -> Complexity:
    """What the family computes, else what was measured, else a column of the samples' table."""
    computed = {cost.name: cost for cost in material.computable}
    if name in computed:
        return Complexity(computed[name], lambda X: material.computed(X)[name])
    measured = [] if material.costs is None else [cost.name for cost in material.costs.kinds]
    if material.costs is not None and name in measured:
        return measured_cost(material, most_measured(material.costs, name))
    columns = material.samples.cost_names
    if name in columns:
        return _of_column(material, name)
    if name == LATENCY and computed:
        raise BadInputError(f"complexity {LATENCY}", expected="run-times measured first (cpmodel measure)")
    _refuse_texts(material, name)
    known = list(dict.fromkeys([*computed, *measured, *([LATENCY] if computed else []), *columns]))
    raise _wrong(material, "complexity", "one of " + ", ".join(known) if known else "a cost column", name)


def _wrong(material: Material, what: str, expected: str, got: object) -> BadInputError:
    return BadInputError(what, expected=expected, got=got, where=material.source)


def within(material: Material, limits: Mapping[str, float] | None) -> Floats:
    """Every configuration that keeps to limits on its complexities, X of shape (m, d).

    Of a space of more than `Space.most` configurations so many are drawn, always the same ones; the baseline
    and what was trained are among them. Those whose networks cannot be built are left out.
    """
    X = material.space.candidates(also=material.samples.X)
    if material.family is not None and material.family.code:
        X = X[np.isfinite(material.effort(X))]
    for name, most in (limits or {}).items():
        values = complexity_of(material, name).of(X)
        if not (values <= most).any():
            least = f"{np.nanmin(values):g} or more, the least there is"
            raise BadInputError(f"{name} at most {most:g}", expected=least)
        X = X[values <= most]
    return X


def require_complexities(
    family: Family, task: Task, names: Iterable[str], measured: Iterable[str] = ()
) -> None:
    """Refuse names of complexities that networks of a family do not have and that were not measured."""
    known = list(dict.fromkeys([*(cost.name for cost in family.cost_kinds(task)), LATENCY, *measured]))
    for name in names:
        if name not in known:
            raise BadInputError("complexity", expected="one of " + ", ".join(known), got=name)


def resolved(goal: G, material: Material) -> G:
    """The goal with the complexity that is meant where none is named."""
    return goal if goal.complexity else replace(goal, complexity=default_complexity(material))


def default_complexity(material: Material) -> str:
    """What the family minimises unless asked otherwise, else the first cost column of the table."""
    if material.family is not None and material.task is not None:
        return material.family.main_cost(material.task)
    if not material.samples.cost_names:
        _refuse_texts(material, "macs")
        raise _wrong(material, "complexity", "a cost column in the table, or --image", "none")
    return material.samples.cost_names[0]


def default_note(material: Material) -> tuple[str, ...]:
    """What to say of `default_complexity`: which column it took, where it might have been another."""
    names = material.samples.cost_names
    if material.family is not None or len(names) < 2:
        return ()
    others = ", ".join(names[1:])
    return (f"complexity is column '{names[0]}'; --complexity chooses another ({others})",)


def compared_costs(material: Material, configuration: Configuration, first: str = "") -> list[ComparedCost]:
    """All that is known of the costs of the baseline and of a configuration; those called `first` come first.

    What the family computes, what was measured of both (each under its conditions), and the columns of a
    person's table that have both. What is minimised is there always, from its model if need be.
    """
    space = material.space
    X = space.matrix([space.baseline, configuration])
    computed = material.computed(X)
    known = [(cost, computed[cost.name]) for cost in material.computable]
    if material.costs is not None:
        networks = space.networks_of(X)
        known += [(cost, material.costs.lookup(networks, cost)) for cost in material.costs.kinds]
    for name in material.samples.cost_names:
        rows, means = _means(material, name)
        both = np.append(means, np.nan)[rows_of(rows, space.filled(X))]
        known.append((Cost.called(name, "measured"), both))
    listed = [ComparedCost(c, float(v[0]), float(v[1])) for c, v in known if np.isfinite(v).all()]
    if first and all(line.cost.name != first for line in listed):
        price = complexity_of(material, first)
        listed.append(ComparedCost(price.cost, *price.of(X).tolist()))
    return sorted(listed, key=lambda line: line.cost.name != first)


def most_measured(table: CostsTable, name: str = "") -> Cost:
    """The cost (of that name, if one is given) and conditions with most rows; on a tie the first."""
    kinds = [cost for cost in table.kinds if name in ("", cost.name)]
    return max(kinds, key=lambda cost: len(table.matching(cost)))


def measured_cost(material: Material, cost: Cost) -> Complexity:
    """A measured cost under its conditions: as measured where it was, modelled elsewhere."""
    assert material.costs is not None
    rows = material.costs.matching(cost)
    if len(rows) < LEAST_MEASURED:
        what, expected = f"measured {cost.name}", f"{LEAST_MEASURED} or more"
        if cost.name == LATENCY:
            what, expected = "run-times", f"{expected} (cpmodel measure)"
        raise BadInputError(f"{what} under {cost.conditions}", expected=expected, got=len(rows))
    return _modelled(material, cost, material.space.networks, rows.X, rows.values)


def _of_column(material: Material, name: str) -> Complexity:
    """A cost column of a person's table: the mean of its rows where there are any, modelled elsewhere."""
    cost = material.samples.cost(name)
    for row in np.flatnonzero((cost <= 0) | np.isinf(cost)):
        line = f"column '{name}', line {row + 2}"
        raise _wrong(material, line, "a finite number above 0", f"{cost[row]:g}")
    rows, means = _means(material, name)
    if len(rows) < LEAST_MEASURED:
        raise _wrong(material, f"column '{name}'", f"{LEAST_MEASURED} configurations or more", len(rows))
    return _modelled(material, Cost.called(name, "measured"), material.space, rows, means)


@one_thread()
def _modelled(material: Material, cost: Cost, space: Space, X: Floats, values: Floats) -> Complexity:
    """A cost that is known for some rows X of `space`, the material's own or that of its networks."""
    rows = space.filled(X)
    categorical = {p.name: p.codes.tolist() for p in space.parameters if p.categorical}
    table = work_columns(material, space, rows)
    fit = fit_complexity(table, values, categorical=categorical)

    def of(X: Floats) -> Floats:
        wanted = space.filled(X if space == material.space else material.space.networks_of(X))
        found = np.append(values, np.nan)[rows_of(rows, wanted)]
        missing = np.isnan(found)
        if missing.any():
            found[missing] = fit.model.predict(work_columns(material, space, wanted[missing]))
        return found

    eq1 = None
    if cost.conditions is not None:
        with suppress(FitError):  # a family need not count what eq. 1 is about
            eq1 = fit_complexity(table, values, "eq1", categorical=categorical)
    return Complexity(cost, of, fit, eq1, X, values)


def work_columns(material: Material, space: Space, filled: Floats) -> Any:
    """What each row of `space` makes a device do: the family's exact costs, the parameters beside them."""
    import pandas as pd

    parameters = pd.DataFrame(filled, columns=list(space.names))
    if material.family is None or material.task is None:
        return parameters
    networks = space.networks_of(space.settled(filled))
    return pd.concat([pd.DataFrame(material.family.costs(networks, material.task)), parameters], axis=1)


def _means(material: Material, name: str) -> tuple[Floats, Floats]:
    """Each configuration once, filled, shape (m, d), and the mean of a cost column over its rows."""
    cost = material.samples.cost(name)
    there = np.isfinite(cost)
    filled = material.space.filled(material.samples.X[there])
    rows, group = np.unique(filled, axis=0, return_inverse=True)
    return rows, np.bincount(group, weights=cost[there]) / np.bincount(group)


def _refuse_texts(material: Material, name: str) -> None:
    """Name the first cell that keeps a column from being a complexity, if it is there at all."""
    samples = material.samples
    if name in samples.frame and name not in (*samples.space.names, *COLUMNS):
        for line, cell in enumerate(samples.frame[name], 2):
            try:
                float(str(cell))
            except ValueError:
                raise _wrong(material, f"column '{name}', line {line}", "a number", repr(cell)) from None


def measure(
    family: Family,
    task: Task,
    space: Space,
    how: MeasureOptions,
    *,
    configurations: Sequence[Configuration] = (),
    max_seconds: float = 0.3,
    seed: int = 0,
    watch: Watcher = SILENT,
) -> CostsTable:
    """Measure forward run-times of untrained networks: the baseline's, those given, those drawn."""
    from cpmodel.costs.latency import Timing, measure_untrained

    everything = space.candidates()
    some = everything[np.random.default_rng([seed, 0xC057]).permutation(len(everything))[: how.count]]
    some = some[np.isfinite(family.effort(some, task))]  # others cannot be built
    chosen = {space.key(c): c for c in [space.baseline, *configurations, *space.configurations(some)]}
    timing = Timing(how.batch, how.threads, how.dtype, how.device, max_seconds=max_seconds)
    measured = measure_untrained(family, task, list(chosen.values()), timing, watch.measured)
    return CostsTable.of(space, measured)


def measure_study(
    project: Project,
    how: MeasureOptions,
    watch: Watcher = SILENT,
    *,
    configurations: Sequence[Configuration] = (),
    max_seconds: float = 0.3,
) -> CostsTable:
    """Measure run-times while nothing of the study trains here, and keep them with it."""
    with locks.measuring(project.folder):
        table = measure(
            project.family,
            project.task,
            project.space.networks,
            how,
            configurations=[project.space.network(c) for c in configurations],
            max_seconds=max_seconds,
            seed=project.study.settings.seed,
            watch=watch,
        )
    project.add_costs(table)
    return table

"""Complexity as a function of the configuration: computed exactly, or modelled from what was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cpmodel import locks
from cpmodel.cost import LATENCY, ComparedCost, Conditions, Cost
from cpmodel.costs.table import CostsTable
from cpmodel.errors import BadInputError
from cpmodel.families import Family, Task
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.options import ComplexityOptions
from cpmodel.pipeline.threads import one_thread
from cpmodel.samples import COLUMNS
from cpmodel.space import CANDIDATES, Configuration, Floats, Space, rows_of
from cpmodel.surrogates.complexity.fit import ComplexityFit, fit_complexity

G = TypeVar("G", bound=ComplexityOptions)

LEAST_MEASURED = 5  # values below which no model of them is fitted


@dataclass(frozen=True, eq=False)
class Complexity:
    """One kind of complexity.

    Parameters
    ----------
    name : str
        ``macs``, ``params``, ..., ``latency_s``, or a column of a table.
    of : callable
        X of shape (n, d) -> complexity of shape (n,).
    fit : ComplexityFit or None
        The model behind it, where it is not computed exactly.
    eq1 : ComplexityFit or None
        The paper's eq. 1 fitted to the same measurements, to compare with.
    conditions : Conditions or None
        What run-times were measured under.
    X, measured : shape (n, d), (n,)
        What the model was fitted to.
    """

    name: str
    of: Callable[[Floats], Floats]
    fit: ComplexityFit | None = None
    eq1: ComplexityFit | None = None
    conditions: Conditions | None = None
    X: Floats | None = None
    measured: Floats | None = None


def complexity_of(material: Material, name: str) -> Complexity:
    """The complexity called `name` of all configurations of the material's space; a model is fitted once.

    Raises
    ------
    BadInputError
        No such complexity, or it must be measured and too little was.
    """
    if name not in material.priced:
        material.priced[name] = _priced(material, name)
    complexity: Complexity = material.priced[name]
    return complexity


def _priced(material: Material, name: str) -> Complexity:
    family, task = material.family, material.task
    if family is not None and task is not None:
        computed = [cost.name for cost in family.cost_kinds(task)]
        if name in computed:
            return Complexity(name, lambda X: material.computed(X)[name])
        if name == LATENCY:
            if material.costs is None or not len(material.costs):
                raise BadInputError(
                    f"complexity {LATENCY}", expected="run-times measured first (cpmodel measure)"
                )
            return latency_under(material, most_measured(material.costs))
        known = [*computed, LATENCY, *material.samples.cost_names]
    else:
        known = material.samples.cost_names
    if name not in material.samples.cost_names:
        _refuse_texts(material, name)
        raise BadInputError(
            "complexity",
            expected="one of " + ", ".join(known) if known else "a cost column",
            got=name,
            where=material.source,
        )
    return _of_column(material, name)


def within(material: Material, limits: Mapping[str, float] | None) -> Floats:
    """Every configuration that keeps to limits on its complexities, X of shape (m, d).

    Of a space of more than `CANDIDATES` configurations so many are drawn, always the same ones; the baseline
    and what was trained are among them.

    Raises
    ------
    BadInputError
        None does, or a limit is on something that is not known.
    """
    space = material.space
    X = space.candidates(CANDIDATES, also=material.samples.X)
    for name, most in (limits or {}).items():
        values = complexity_of(material, name).of(X)
        if not (values <= most).any():
            raise BadInputError(
                f"{name} at most {most:g}", expected=f"{np.nanmin(values):g} or more, the least there is"
            )
        X = X[values <= most]
    return X


def require_complexities(family: Family, task: Task, names: Iterable[str]) -> None:
    """Refuse names of complexities that networks of a family do not have.

    Raises
    ------
    BadInputError
        One of them is neither computed nor measured.
    """
    known = [*(cost.name for cost in family.cost_kinds(task)), LATENCY]
    for name in names:
        if name not in known:
            raise BadInputError("complexity", expected="one of " + ", ".join(known), got=name)


def resolved(goal: G, material: Material) -> G:
    """The goal with the complexity that is meant where none is named."""
    return goal if goal.complexity else replace(goal, complexity=default_complexity(material))


def default_complexity(material: Material) -> str:
    """What the family minimises unless asked otherwise, else the first cost column of the table.

    Raises
    ------
    BadInputError
        Neither is there.
    """
    if material.family is not None and material.task is not None:
        return material.family.main_cost(material.task)
    if not material.samples.cost_names:
        _refuse_texts(material, "macs")
        raise BadInputError(
            "complexity", expected="a cost column in the table, or --image", got="none", where=material.source
        )
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
    X = material.space.matrix([material.space.baseline, configuration])
    known: list[tuple[Cost, Floats]] = []
    if material.family is not None and material.task is not None:
        computed = material.computed(X)
        known += [(cost, computed[cost.name]) for cost in material.family.cost_kinds(material.task)]
    if material.costs is not None:
        for conditions in material.costs.conditions:
            cost = Cost.called(LATENCY, "measured", conditions)
            known.append((cost, material.costs.lookup(X, conditions)))
    for name in material.samples.cost_names:
        rows, means = _means(material, name)
        both = np.append(means, np.nan)[rows_of(rows, material.space.filled(X))]
        known.append((Cost.called(name, "measured"), both))
    listed = [ComparedCost(c, float(v[0]), float(v[1])) for c, v in known if np.isfinite(v).all()]
    if first and all(line.cost.name != first for line in listed):
        price = complexity_of(material, first)
        cost = Cost.called(first, "measured", price.conditions)
        baseline, answer = price.of(X).tolist()
        listed.append(ComparedCost(cost, baseline, answer))
    return sorted(listed, key=lambda line: line.cost.name != first)


def most_measured(table: CostsTable) -> Conditions:
    """The conditions with most rows; on a tie the first."""
    return max(table.conditions, key=lambda c: len(table.matching(c)))


@one_thread()
def latency_under(material: Material, conditions: Conditions) -> Complexity:
    """Run-time under `conditions`: as measured where it was, modelled elsewhere."""
    assert material.costs is not None
    rows = material.costs.matching(conditions)
    if len(rows) < LEAST_MEASURED:
        raise BadInputError(
            f"run-times under {conditions}", expected=f"{LEAST_MEASURED} or more", got=len(rows)
        )
    table = work_columns(material, rows.X)
    fit = fit_complexity(table, rows.latency_s)

    def latency(X: Floats) -> Floats:
        measured = rows.lookup(X, conditions)
        return np.where(np.isnan(measured), fit.model.predict(work_columns(material, X)), measured)

    eq1 = fit_complexity(table, rows.latency_s, "eq1")
    return Complexity(LATENCY, latency, fit, eq1, conditions, rows.X, rows.latency_s)


def _refuse_texts(material: Material, name: str) -> None:
    """Name the first cell that keeps a column from being a complexity, if it is there at all."""
    samples = material.samples
    if name in samples.frame and name not in (*samples.space.names, *COLUMNS):
        cells = samples.frame[name]
        for row in np.flatnonzero([not _is_number(cell) for cell in cells]):
            raise BadInputError(
                f"column '{name}', line {row + 2}",
                expected="a number",
                got=repr(cells.iloc[row]),
                where=material.source,
            )


def _is_number(cell: object) -> bool:
    try:
        float(str(cell))
    except ValueError:
        return False
    return True


@one_thread()
def _of_column(material: Material, name: str) -> Complexity:
    """A cost column of a person's table: the mean of its rows where there are any, modelled elsewhere."""
    cost = material.samples.cost(name)
    for row in np.flatnonzero((cost <= 0) | np.isinf(cost)):
        raise BadInputError(
            f"column '{name}', line {row + 2}",
            expected="a finite number above 0",
            got=f"{cost[row]:g}",
            where=material.source,
        )
    rows, means = _means(material, name)
    if len(rows) < LEAST_MEASURED:
        raise BadInputError(
            f"column '{name}'",
            expected=f"{LEAST_MEASURED} configurations or more",
            got=len(rows),
            where=material.source,
        )
    fit = fit_complexity(_named(material.space, rows), means)

    def column(X: Floats) -> Floats:
        filled = material.space.filled(X)
        found = np.append(means, np.nan)[rows_of(rows, filled)]
        missing = np.isnan(found)
        if missing.any():
            found[missing] = fit.model.predict(_named(material.space, filled[missing]))
        return found

    return Complexity(name, column, fit, None, None, rows, means)


def _means(material: Material, name: str) -> tuple[Floats, Floats]:
    """Each configuration once, filled, shape (m, d), and the mean of a cost column over its rows."""
    cost = material.samples.cost(name)
    there = np.isfinite(cost)
    filled = material.space.filled(material.samples.X[there])
    rows, group = np.unique(filled, axis=0, return_inverse=True)
    return rows, np.bincount(group, weights=cost[there]) / np.bincount(group)


def work_columns(material: Material, X: Floats) -> Any:
    """What each configuration makes a device do: the family's exact costs, and the parameters beside them."""
    import pandas as pd

    work = pd.DataFrame(material.computed(X))
    return pd.concat([work, _named(material.space, material.space.filled(X))], axis=1)


def _named(space: Space, X: Floats) -> Any:
    import pandas as pd

    return pd.DataFrame(X, columns=list(space.names))


def measure(
    family: Family,
    task: Task,
    space: Space,
    count: int,
    *,
    configurations: Sequence[Configuration] = (),
    study: Path | None = None,
    seed: int = 0,
    batch: int = 64,
    threads: int = 1,
    dtype: str = "float32",
    device: str = "cpu",
    max_seconds: float = 0.3,
    progress: Callable[[int, int], None] | None = None,
) -> CostsTable:
    """Measure forward run-times of untrained networks.

    Parameters
    ----------
    count : int
        How many configurations drawn from the space; the baseline always comes first.
    configurations : sequence
        Further ones.
    study : Path, optional
        Folder of a study none of whose trainings may run on this machine meanwhile.
    max_seconds : float
        Time for each network.
    """
    from cpmodel.costs.latency import measure_untrained

    everything = space.candidates()
    some = everything[np.random.default_rng([seed, 0xC057]).permutation(len(everything))[:count]]
    chosen = {space.key(c): c for c in [space.baseline, *configurations, *space.configurations(some)]}
    with nullcontext() if study is None else locks.measuring(study):
        measurements = measure_untrained(
            family,
            task,
            list(chosen.values()),
            batch=batch,
            threads=threads,
            dtype=dtype,
            device=device,
            max_seconds=max_seconds,
            progress=progress,
        )
    return CostsTable.of(space, measurements)

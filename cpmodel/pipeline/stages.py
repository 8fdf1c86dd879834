"""The stages after training, each from a study or from anybody's table: fit, measure, read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cpmodel.costs.table import CostsTable
from cpmodel.costs.table import read_csv as read_costs
from cpmodel.errors import BadInputError, FitError
from cpmodel.families import Task, get_family
from cpmodel.pipeline.answer import Answer
from cpmodel.pipeline.costing import (
    LEAST_MEASURED,
    Complexity,
    latency_under,
    measure,
    most_measured,
)
from cpmodel.pipeline.fitting import PrecisionFit, fit_precision, write_fit
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.project import FAMILY, Project, reopen
from cpmodel.pipeline.watch import Watcher
from cpmodel.samples import read_csv
from cpmodel.space import Configuration

PAPER_MODEL = "explinear"  # eq. 6, fitted beside the chosen model so that the two can be compared
BATCH_OF_ONE = 1
# For each network before a search: nothing trains meanwhile, and a first result has to wait for it
MEASURE_S = 0.15


@dataclass(frozen=True, eq=False)
class Fits:
    """The fitted models of some material.

    Parameters
    ----------
    precision : PrecisionFit
        The model that choices are made with.
    paper : PrecisionFit or None
        The paper's eq. 6 on the same samples, where they can support it.
    latency : Complexity or None
        The model of measured run-times, where there are enough.
    """

    precision: PrecisionFit
    paper: PrecisionFit | None
    latency: Complexity | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        latency = self.latency
        return {
            "precision": self.precision.to_dict(),
            "paper": None if self.paper is None else self.paper.to_dict(),
            "latency": None
            if latency is None or latency.fit is None or latency.eq1 is None
            else {
                "conditions": str(latency.conditions),
                "auto": latency.fit.to_dict(),
                "eq1": latency.eq1.to_dict(),
            },
        }


def read_material(
    source: str | Path,
    *,
    storage: str | None = None,
    parameters: Sequence[str] = (),
    precision: str = "precision",
    seed: str = "seed",
    unit: Literal["auto", "fraction", "percent"] = "auto",
    family: str | None = None,
    task: Task | None = None,
    baseline: Configuration | None = None,
    costs: str | Path | None = None,
) -> Material:
    """The samples of a study's folder, or of a CSV file.

    Parameters
    ----------
    parameters, precision, seed, unit
        How to read a CSV; see `cpmodel.samples.read_csv`.
    family, task
        What computes the complexity of a CSV's configurations; without them its own columns do.
    baseline : mapping, optional
        Of a CSV's space; each largest value unless given.
    costs
        Run-times measured on another device, instead of the study's own; see `cpmodel.costs.table`.
    """
    if family is not None:
        get_family(family)  # an unknown one is refused, whether it is needed or not
    path = Path(source)
    if path.is_dir() or (storage is not None and not path.is_file()):
        return _with_costs(Material.of_study(reopen(path, storage)), costs)
    if not path.exists():
        raise BadInputError("nothing there", expected="a study's folder or a CSV file", where=str(path))
    samples = read_csv(path, parameters=parameters, precision=precision, seed=seed, unit=unit)
    if baseline is not None:
        space = samples.space.with_values({}, baseline)
        samples = read_csv(path, space=space, precision=precision, seed=seed, unit=unit)
    if task is None:
        return _with_costs(Material(samples, source=str(path)), costs)
    return _with_costs(Material(samples, get_family(family or FAMILY), task, source=str(path)), costs)


def _with_costs(material: Material, costs: str | Path | None) -> Material:
    """The material with the run-times of a costs table, if one is given."""
    if costs is None:
        return material
    if material.family is None:
        raise BadInputError("--costs", expected="a study, or --image to say what the networks take")
    return replace(material, costs=read_costs(costs, material.space).for_space(material.space))


def fit(material: Material, model: str = "auto", seed: int = 0) -> Fits:
    """Fit P(T), and the run-times where they were measured; kept as ``fit.json`` in a study's folder.

    Raises
    ------
    FitError
        No sample has a precision.
    """
    precision = fit_precision(material.samples, model, seed, derived=material.derived)
    paper = None
    if model != PAPER_MODEL:
        try:
            paper = fit_precision(material.samples, PAPER_MODEL, seed)
        except FitError:
            paper = None
    latency = None
    if material.costs is not None and len(material.costs):
        conditions = most_measured(material.costs)
        if len(material.costs.matching(conditions)) >= LEAST_MEASURED:
            latency = latency_under(material, conditions)
    fits = Fits(precision, paper, latency)
    if material.folder is not None:
        write_fit(material.folder / "fit.json", material.space, fits.to_dict())
    return fits


def measure_study(
    project: Project,
    count: int,
    *,
    batch: int = 64,
    configurations: Sequence[Configuration] = (),
    max_seconds: float = 0.3,
    watch: Watcher | None = None,
    **conditions: Any,
) -> CostsTable:
    """Measure run-times while nothing of the study trains here, and keep them with it."""
    table = measure(
        project.family,
        project.task,
        project.space,
        count,
        configurations=configurations,
        study=project.folder,
        seed=project.study.settings.seed,
        batch=batch,
        max_seconds=max_seconds,
        progress=None if watch is None else watch.measured,
        **conditions,
    )
    project.add_costs(table)
    return table


def first_measured(project: Project, count: int, batch: int, watch: Watcher) -> None:
    """Measure run-times for the model of them, unless there are some of that batch size already."""
    if count and not any(c.batch == batch for c in project.costs.conditions):
        measure_study(project, count, batch=batch, max_seconds=MEASURE_S, watch=watch)


def measure_answer(project: Project, answer: Answer, batch: int) -> None:
    """Measure the baseline and the answer side by side, at `batch` images and at one."""
    configuration = answered(answer)
    if configuration is None:
        return
    for size in sorted({batch, BATCH_OF_ONE}):
        measure_study(project, 0, configurations=[configuration], batch=size, max_seconds=2.0)


def answered(answer: Answer) -> Configuration | None:
    """The configuration an answer is about: the verified one, else what the models choose."""
    if answer.verdict is not None:
        return answer.verdict.configuration
    return None if answer.choice.plain is None else answer.choice.plain.configuration

"""The stages after training, each from a study or from anybody's table: fit, measure, read."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cpmodel.codec import dump, load
from cpmodel.cost import LATENCY
from cpmodel.costs.table import read_csv as read_costs
from cpmodel.errors import BadInputError, FitError
from cpmodel.families import Family, Task, get_family
from cpmodel.files import read_json, write_json
from cpmodel.pipeline.answer import Answer
from cpmodel.pipeline.costing import (
    LEAST_MEASURED,
    Complexity,
    complexity_of,
    measure_study,
    most_measured,
)
from cpmodel.pipeline.fitting import PrecisionFit
from cpmodel.pipeline.material import Material, derived_costs
from cpmodel.pipeline.options import Effort, MeasureOptions, NetworkOptions, TableOptions
from cpmodel.pipeline.project import FAMILY, Project
from cpmodel.pipeline.watch import Watcher
from cpmodel.samples import read_csv
from cpmodel.space import Space
from cpmodel.surrogates.precision.model import PrecisionModel

PAPER_MODEL = "explinear"  # eq. 6, fitted beside the chosen model so that the two can be compared
# For each network before a search: nothing trains meanwhile, and a first result has to wait for it
MEASURE_S = 0.15


@dataclass(frozen=True, eq=False)
class Fits:
    """The fitted models of some material.

    Parameters
    ----------
    precision : the model that choices are made with
    paper : the paper's eq. 6 on the same samples, where they can support it
    latency : the model of measured run-times, where there are enough
    """

    precision: PrecisionFit
    paper: PrecisionFit | None
    latency: Complexity | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        latency, told = self.latency, None
        if latency is not None and latency.fit is not None and latency.eq1 is not None:
            told = {
                "conditions": str(latency.cost.conditions),
                "auto": latency.fit.to_dict(),
                "eq1": latency.eq1.to_dict(),
            }
        paper = None if self.paper is None else self.paper.to_dict()
        plain: dict[str, Any] = dump({"precision": self.precision.to_dict(), "paper": paper, "latency": told})
        return plain


def read_table(path: str | Path, how: TableOptions) -> Material:
    """The samples of a CSV file, and what is known of their costs.

    A family computes them where what its networks take (`how.image`) is known, else the table's own columns
    tell them.
    """
    source, (family, task) = Path(path), networks_of(how) or (None, None)
    if not source.exists():
        raise BadInputError("nothing there", expected="a study's folder or a CSV file", where=str(source))
    samples = read_csv(
        source, parameters=how.parameters, precision=how.precision, seed=how.seed_column, unit=how.unit
    )
    if how.baseline is not None:
        samples = replace(samples, space=samples.space.with_values({}, how.baseline))
    return Material(samples, family, task, source=str(source))


def networks_of(how: NetworkOptions) -> tuple[Family, Task] | None:
    """A family and what its networks are for; None where nobody says what images they take."""
    family = get_family(how.family or FAMILY)  # an unknown one is refused, whether it is needed or not
    if how.image is None:
        return None
    image = how.image if isinstance(how.image, str) else "x".join(map(str, how.image))
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([13])", image.strip())
    if match is None:
        raise BadInputError("--image", expected="HEIGHTxWIDTHxCHANNELS, like 28x28x1", got=repr(how.image))
    height, width, channels = map(int, match.groups())
    return family, Task(height, width, channels, how.classes)


def with_costs(material: Material, costs: str | Path | None) -> Material:
    """The material with the run-times of a costs table, if one is given."""
    if costs is None:
        return material
    if material.family is None:
        raise BadInputError("costs", expected="a study, or --image to say what the networks take")
    networks = material.space.networks
    table = read_costs(costs, networks).for_space(networks)
    return replace(material, costs=table, priced={})


def fit(material: Material, model: str = "auto", seed: int = 0) -> Fits:
    """Fit P(T), and the run-times where they were measured; kept as ``fit.json`` in a study's folder."""
    precision, paper, latency = material.precision(model, seed=seed, validate=True), None, None
    if model != PAPER_MODEL:
        with suppress(FitError):
            paper = material.precision(PAPER_MODEL, seed=seed, validate=True)
    if material.costs is not None and len(material.costs):
        cost = most_measured(material.costs)
        if len(material.costs.matching(cost)) >= LEAST_MEASURED:
            latency = complexity_of(material, cost.name)
    fits = Fits(precision, paper, latency)
    if material.project is not None:  # all that `read_precision_fit` needs
        networks = {"family": material.project.study.settings.family, "task": dump(material.task)}
        kept = {"space": dump(material.space), "networks": networks, **fits.to_dict()}
        write_json(material.project.folder / "fit.json", kept)
    return fits


def read_precision_fit(path: Path) -> tuple[Space, PrecisionModel]:
    """The space and the fitted P(T) that `fit` kept; its derived costs are computed by its family."""
    kept = read_json(path)
    try:
        space, networks, derived = load(Space, kept["space"], what="space"), kept.get("networks"), None
        if networks is not None:
            derived = derived_costs(get_family(networks["family"]), Task(**networks["task"]), space)
        return space, PrecisionModel.from_dict(kept["precision"]["fit"], derived)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        expected = "what cpmodel fit wrote (run it again)"
        raise BadInputError("not a fit", expected=expected, where=str(path)) from error


def first_counted(project: Project, watch: Watcher) -> None:
    """Count the costs of all that can be chosen, where the family has to build networks for that."""
    family, task = project.family, project.task
    if family.code:
        X = project.space.networks_of(project.space.candidates(also=project.study.samples().X))
        family.counted(X, task, watch.counted)
        if refused := list(family.refused(X, task).values()):
            if len(refused) == len(X):
                raise BadInputError(refused[0])
            watch.refused(len(refused), len(X), refused[0])


def first_measured(project: Project, effort: Effort, watch: Watcher) -> None:
    """Measure run-times for the model of them, unless there are some of that batch size already."""
    how = MeasureOptions(count=effort.measured, batch=effort.batch)
    batches = [c.conditions.batch for c in project.costs.kinds if c.name == LATENCY and c.conditions]
    if how.count and how.batch not in batches:
        measure_study(project, how, watch, max_seconds=MEASURE_S)


def measure_answer(project: Project, answer: Answer, batch: int) -> None:
    """Measure the baseline and the answer side by side, at `batch` images and at one."""
    verified_or_chosen = answer.verdict or answer.choice.plain
    if verified_or_chosen is not None:
        for size in sorted({batch, 1}):
            how, configurations = MeasureOptions(count=0, batch=size), [verified_or_chosen.configuration]
            measure_study(project, how, configurations=configurations, max_seconds=2.0)

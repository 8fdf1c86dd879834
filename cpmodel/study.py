"""The stages as functions: what the command line calls, and a notebook can."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpmodel.costs.table import CostsTable
from cpmodel.costs.table import read_csv as read_costs
from cpmodel.engine.devices import training_devices
from cpmodel.errors import BadInputError, StudyError, hidden
from cpmodel.families import Task, get_family
from cpmodel.optimize import Choice
from cpmodel.pipeline.answer import Answer, Goal, last_answer, last_verdict
from cpmodel.pipeline.costing import default_complexity, default_note, require_complexities
from cpmodel.pipeline.costing import measure as measure_networks
from cpmodel.pipeline.curve import Curve, CurveGoal, check_curve, last_curve, run_curve
from cpmodel.pipeline.fitting import fit_precision
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.project import FAMILY, Project, plan, reopen
from cpmodel.pipeline.run import check_search, choose
from cpmodel.pipeline.run import run as search
from cpmodel.pipeline.run import verify as verify_choice
from cpmodel.pipeline.sample import sample as train_design
from cpmodel.pipeline.stages import Fits, first_measured, measure_answer, measure_study, read_material
from cpmodel.pipeline.stages import fit as fit_models
from cpmodel.pipeline.watch import Watcher
from cpmodel.report.page import write_report
from cpmodel.report.study import report_content
from cpmodel.samples import Samples
from cpmodel.search.designs import DESIGNS
from cpmodel.space import Configuration, Value
from cpmodel.training.pool import default_workers

if TYPE_CHECKING:
    from cpmodel.deploy.export import Exported

SILENT = Watcher()


def run(
    study: str | Path = "study",
    *,
    target: float | None = None,
    drop: float | None = None,
    dataset: str | None = None,
    complexity: str = "macs",
    limits: Mapping[str, float] | None = None,
    confidence: float = 0.9,
    budget: int | None = 40,
    seconds: float | None = None,
    tolerance: float = 0.05,
    measured: int = 60,
    batch: int = 64,
    workers: int | None = None,
    device: str | None = None,
    full: bool = False,
    family: str | None = None,
    values: Mapping[str, Sequence[Value]] | None = None,
    baseline: Configuration | None = None,
    recipe: Mapping[str, Any] | None = None,
    seed: int | None = None,
    storage: str | None = None,
    watch: Watcher = SILENT,
) -> Answer:
    """From images to a proved answer; the study's folder then holds samples, fits, the choice and the report.

    Called again, it goes on from where it was stopped.

    Parameters
    ----------
    study
        Folder of the study, made if need be.
    target, drop : float
        The precision to reach, or how far below the baseline's it may lie; fractions.
    dataset : str, optional
        See `cpmodel.datasets.load`; the embedded images unless given.
    complexity : str
        What is minimised: ``macs``, ``params``, ..., ``latency_s``.
    limits : mapping, optional
        Largest allowed values of other complexities.
    confidence : float
        Probability of reaching the target that an answer needs.
    budget : int, optional
        Most trainings in all; None where only time counts.
    seconds : float, optional
        Time after which no training is started any more.
    tolerance : float
        The search ends when the expected further saving is below this fraction.
    measured : int
        How many run-times of untrained networks are measured for the model of run-time; 0 for none.
    batch : int
        Images in one forward pass when they are.
    device : str, optional
        What trains: ``cpu``; ``cuda``, all GPUs; ``cuda:1``; all GPUs if there are any, unless given.
    full : bool
        Whether every training goes to its end; else those whose end can be foreseen are stopped early.
    values : mapping, optional
        Values of the family's parameters, ``{"f": (8, 16, 32)}``.
    recipe : mapping, optional
        Fields of the training recipe that differ from the default.

    Raises
    ------
    BadInputError
        Something given cannot be used; the message says what was expected.
    """
    goal = Goal(target, drop, complexity, dict(limits or {}), confidence)
    check_search(goal, budget, tolerance)
    devices = training_devices(device)
    planned = plan(
        study,
        dataset=dataset,
        family=family,
        values=values,
        baseline=baseline,
        recipe=recipe,
        seed=seed,
        storage=storage,
    )
    require_complexities(planned, goal.complexity, goal.limits)
    project, cores = planned.begin(), workers or default_workers(devices)
    watch.begin(project, planned.images, cores)
    try:
        first_measured(project, measured, batch, watch)
        answer = search(
            project,
            planned.images,
            goal,
            budget=budget,
            seconds=seconds,
            tolerance=tolerance,
            workers=cores,
            devices=devices,
            full=full,
            watch=watch,
        )
    finally:
        watch.end()
    return _completed(project, answer, batch)


def curve(
    study: str | Path = "study",
    *,
    low: float,
    high: float,
    dataset: str | None = None,
    complexity: str = "macs",
    limits: Mapping[str, float] | None = None,
    budget: int | None = 40,
    seconds: float | None = None,
    tolerance: float = 0.05,
    measured: int = 60,
    batch: int = 64,
    workers: int | None = None,
    device: str | None = None,
    full: bool = False,
    family: str | None = None,
    values: Mapping[str, Sequence[Value]] | None = None,
    baseline: Configuration | None = None,
    recipe: Mapping[str, Any] | None = None,
    seed: int | None = None,
    storage: str | None = None,
    watch: Watcher = SILENT,
) -> Curve:
    """C(P) between two precisions, with its band; the study's folder then holds samples, curve and report.

    Called again, it goes on from where it was stopped. Parameters as for `run`, and

    Parameters
    ----------
    low, high : float
        The precisions between which the curve is wanted, fractions.
    tolerance : float
        It ends when the least complexity is known to this fraction for every precision between them.
    """
    goal = CurveGoal(low, high, complexity, dict(limits or {}))
    devices = training_devices(device)
    planned = plan(
        study,
        dataset=dataset,
        family=family,
        values=values,
        baseline=baseline,
        recipe=recipe,
        seed=seed,
        storage=storage,
    )
    check_curve(planned.settings.space, budget, tolerance)
    require_complexities(planned, goal.complexity, goal.limits)
    project, cores = planned.begin(), workers or default_workers(devices)
    watch.begin(project, planned.images, cores)
    try:
        first_measured(project, measured, batch, watch)
        found = run_curve(
            project,
            planned.images,
            goal,
            budget=budget,
            seconds=seconds,
            tolerance=tolerance,
            workers=cores,
            devices=devices,
            full=full,
            watch=watch,
        )
    finally:
        watch.end()
    material = Material.of_study(project)
    page = project.folder / "report.html"
    _write_page(material, fit_models(material), page, goal.complexity, None, None, found)
    return found


def verify(
    study: str | Path = "study",
    *,
    target: float | None = None,
    drop: float | None = None,
    configuration: Configuration | str | None = None,
    complexity: str = "macs",
    limits: Mapping[str, float] | None = None,
    confidence: float = 0.9,
    seeds: int = 3,
    batch: int = 64,
    workers: int | None = None,
    device: str | None = None,
    storage: str | None = None,
    watch: Watcher = SILENT,
) -> Answer:
    """Train the choice on fresh seeds; if it stands on validation, open the test split and judge it.

    Parameters
    ----------
    configuration : mapping or text like ``f=8,s=20,k=3,l=2``, optional
        Instead of what the fitted models choose.
    seeds : int
        Fresh seeds, three or more; where they leave it open, up to seven are trained.
    """
    goal = Goal(target, drop, complexity, dict(limits or {}), confidence)
    devices = training_devices(device)
    project = reopen(study, storage)
    if isinstance(configuration, str):
        configuration = project.space.parse(configuration)
    images = project.images()
    cores = workers or default_workers(devices)
    watch.begin(project, images, cores)
    try:
        answer = verify_choice(
            project,
            images,
            goal,
            configuration=configuration,
            seeds=seeds,
            workers=cores,
            devices=devices,
            watch=watch,
        )
    finally:
        watch.end()
    return _completed(project, answer, batch)


def sample(
    study: str | Path = "study",
    *,
    design: str = "spread",
    budget: int | None = None,
    vary: Collection[str] | None = None,
    seconds: float | None = None,
    seeds: int = 1,
    dataset: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    full: bool = False,
    family: str | None = None,
    values: Mapping[str, Sequence[Value]] | None = None,
    baseline: Configuration | None = None,
    recipe: Mapping[str, Any] | None = None,
    seed: int | None = None,
    storage: str | None = None,
    watch: Watcher = SILENT,
) -> Samples:
    """Train the configurations of a design, and write ``samples.csv``; what is done is not done again.

    Parameters
    ----------
    design : str
        ``sweep``, ``pairs``, ``grid``, ``random``, ``sobol`` or ``spread``; see `cpmodel.search.designs`.
    budget : int, optional
        Most configurations.
    vary : collection of str, optional
        The only parameters that move, the others stay at the baseline; all of them unless given.
    seconds : float, optional
        Time after which no training is started any more.
    seeds : int
        Trainings of each configuration; all configurations come once before any comes twice.
    device : str, optional
        What trains: ``cpu``; ``cuda``, all GPUs; ``cuda:1``; all GPUs if there are any, unless given.
    full : bool
        Whether every training goes to its end; else those whose end can be foreseen are stopped early.

    Returns
    -------
    Samples
        All of the study.
    """
    if design not in DESIGNS:
        raise BadInputError("design", expected="one of " + ", ".join(DESIGNS), got=design)
    devices = training_devices(device)
    planned = plan(
        study,
        dataset=dataset,
        family=family,
        values=values,
        baseline=baseline,
        recipe=recipe,
        seed=seed,
        storage=storage,
    )
    for name in vary or ():
        planned.settings.space[name]  # an unknown one is refused before anything is written
    project, images = planned.begin(), planned.images
    cores = workers or default_workers(devices)
    watch.begin(project, images, cores)
    try:
        return train_design(
            project,
            images,
            design,
            budget=budget,
            vary=vary,
            seconds=seconds,
            seeds=seeds,
            workers=cores,
            devices=devices,
            full=full,
            watch=watch,
        )
    finally:
        watch.end()


def measure(
    study: str | Path = "study",
    *,
    count: int = 100,
    costs: str | Path | None = None,
    task: Task | None = None,
    family: str | None = None,
    batch: int = 64,
    storage: str | None = None,
    watch: Watcher = SILENT,
    **conditions: Any,
) -> CostsTable:
    """Measure forward run-times of untrained networks, or import those measured on another device.

    Parameters
    ----------
    count : int
        Configurations drawn from the space, beside its baseline.
    costs
        A costs table to import instead.
    task : Task, optional
        Measure a family's default space for this task; no study is needed or touched.
    **conditions
        ``threads``, ``dtype``, ``device``; see `cpmodel.costs.latency.measure_many`.
    """
    if task is not None:
        networks = get_family(family or FAMILY)
        space = networks.space(task)
        return measure_networks(
            networks, task, space, count, batch=batch, progress=watch.measured, **conditions
        )
    project = reopen(study, storage)
    if costs is None:
        return measure_study(project, count, batch=batch, watch=watch, **conditions)
    table = read_costs(costs, project.space)
    project.add_costs(table)
    return table


def fit(source: str | Path = "study", *, model: str = "auto", **how: Any) -> Fits:
    """Fit P(T), and C(T) where run-times were measured, to a study or to anybody's CSV.

    Parameters
    ----------
    source
        A study's folder, or a CSV file.
    model : str
        ``auto``, ``loggp``, ``logpower``, or ``explinear`` (the paper's eq. 6).
    **how
        How to read the source: ``parameters``, ``precision``, ``seed``, ``unit``, ``family``, ``task``,
        ``baseline`` of a CSV, ``storage`` of a study; see `cpmodel.pipeline.stages.read_material`.
    """
    return fit_models(read_material(source, **how), model)


def optimize(
    source: str | Path = "study",
    *,
    target: float | None = None,
    drop: float | None = None,
    complexity: str | None = None,
    limits: Mapping[str, float] | None = None,
    confidence: float = 0.9,
    model: str = "auto",
    whole: bool | None = None,
    **how: Any,
) -> Choice:
    """The cheapest configuration predicted to reach the target, from a study or anybody's CSV.

    Parameters
    ----------
    source
        A study's folder, or a CSV file.
    target, drop : float
        The precision to reach, or how far below the baseline's it may lie; fractions.
    complexity : str, optional
        What is minimised; ``macs`` where it can be computed, else the first cost column of the table.
    whole : bool, optional
        Whether to predict what is dearer than a sure answer, too; see `cpmodel.optimize.optimize`.
    **how
        How to read the source: ``parameters``, ``precision``, ``seed``, ``unit``, ``family``, ``task``,
        ``baseline`` of a CSV, ``storage`` of a study; see `cpmodel.pipeline.stages.read_material`.
    """
    material = read_material(source, **how)
    return choose_from(
        material,
        target=target,
        drop=drop,
        complexity=complexity,
        limits=limits,
        confidence=confidence,
        model=model,
        whole=whole,
    )


def choose_from(
    material: Material,
    *,
    target: float | None = None,
    drop: float | None = None,
    complexity: str | None = None,
    limits: Mapping[str, float] | None = None,
    confidence: float = 0.9,
    model: str = "auto",
    whole: bool | None = None,
) -> Choice:
    """As `optimize`, from material that was read already."""
    goal = Goal(target, drop, complexity or default_complexity(material), dict(limits or {}), confidence)
    fit = fit_precision(material.samples, model, validate=False, derived=material.derived)
    choice = choose(material, goal, fit, whole)
    return choice if complexity else replace(choice, notes=(*default_note(material), *choice.notes))


def report(
    source: str | Path = "study",
    out: str | Path | None = None,
    *,
    target: float | None = None,
    drop: float | None = None,
    complexity: str | None = None,
    confidence: float = 0.9,
    model: str = "auto",
    paper_grid: bool = False,
    **how: Any,
) -> Path:
    """Write the page of a study (``report.html`` in its folder) or of a CSV (beside it).

    Parameters
    ----------
    source
        A study's folder, or a CSV file.
    out
        The HTML file, where it is to be another one.
    target, drop : float, optional
        What the page answers; unless given, what was asked last of the study.
    complexity : str, optional
        What is drawn.
    paper_grid : bool
        Whether to draw the paper's own 160,000 points, too; see `cpmodel.optimize.paper_grid`.
    **how
        As for `optimize`.

    Returns
    -------
    Path
        The page.
    """
    material = read_material(source, **how)
    fits = fit_models(material, model)
    answer, choice, curve = None, None, None
    if target is None and drop is None:
        if material.project is not None:
            answer, curve = last_answer(material.project), last_curve(material.project)
    else:
        goal = Goal(target, drop, complexity or default_complexity(material), {}, confidence)
        choice = choose(material, goal, fits.precision)
        choice = choice if complexity else replace(choice, notes=(*default_note(material), *choice.notes))
    path = Path(out) if out is not None else _page_of(Path(source))
    return _write_page(material, fits, path, complexity, choice, answer, curve, paper_grid)


def export(
    study: str | Path = "study", out: str | Path | None = None, storage: str | None = None
) -> Exported:
    """Write the verified network as ONNX and state dict, with a note on how to preprocess.

    Parameters
    ----------
    out
        Folder for the files; ``export`` in the study's unless given.
    """
    from cpmodel.deploy.export import export as write

    project = reopen(study, storage)
    verdict = last_verdict(project)
    if verdict is None:
        raise StudyError("nothing is verified yet", expected="cpmodel verify first", where=str(study))
    return write(project, verdict, out)


def _completed(project: Project, answer: Answer, batch: int) -> Answer:
    """Everything of a study that follows from its samples, written anew."""
    measure_answer(project, answer, batch)
    material = Material.of_study(project)
    _write_page(material, fit_models(material), project.folder / "report.html", None, None, answer)
    return answer


def _write_page(
    material: Material,
    fits: Fits,
    path: Path,
    complexity: str | None,
    choice: Choice | None,
    answer: Answer | None,
    curve: Curve | None = None,
    paper: bool = False,
) -> Path:
    content = report_content(
        material,
        fits,
        title=path.parent.resolve().name if path.name == "report.html" else path.stem,
        command=" ".join(["cpmodel", *map(hidden, sys.argv[1:])]) if sys.argv[0].endswith("cpmodel") else "",
        complexity=complexity or default_complexity(material),
        choice=choice,
        answer=answer,
        curve=curve,
        paper=paper,
    )
    write_report(content, path)
    return path


def _page_of(source: Path) -> Path:
    if source.is_dir():
        return source / "report.html"
    return source.with_name(source.name.removesuffix(".gz")).with_suffix(".html")

"""What a user holds: a study of trained networks, or anybody's table; each stage is a method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cpmodel.cost import ComparedCost
from cpmodel.costs.table import CostsTable
from cpmodel.costs.table import read_csv as read_costs
from cpmodel.engine.devices import training_devices
from cpmodel.errors import BadInputError, StudyError
from cpmodel.families import Family, Task, get_family
from cpmodel.optimize import Choice
from cpmodel.pipeline.answer import Answer, last_answer, last_verdict
from cpmodel.pipeline.costing import compared_costs, measure_study, require_complexities
from cpmodel.pipeline.curve import Curve, check_curve, last_curve, run_curve
from cpmodel.pipeline.loop import watched
from cpmodel.pipeline.material import Material
from cpmodel.pipeline.options import (
    Asked,
    ComplexityOptions,
    CurveGoal,
    DesignOptions,
    Effort,
    FitOptions,
    Goal,
    Machine,
    MeasureOptions,
    Options,
    ProofOptions,
    StudyOptions,
    TableOptions,
    Training,
    belonging,
    told,
)
from cpmodel.pipeline.project import Plan, Project, plan, reopen, store_there
from cpmodel.pipeline.run import check_search, choose, run, sample, verify
from cpmodel.pipeline.stages import (
    Fits,
    first_counted,
    first_measured,
    fit,
    measure_answer,
    read_table,
    with_costs,
)
from cpmodel.pipeline.watch import SILENT, Watcher
from cpmodel.report.build import page_of
from cpmodel.report.render import write_report
from cpmodel.samples import Samples
from cpmodel.search.designs import DESIGNS
from cpmodel.space import Configuration, Space

if TYPE_CHECKING:
    from cpmodel.deploy.export import Exported


R = TypeVar("R")


def takes(*groups: type[Options], **defaults: Any) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """A function of option groups as one of their fields: ``run(target=0.9, budget=40)``.

    What is decorated takes the groups first (after `self`). The signature and the docstring tell the fields;
    `defaults` are those that differ from the fields' own.
    """
    known = {each.name: each for group in groups for each in fields(group)}

    def decorated(function: Callable[..., R]) -> Callable[..., R]:
        own = list(signature(function).parameters.values())
        start = int(own[0].name == "self")
        del own[start : start + len(groups)]
        names = [*known, *(p.name for p in own[start:])]

        @wraps(function)
        def call(*given: Any, **keywords: Any) -> R:
            for name in keywords.keys() - set(names):
                expected = "one of " + ", ".join(names)
                raise BadInputError(f"{function.__name__}: option {name}", expected=expected)
            chosen = defaults | {name: keywords.pop(name) for name in known.keys() & keywords.keys()}
            made = [group(**belonging(chosen, group)) for group in groups]
            return function(*given[:start], *made, *given[start:], **keywords)

        options = [
            Parameter(n, Parameter.KEYWORD_ONLY, default=defaults.get(n, f.default), annotation=f.type)
            for n, f in known.items()
        ]
        shown = sorted([*own, *options], key=lambda parameter: parameter.kind)
        call.__signature__ = signature(function).replace(parameters=shown)  # type: ignore[attr-defined]
        rows = "\n".join(f"{name}\n    {told(each)}" for name, each in known.items())
        call.__doc__ = f"{(function.__doc__ or '').rstrip()}\n\nOptions\n-------\n{rows}\n"
        return call

    return decorated


class Source(ABC):
    """Samples that models are fitted to: of a study, or of a table; `page` is where its page is written."""

    page: Path

    @abstractmethod
    def material(self) -> Material:
        """The samples and what is known of their costs."""

    def samples(self) -> Samples:
        """Every training there is, failed ones too."""
        return self.material().samples

    def costs(self, configuration: Configuration | str, first: str = "") -> list[ComparedCost]:
        """All that is known of the costs of the baseline and a configuration, those called `first` first."""
        if isinstance(configuration, str):
            configuration = self.material().space.parse(configuration)
        return compared_costs(self.material(), configuration, first)

    @takes(FitOptions)
    def fit(self, how: FitOptions) -> Fits:
        """Fit P(T), and C(T) where run-times were measured; a study keeps them as ``fit.json``."""
        return fit(with_costs(self.material(), how.costs), how.model)

    @takes(Goal, FitOptions)
    def optimize(self, goal: Goal, how: FitOptions, *, whole: bool | None = None) -> Choice:
        """The cheapest configuration predicted to reach the target, from the samples there are.

        Parameters
        ----------
        whole : whether to predict what is dearer than a sure answer, too; see `cpmodel.optimize`
        """
        material = with_costs(self.material(), how.costs)
        return choose(material, goal, material.precision(how.model), whole)

    @takes(Asked, FitOptions)
    def report(
        self,
        asked: Asked,
        how: FitOptions,
        out: str | Path | None = None,
        *,
        paper_grid: bool = False,
        command: str = "",
    ) -> Path:
        """Write the page: ``report.html`` in a study's folder, or beside a table.

        It answers the target or the drop that is given; else it shows what was asked last of the study.

        Parameters
        ----------
        out : the HTML file, where it is to be another one
        paper_grid : whether to draw the paper's own 160,000 points, too; see `cpmodel.optimize.paper_grid`
        command : the command that the page names
        """
        material = with_costs(self.material(), how.costs)
        fits = fit(material, how.model)
        goal = None if asked.target is None and asked.drop is None else Goal(**vars(asked))
        answer, curve = self._asked_last() if goal is None else (None, None)
        choice = None if goal is None else choose(material, goal, fits.precision)
        page = {"choice": choice, "answer": answer, "curve": curve, "paper": paper_grid}
        path = self.page if out is None else Path(out)
        return _written(path, command, material, fits, complexity=asked.complexity, **page)

    def _asked_last(self) -> tuple[Answer | None, Curve | None]:
        return None, None


class Table(Source):
    """Anybody's measurements in a CSV file, read by `cpmodel.read`."""

    def __init__(self, path: str | Path, material: Material) -> None:
        self.path = Path(path)
        self.page = self.path.with_name(self.path.name.removesuffix(".gz")).with_suffix(".html")
        self._material = material

    def __repr__(self) -> str:
        return f"Table({str(self.path)!r}, {len(self.samples())} samples)"

    def material(self) -> Material:
        """The samples and what is known of their costs."""
        return self._material


class Study(Source):
    """A study in a folder, opened by `cpmodel.open`; it is made when something is first trained for it.

    Parameters
    ----------
    folder : where its files are
    options : what it is made of
    project : the study, where it is opened already

    Raises
    ------
    BadInputError
        Something given cannot be used, or the study that is there was made of something else.
    """

    def __init__(self, folder: str | Path, options: StudyOptions, project: Project | None = None) -> None:
        self.folder = Path(folder)
        self.page = self.folder / "report.html"
        self._storage = options.storage
        self._planned: Plan | None = None
        self._project = project
        if project is not None:
            return
        there = store_there(folder, options.storage)
        if there is not None and options == StudyOptions(storage=options.storage):
            self._project = Project(there)
            return
        self._planned = plan(folder, options)
        if there is not None:
            self._begun()

    def __repr__(self) -> str:
        return f"Study({str(self.folder)!r})"

    @property
    def project(self) -> Project:
        """The opened study, its family and images; there is none before something was trained for it."""
        if self._project is None:
            self._project = reopen(self.folder, self._storage)
        return self._project

    def _begun(self) -> Project:
        """The opened study, made if there is none."""
        if self._project is None and self._planned is not None:
            self._project = self._planned.begin()
        return self.project

    def material(self) -> Material:
        """The study's samples and what is known of their costs."""
        return self.project.material()

    def _asked_last(self) -> tuple[Answer | None, Curve | None]:
        return last_answer(self.project), last_curve(self.project)

    def answer(self) -> Answer | None:
        """What `run` or `verify` answered last; None before that."""
        return last_answer(self.project)

    @takes(Goal, Effort)
    def run(self, goal: Goal, effort: Effort, *, watch: Watcher = SILENT, command: str = "") -> Answer:
        """From images to a proved answer; the folder then holds samples, fits, the choice and the report.

        Called again, it goes on from where it was stopped.

        Parameters
        ----------
        watch : told what happens
        command : the command that the page names
        """
        check_search(goal, effort)
        with self._at_work(goal, effort, watch) as project:
            first_measured(project, effort, watch)
            answer = run(project, goal, effort, watch)
        return self._completed(answer, effort.batch, command)

    @takes(CurveGoal, Effort)
    def curve(self, goal: CurveGoal, effort: Effort, *, watch: Watcher = SILENT, command: str = "") -> Curve:
        """C(P) between two precisions, `low` and `high`, with its band; else as `run`."""
        check_curve(self._networks[2], effort)
        with self._at_work(goal, effort, watch) as project:
            first_measured(project, effort, watch)
            found = run_curve(project, goal, effort, watch)
        material, named = self.material(), found.complexity
        _written(self.page, command, material, fit(material), curve=found, complexity=named)
        return found

    @takes(Goal, ProofOptions, Machine)
    def verify(
        self, goal: Goal, proof: ProofOptions, machine: Machine, *, watch: Watcher = SILENT, command: str = ""
    ) -> Answer:
        """Train the choice on fresh seeds; if it stands on validation, open the test split and judge it."""
        training_devices(machine.device)  # one that is not there is refused before images are read
        with watched(self.project, machine, watch):
            answer = verify(self.project, goal, proof, machine, watch)
        return self._completed(answer, proof.batch, command)

    @takes(DesignOptions, Training, budget=None)
    def sample(self, how: DesignOptions, effort: Training, *, watch: Watcher = SILENT) -> Samples:
        """Train the configurations of a design, and write ``samples.csv``; what is done is not done again.

        All configurations are trained once before any is trained again. The budget is the most of them. All
        samples of the study come back.
        """
        if how.design not in DESIGNS:
            raise BadInputError("design", expected="one of " + ", ".join(DESIGNS), got=how.design)
        for name in how.vary or ():
            self._networks[2][name]  # an unknown one is refused before anything is written
        with self._at_work(None, effort, watch) as project:
            return sample(project, how, effort, watch)

    @takes(MeasureOptions)
    def measure(self, how: MeasureOptions, *, watch: Watcher = SILENT) -> CostsTable:
        """Measure forward run-times of untrained networks, or import those measured on another device."""
        if how.costs is None:
            return measure_study(self.project, how, watch)
        table = read_costs(how.costs, self.project.space.networks)
        self.project.add_costs(table)
        return table

    def export(self, out: str | Path | None = None) -> Exported:
        """Write the verified network as ONNX and state dict, with a note on how to preprocess.

        Parameters
        ----------
        out : folder for the files; ``export`` in the study's unless given
        """
        from cpmodel.deploy.export import export as write

        verdict = last_verdict(self.project)
        if verdict is None:
            where = str(self.folder)
            raise StudyError("nothing is verified yet", expected="cpmodel verify first", where=where)
        return write(self.project, verdict, out)

    @property
    def _networks(self) -> tuple[Family, Task, Space]:
        """The family, the task and the space that the study is or will be about."""
        planned = self._planned
        if self._project is None and planned is not None:
            return planned.family, planned.task, planned.settings.space
        return self.project.family, self.project.task, self.project.space

    @contextmanager
    def _at_work(self, goal: ComplexityOptions | None, machine: Machine, watch: Watcher) -> Iterator[Project]:
        """The project, made if need be, while something trains; what cannot be is refused before."""
        training_devices(machine.device)
        if goal is not None:
            names = [goal.complexity] if goal.complexity else []
            measured = [] if self._project is None else [cost.name for cost in self._project.costs.kinds]
            require_complexities(*self._networks[:2], [*names, *goal.limits], measured)
        project = self._begun()
        if goal is not None:
            first_counted(project, watch)
        with watched(project, machine, watch):
            yield project

    def _completed(self, answer: Answer, batch: int, command: str) -> Answer:
        """Everything of a study that follows from its samples, written anew."""
        measure_answer(self.project, answer, batch)
        material = self.material()
        _written(self.page, command, material, fit(material), answer=answer)
        return answer


def _written(path: Path, command: str, material: Material, fits: Fits, **shown: Any) -> Path:
    """Write the page of what is shown; see `cpmodel.report.build.page_of`."""
    title = path.parent.resolve().name if path.name == "report.html" else path.stem
    write_report(replace(page_of(material, fits, title=title, **shown), command=command), path)
    return path


@takes(StudyOptions)
def open(options: StudyOptions, folder: str | Path = "study") -> Study:
    """The study in `folder`, gone on with, or made when something is first trained for it.

    Whatever is not given is as the study there has it.

    Raises
    ------
    BadInputError
        Something given cannot be used, or the study that is there was made of something else.
    """
    return Study(folder, options)


@takes(TableOptions)
def read(options: TableOptions, path: str | Path) -> Table:
    """Anybody's measurements, a CSV file with one row a training."""
    return Table(path, read_table(path, options))


def source(path: str | Path, storage: str | None = None, how: TableOptions | None = None) -> Source:
    """The study in a folder, or the table in a CSV file, whichever is there."""
    how = how or TableOptions()
    if how.family is not None:
        get_family(how.family)  # an unknown one is refused, whether it is needed or not
    if Path(path).is_dir() or (storage is not None and not Path(path).is_file()):
        return Study(path, StudyOptions(storage=storage), reopen(path, storage))
    return Table(path, read_table(path, how))

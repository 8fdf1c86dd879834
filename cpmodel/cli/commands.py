"""The commands: each hands what was written to a stage and prints what comes back. Imports nothing heavy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from cpmodel.cli import options as o
from cpmodel.cli import values
from cpmodel.errors import BadInputError
from cpmodel.pipeline.options import (
    Asked,
    DesignOptions,
    Effort,
    FitOptions,
    Goal,
    MeasureOptions,
    ProofOptions,
    StudyOptions,
    TableOptions,
    Training,
)
from cpmodel.version import __version__

if TYPE_CHECKING:
    from cpmodel.families import Family, Task
    from cpmodel.study import Source, Study

BAD_INPUT = 2
# Of how a table is read, what has no meaning where there is none
CSV = ("parameters", "precision", "seed_column", "unit", "baseline")

app = typer.Typer(
    name="cpmodel",
    help="The cheapest CNN that reaches the precision you need, with the proof and the whole curve.",
    epilog="Example: cpmodel run --target 0.88",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help is on the screen in half the time of one with frames
)

Epochs = Annotated[
    int | None,
    typer.Option(metavar="N", help="Passes over the training images; short for --recipe epochs=N."),
]
Storage = Annotated[
    str | None, typer.Option(metavar="URL", help="Optuna storage URL, instead of study.db in the folder.")
]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"cpmodel {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    del version, debug
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(BAD_INPUT)


@o.command(app, Asked, StudyOptions, Effort, free=True, example="cpmodel run --target 0.88 --budget 40")
def run(
    given: o.Given,
    *,
    context: typer.Context,
    curve: Annotated[
        str | None,
        typer.Option(metavar="P:P", help="Instead: the whole curve between two precisions, 0.80:0.92."),
    ] = None,
    study: o.Study = o.STUDY,
    epochs: Epochs = None,
    json: o.Json = False,
) -> int:
    """From images to a proved answer, with its report.

    Trains few configurations, fits models, chooses, and verifies the choice on fresh seeds. With --curve:
    trains where the least complexity C(P) is least certain, and ends with the curve and its band.
    Stop it anywhere; the same command goes on from there. Values of the family's parameters are set by their
    names: --f 8,16,32.
    """
    started, goal = time.monotonic(), given[Asked]
    if curve is not None:
        goal["low"], goal["high"] = values.span(curve, "--curve")
        for name in sorted({"target", "drop", "confidence"} & goal.keys()):
            got = f"--{name} {goal[name]}"
            raise BadInputError("--curve", expected=f"it without --{name}", got=got)
    else:
        Goal(**goal)  # refused before any image is read

    from cpmodel.cli import answers
    from cpmodel.cli.progress import Progress

    opened, how = _opened(study, given, context, epochs), {**goal, **given[Effort]}
    told = {"watch": Progress(), "command": values.command()}
    if curve is not None:
        found = opened.curve(**how, **told)
        return answers.show_curve(opened, found, time.monotonic() - started, as_json=json)
    answer = opened.run(**how, **told)
    return answers.show_answer(opened, answer, time.monotonic() - started, as_json=json)


@o.command(
    app,
    DesignOptions,
    StudyOptions,
    Training,
    free=True,
    example="cpmodel sample --design sweep --f 8,16,32",
)
def sample(
    given: o.Given,
    *,
    context: typer.Context,
    study: o.Study = o.STUDY,
    epochs: Epochs = None,
    json: o.Json = False,
) -> int:
    """Train the configurations of a design, and write samples.csv.

    Several of these on one study share the work. Stop it anywhere; the same command goes on from there.
    """
    from cpmodel.cli import answers
    from cpmodel.cli.progress import Progress

    opened = _opened(study, given, context, epochs)
    table = opened.sample(**given[DesignOptions], **given[Training], watch=Progress())
    return answers.show_samples(opened, table, as_json=json)


@o.command(
    app,
    Goal,
    ProofOptions,
    Effort,
    without=("budget", "full", "tolerance", "measured"),
    example="cpmodel verify --target 0.88",
)
def verify(given: o.Given, *, study: o.Study = o.STUDY, storage: Storage = None, json: o.Json = False) -> int:
    """Prove a choice on fresh seeds and the test split.

    The test split is opened only for a choice that stands on validation.
    """
    Goal(**given[Goal])
    from cpmodel import open
    from cpmodel.cli import answers
    from cpmodel.cli.progress import Progress

    started, opened = time.monotonic(), open(study, storage=storage)
    how = {**given[Goal], **given[ProofOptions], **given[Effort]}
    answer = opened.verify(**how, watch=Progress(), command=values.command())
    return answers.show_answer(opened, answer, time.monotonic() - started, as_json=json)


@o.command(
    app,
    MeasureOptions,
    TableOptions,
    without=CSV,
    example="cpmodel measure --count 100 --batch 1 --out costs.csv",
)
def measure(
    given: o.Given,
    *,
    study: o.Study = o.STUDY,
    out: Annotated[
        str | None, typer.Option(metavar="CSV", help="CSV to write, to be used with --costs elsewhere.")
    ] = None,
    costs: Annotated[
        str | None, typer.Option(metavar="CSV", help="Import this costs table instead of measuring.")
    ] = None,
    storage: Storage = None,
    json: o.Json = False,
) -> int:
    """Measure run-times of untrained networks, or import them.

    No training of the study runs meanwhile.
    On another device no study is needed: cpmodel measure --image 28x28x1 --out costs.csv there, and
    cpmodel measure --costs costs.csv here.
    """
    from cpmodel import open
    from cpmodel.cli import answers
    from cpmodel.cli.progress import Progress
    from cpmodel.pipeline.costing import measure as measure_networks

    networks, watch = _networks(given), Progress()
    if networks is None:
        table = open(study, storage=storage).measure(**given[MeasureOptions], costs=costs, watch=watch)
    else:
        family, task = networks
        how = MeasureOptions(**given[MeasureOptions])
        table = measure_networks(family, task, family.space(task), how, watch=watch)
    if out is not None:
        table.write_csv(out)
    return answers.show_measured(table, out, as_json=json)


@o.command(
    app, TableOptions, without=CSV, example="cpmodel costs f=8,k=3 --image 28x28x1 --classes 10 --check"
)
def costs(
    given: o.Given,
    configuration: Annotated[
        str, typer.Argument(metavar="[T]", help="Configuration f=8,k=3,...; the rest as in the baseline.")
    ] = "",
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Build the network and count; exit code 1 where that differs.")
    ] = False,
    json: o.Json = False,
) -> int:
    """Every computed cost of a configuration; nothing is trained."""
    from cpmodel.cli import answers
    from cpmodel.costs.describe import describe

    networks = _networks(given)
    if networks is None:
        raise BadInputError("--image", expected="what the network takes, like 28x28x1", got="none")
    chosen = values.configuration(configuration, "T") if configuration else {}
    return answers.show_costs(describe(*networks, chosen, check=check), as_json=json)


@o.command(
    app,
    FitOptions,
    TableOptions,
    example="cpmodel fit samples.csv --parameters c1,c2,c3 --precision accuracy",
)
def fit(
    given: o.Given,
    source: o.Source = o.STUDY,
    *,
    out: Annotated[
        str | None, typer.Option(metavar="JSON", help="JSON file for the fits (a study keeps fit.json).")
    ] = None,
    storage: Storage = None,
    json: o.Json = False,
) -> int:
    """Fit P(T), and C(T) to measured run-times."""
    from cpmodel.cli import answers

    samples = _read(source, given, storage)
    return answers.show_fits(samples.material(), samples.fit(**given[FitOptions]), out, as_json=json)


@o.command(app, Goal, FitOptions, TableOptions, example="cpmodel optimize --target 0.94 --envelope curve.csv")
def optimize(
    given: o.Given,
    source: o.Source = o.STUDY,
    *,
    envelope: Annotated[
        str | None, typer.Option(metavar="CSV", help="CSV file for the envelope C(P).")
    ] = None,
    storage: Storage = None,
    json: o.Json = False,
) -> int:
    """The cheapest configuration predicted to reach the target."""
    Goal(**given[Goal])
    from cpmodel.cli import answers

    samples, whole = _read(source, given, storage), None if envelope is None else True
    choice = samples.optimize(**given[Goal], **given[FitOptions], whole=whole)
    return answers.show_choice(samples.material(), choice, envelope, as_json=json)


@o.command(app, Asked, FitOptions, TableOptions, example="cpmodel report --out page.html")
def report(
    given: o.Given,
    source: o.Source = o.STUDY,
    *,
    out: Annotated[
        str | None, typer.Option(metavar="HTML", help="HTML file; default: report.html, or beside the CSV.")
    ] = None,
    paper_grid: Annotated[
        bool,
        typer.Option("--paper-grid", help="Draw the paper's 160,000 points, too (steps of 0.05, figure 2)."),
    ] = False,
    storage: Storage = None,
) -> int:
    """Write the page: the answer, the curve, the fits, the trainings.

    One HTML file that works offline.
    """
    how = {**given[Asked], **given[FitOptions], "paper_grid": paper_grid, "command": values.command()}
    typer.echo(_read(source, given, storage).report(out, **how))
    return 0


@o.command(app, example="cpmodel export --out model")
def export(
    given: o.Given,
    *,
    study: o.Study = o.STUDY,
    out: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="Folder for the files; default: export in the study.")
    ] = None,
    storage: Storage = None,
    json: o.Json = False,
) -> int:
    """Write the verified network as ONNX and as a state dict.

    A JSON note beside them says how to preprocess images.
    """
    from cpmodel import open
    from cpmodel.cli import answers

    del given
    return answers.show_export(open(study, storage=storage).export(out), as_json=json)


def _opened(study: str, given: o.Given, context: typer.Context, epochs: int | None) -> Study:
    """The study, with the values of its family's parameters and the short word for a field of its recipe."""
    from cpmodel import open

    settings = given[StudyOptions]
    if context.args:
        settings["values"] = values.parameter_values(context.args)
    if epochs is not None:
        settings["recipe"] = {**settings.get("recipe", {}), "epochs": epochs}
    return open(study, **settings)


def _read(path: str, given: o.Given, storage: str | None) -> Source:
    """The study or the table that is there."""
    from cpmodel.study import source

    return source(path, storage, TableOptions(**given[TableOptions]))


def _networks(given: o.Given) -> tuple[Family, Task] | None:
    """A family and what its networks are for, where that is written."""
    from cpmodel.families import Task, get_family
    from cpmodel.pipeline.project import FAMILY
    from cpmodel.pipeline.stages import image_of

    how = TableOptions(**given[TableOptions])
    if how.image is None:
        return None
    return get_family(how.family or FAMILY), Task(*image_of(how.image), how.classes)

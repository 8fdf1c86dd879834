"""The commands: each calls a stage with what was written. Imports nothing heavy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from cpmodel.cli.options import Given, command
from cpmodel.errors import BadInputError, hidden
from cpmodel.files import replacing, write_json
from cpmodel.pipeline import options as o
from cpmodel.pipeline.options import belonging, option

if TYPE_CHECKING:
    from cpmodel.families import Family, Task
    from cpmodel.study import Source, Study

# What several commands have
STUDY: dict[str, Any] = {"study": option("study", "Folder of the study.", "FOLDER", flag="-o")}
STORED = STUDY | {"storage": o.STORAGE}
SOURCE = option("study", "A study's folder, or a CSV table of measurements.", flag="SOURCE")
READ = {"source": SOURCE, "storage": o.STORAGE}


@command(
    o.Asked,
    o.StudyOptions,
    o.Effort,
    **STUDY,
    curve=option(None, "Instead: the whole curve, 0.80:0.92.", "P:P"),
)
def run(given: Given) -> tuple[Study, Any]:
    """From images to a proved answer, with its report.

    Trains few configurations, fits models, chooses, and verifies the choice on
    fresh seeds. With --curve: trains where the least complexity C(P) is least
    certain, and ends with the curve and its band. Stop it anywhere; the same
    command goes on from there. Values of the family's parameters are set by
    their names: --f 8,16,32.

    Example: cpmodel run --target 0.88 --budget 40
    """
    curve = "low" in given  # how --curve is read
    for name in sorted({"target", "drop", "confidence"} & given.keys() if curve else ()):
        raise BadInputError("--curve", expected=f"it without --{name}", got=f"--{name} {given[name]}")
    goal: type[o.Options] = o.CurveGoal if curve else o.Goal
    goal(**belonging(given, goal))  # refused before any image is read
    study = _study(given)
    how = {**belonging(given, goal, o.Effort), **_watched()}
    return study, study.curve(**how) if curve else study.run(**how)


@command(o.DesignOptions, o.StudyOptions, o.Training, **STUDY)
def sample(given: Given) -> tuple[Study, Any]:
    """Train the configurations of a design, and write samples.csv.

    Several of these on one study share the work. Stop it anywhere; the same
    command goes on from there.

    Example: cpmodel sample --design sweep --f 8,16,32
    """
    study, watch = _study(given), _watched()["watch"]
    return study, study.sample(**belonging(given, o.DesignOptions, o.Training), watch=watch)


@command(o.Goal, o.ProofOptions, o.Machine, **STORED)
def verify(given: Given) -> tuple[Study, Any]:
    """Prove a choice on fresh seeds and the test split.

    The test split is opened only for a choice that stands on validation.

    Example: cpmodel verify --target 0.88
    """
    o.Goal(**belonging(given, o.Goal))
    study = _study(given)
    return study, study.verify(**belonging(given, o.Goal, o.ProofOptions, o.Machine), **_watched())


@command(o.MeasureOptions, o.NetworkOptions, **STORED, out=option(None, "CSV file to write.", "CSV"))
def measure(given: Given) -> tuple[None, Any]:
    """Measure run-times of untrained networks, or import them.

    No training of the study runs meanwhile. Another device needs no study:
    cpmodel measure --image 28x28x1 --out costs.csv there, and
    cpmodel measure --costs costs.csv here.

    Example: cpmodel measure --count 100 --batch 1 --out costs.csv
    """
    from cpmodel.pipeline.costing import measure as measured

    networks, how, watch = _networks(given), belonging(given, o.MeasureOptions), _watched()["watch"]
    if networks is None:
        table = _study(given).measure(**how, watch=watch)
    else:
        table = measured(*networks, networks[0].space(networks[1]), o.MeasureOptions(**how), watch=watch)
    if given["out"] is not None:
        table.write_csv(given["out"])
    return None, table


@command(
    o.NetworkOptions,
    configuration=option(None, "Configuration f=8,k=3,...; the rest as in the baseline.", "T", flag="T"),
    check=option(False, "Build the network and count; exit code 1 where that differs."),
)
def costs(given: Given) -> tuple[None, Any]:
    """Every computed cost of a configuration; nothing is trained.

    Example: cpmodel costs f=8,k=3 --image 28x28x1 --classes 10 --check
    """
    from cpmodel.costs.describe import describe

    networks = _networks(given)
    if networks is None:
        raise BadInputError("--image", expected="what the network takes, like 28x28x1", got="none")
    return None, describe(*networks, given["configuration"], check=given["check"])


@command(o.FitOptions, o.TableOptions, **READ, out=option(None, "JSON file for the fits.", "JSON"))
def fit(given: Given) -> tuple[Source, Any]:
    """Fit P(T), and C(T) to measured run-times.

    Example: cpmodel fit samples.csv --parameters c1,c2,c3 --precision accuracy
    """
    source = _source(given)
    fits = source.fit(**belonging(given, o.FitOptions))
    if given["out"] is not None:
        write_json(given["out"], fits.to_dict())
    return source, fits


@command(
    o.Goal, o.FitOptions, o.TableOptions, **READ, out=option(None, "File for C(P).", "CSV", flag="--envelope")
)
def optimize(given: Given) -> tuple[Source, Any]:
    """The cheapest configuration predicted to reach the target.

    Example: cpmodel optimize --target 0.94 --envelope curve.csv
    """
    o.Goal(**belonging(given, o.Goal))
    source, whole = _source(given), None if given["out"] is None else True
    choice = source.optimize(**belonging(given, o.Goal, o.FitOptions), whole=whole)
    if given["out"] is not None:
        from cpmodel.optimize import envelope_table

        with replacing(given["out"]) as temporary:
            envelope_table(choice.envelope, source.material().space).to_csv(temporary, index=False)
    return source, choice


@command(
    o.Asked,
    o.FitOptions,
    o.TableOptions,
    **READ,
    out=option(None, "HTML file; default: report.html, or beside the CSV.", "HTML"),
    paper_grid=option(False, "Draw the paper's 160,000 points, too (steps of 0.05, figure 2)."),
)
def report(given: Given) -> tuple[Source, Any]:
    """Write the page: the answer, the curve, the fits, the trainings.

    One HTML file that works offline.

    Example: cpmodel report --out page.html
    """
    source, how = _source(given), belonging(given, o.Asked, o.FitOptions)
    return source, source.report(given["out"], **how, paper_grid=given["paper_grid"], command=_written())


@command(**STORED, out=option(None, "Folder; default: export in the study's.", "FOLDER"))
def export(given: Given) -> tuple[Study, Any]:
    """Write the verified network as ONNX and as a state dict.

    A JSON note beside them says how to preprocess images.

    Example: cpmodel export --out model
    """
    study = _study(given)
    files = study.export(given["out"])
    if files.onnx is None:
        print("no ONNX file: it needs pip install 'cpmodel[onnx]'", file=sys.stderr)
    return study, {name: str(path) for name, path in vars(files).items() if path is not None}


COMMANDS = [run, sample, verify, measure, costs, fit, optimize, report, export]


def _study(given: Given) -> Study:
    from cpmodel.study import open

    return open(given["study"], **belonging(given, o.StudyOptions))


def _source(given: Given) -> Source:
    """The study or the table that is there."""
    from cpmodel.study import source

    return source(given["source"], given["storage"], o.TableOptions(**belonging(given, o.TableOptions)))


def _networks(given: Given) -> tuple[Family, Task] | None:
    """A family and what its networks are for, where that is written."""
    from cpmodel.pipeline.stages import networks_of

    return networks_of(o.NetworkOptions(**belonging(given, o.NetworkOptions)))


def _watched() -> dict[str, Any]:
    """Who watches a study at work, and the command for its page."""
    from cpmodel.cli.progress import Progress

    return {"watch": Progress(), "command": _written()}


def _written() -> str:
    """The command as it was written."""
    return " ".join(["cpmodel", *map(hidden, sys.argv[1:])]) if sys.argv[0].endswith("cpmodel") else ""

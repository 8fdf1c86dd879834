"""The commands that train or measure: run, sample, verify, measure."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from cpmodel.cli import options as o

_EXTRA = {"allow_extra_args": True, "ignore_unknown_options": True}


def add_stages(app: typer.Typer) -> None:
    """Register the commands of this module."""
    app.command(context_settings=_EXTRA, epilog="Example: cpmodel run --target 0.88 --budget 40")(run)
    app.command(context_settings=_EXTRA, epilog="Example: cpmodel sample --design sweep --f 8,16,32")(sample)
    app.command(epilog="Example: cpmodel verify --target 0.88")(verify)
    app.command(epilog="Example: cpmodel measure --count 100 --batch 1 --out costs.csv")(measure)


def run(
    context: typer.Context,
    target: o.Target = None,
    drop: o.Drop = None,
    curve: Annotated[
        str | None,
        typer.Option(metavar="P:P", help="Instead: the whole curve between two precisions, 0.80:0.92."),
    ] = None,
    study: o.Study = o.STUDY,
    dataset: o.Dataset = None,
    complexity: o.Complexity = "",
    limit: o.Limit = None,
    confidence: o.Confidence = 0.9,
    budget: Annotated[
        str,
        typer.Option(
            metavar="N|TIME", help="Trainings, verification included (40), or a time (90s, 10m, 2h)."
        ),
    ] = "40",
    tolerance: Annotated[
        float,
        typer.Option(
            metavar="FRACTION",
            help="Stop when the expected further saving is below it; with --curve, when C(P) is known to it.",
        ),
    ] = 0.05,
    measured: Annotated[
        int, typer.Option(metavar="N", min=0, help="Run-times measured for the model of them.")
    ] = 60,
    batch: o.Batch = 64,
    workers: o.Workers = None,
    device: o.Device = None,
    full: o.Full = False,
    family: o.Family = None,
    baseline: o.Baseline = None,
    recipe: o.Recipe = None,
    epochs: o.Epochs = None,
    seed: o.Seed = None,
    storage: o.Storage = None,
    json: o.Json = False,
) -> int:
    """From images to a proved answer, with its report.

    Trains few configurations, fits models, chooses, and verifies the choice on fresh seeds. With --curve:
    trains where the least complexity C(P) is least certain, and ends with the curve and its band.
    Stop it anywhere; the same command goes on from there. Values of the family's parameters are set by their
    names: --f 8,16,32.
    """
    from cpmodel import study as api
    from cpmodel.cli import answers, values
    from cpmodel.cli.progress import Progress

    started = time.monotonic()
    most = values.budget(budget)
    opened = api.open(study, **_settings(context, dataset, family, baseline, recipe, epochs, seed, storage))
    common: dict[str, Any] = {
        "budget": most.trainings,
        "seconds": most.seconds,
        "tolerance": tolerance,
        "measured": measured,
        "batch": batch,
        "workers": workers,
        "device": device,
        "full": full,
        "watch": Progress(),
        "command": values.command(),
    }
    if curve is not None:
        low, high = values.span(curve, "--curve")
        values.alone("--curve", **{"--target": target, "--drop": drop})
        found = opened.curve(
            low=low, high=high, complexity=complexity, limits=values.limits(limit or []), **common
        )
        return answers.show_curve(study, found, time.monotonic() - started, as_json=json)
    answer = opened.run(**_goal(target, drop, complexity, limit, confidence), **common)
    return answers.show_answer(study, storage, answer, time.monotonic() - started, as_json=json)


def sample(
    context: typer.Context,
    study: o.Study = o.STUDY,
    dataset: o.Dataset = None,
    design: Annotated[
        str, typer.Option(metavar="NAME", help="sweep, pairs, grid, random, sobol or spread.")
    ] = "spread",
    budget: Annotated[
        str | None, typer.Option(metavar="N|TIME", help="Configurations (40) or a time (90s, 10m, 2h).")
    ] = None,
    vary: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Only these parameters move: f,s. Default: all."),
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="Trainings of each configuration.")] = 1,
    workers: o.Workers = None,
    device: o.Device = None,
    full: o.Full = False,
    family: o.Family = None,
    baseline: o.Baseline = None,
    recipe: o.Recipe = None,
    epochs: o.Epochs = None,
    seed: o.Seed = None,
    storage: o.Storage = None,
    json: o.Json = False,
) -> int:
    """Train the configurations of a design, and write samples.csv.

    Several of these on one study share the work. Stop it anywhere; the same command goes on from there.
    """
    from cpmodel import study as api
    from cpmodel.cli import answers, values
    from cpmodel.cli.progress import Progress

    most = values.Budget() if budget is None else values.budget(budget)
    opened = api.open(study, **_settings(context, dataset, family, baseline, recipe, epochs, seed, storage))
    table = opened.sample(
        design=design,
        budget=most.trainings,
        vary=None if vary is None else vary.split(","),
        seconds=most.seconds,
        seeds=seeds,
        workers=workers,
        device=device,
        full=full,
        watch=Progress(),
    )
    return answers.show_samples(study, table, as_json=json)


def verify(
    study: o.Study = o.STUDY,
    target: o.Target = None,
    drop: o.Drop = None,
    config: Annotated[
        str | None,
        typer.Option(metavar="T", help="Configuration f=8,s=20,...; default: what optimize chooses."),
    ] = None,
    complexity: o.Complexity = "",
    limit: o.Limit = None,
    confidence: o.Confidence = 0.9,
    seeds: Annotated[
        int, typer.Option(metavar="N", min=3, help="Fresh seeds; up to 7 where they leave it open.")
    ] = 3,
    batch: o.Batch = 64,
    workers: o.Workers = None,
    device: o.Device = None,
    storage: o.Storage = None,
    json: o.Json = False,
) -> int:
    """Prove a choice on fresh seeds and the test split.

    The test split is opened only for a choice that stands on validation.
    """
    from cpmodel import study as api
    from cpmodel.cli import answers, values
    from cpmodel.cli.progress import Progress

    started = time.monotonic()
    answer = api.open(study, storage=storage).verify(
        **_goal(target, drop, complexity, limit, confidence),
        configuration=config,
        seeds=seeds,
        batch=batch,
        workers=workers,
        device=device,
        watch=Progress(),
        command=values.command(),
    )
    return answers.show_answer(study, storage, answer, time.monotonic() - started, as_json=json)


def measure(
    study: o.Study = o.STUDY,
    out: Annotated[
        str | None, typer.Option(metavar="CSV", help="CSV to write, to be used with --costs elsewhere.")
    ] = None,
    costs: Annotated[
        str | None, typer.Option(metavar="CSV", help="Import this costs table instead of measuring.")
    ] = None,
    count: Annotated[
        int, typer.Option(metavar="N", min=0, help="Configurations drawn from the space.")
    ] = 100,
    batch: o.Batch = 64,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Processor threads.")] = 1,
    dtype: Annotated[str, typer.Option(metavar="NAME", help="float32, bfloat16 or float16.")] = "float32",
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda, ...")] = "cpu",
    image: o.Image = None,
    classes: o.Classes = 10,
    family: o.Family = None,
    storage: o.Storage = None,
    json: o.Json = False,
) -> int:
    """Measure run-times of untrained networks, or import them.

    No training of the study runs meanwhile.
    On another device no study is needed: cpmodel measure --image 28x28x1 --out costs.csv there, and
    cpmodel measure --costs costs.csv here.
    """
    from cpmodel import study as api
    from cpmodel.cli import answers, values
    from cpmodel.cli.progress import Progress
    from cpmodel.families import get_family
    from cpmodel.pipeline.costing import measure as measure_networks
    from cpmodel.pipeline.options import MeasureOptions

    how: dict[str, Any] = {"batch": batch, "threads": threads, "dtype": dtype, "device": device}
    if image is None:
        opened = api.open(study, storage=storage)
        table = opened.measure(count=count, costs=costs, watch=Progress(), **how)
    else:
        task, networks = values.task(image, classes), get_family(family or "plain")
        options = MeasureOptions(count=count, **how)
        table = measure_networks(networks, task, networks.space(task), options, watch=Progress())
    if out is not None:
        table.write_csv(out)
    return answers.show_costs(table, out, as_json=json)


def _goal(
    target: str | None, drop: str | None, complexity: str, limit: list[str] | None, confidence: float
) -> dict[str, Any]:
    """What is asked for, as arguments."""
    from cpmodel.cli import values

    return {
        "target": None if target is None else values.fraction(target, "--target"),
        "drop": None if drop is None else values.fraction(drop, "--drop"),
        "complexity": complexity,
        "limits": values.limits(limit or []),
        "confidence": confidence,
    }


def _settings(
    context: typer.Context,
    dataset: str | None,
    family: str | None,
    baseline: str | None,
    recipe: list[str] | None,
    epochs: int | None,
    seed: int | None,
    storage: str | None,
) -> dict[str, Any]:
    """What the study is made of, as arguments."""
    from cpmodel.cli import values

    changes: dict[str, Any] = values.assignments(recipe or [], "--recipe")
    if "augment" in changes:
        changes["augment"] = tuple(w for w in str(changes["augment"]).split("+") if w != "none")
    if epochs is not None:
        changes["epochs"] = epochs
    return {
        "dataset": dataset,
        "family": family,
        "values": values.parameter_values(context.args) or None,
        "baseline": values.assignments(baseline.split(","), "--baseline") if baseline else None,
        "recipe": changes,
        "seed": seed,
        "storage": storage,
    }

"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

STUDY = "study"

Study = Annotated[str, typer.Option("--study", "-o", metavar="FOLDER", help="Folder of the study.")]
Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A study's folder, or a CSV table of measurements.")
]
Storage = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Optuna storage URL, instead of study.db in the folder; many machines can share one.",
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "-d",
        metavar="NAME",
        help="embedded (default), digits, mnist, fashion-mnist, cifar10, lfw-gender:PATH, folder:PATH, "
        "npz:PATH.",
    ),
]
Family = Annotated[str | None, typer.Option(metavar="NAME", help="Family of networks (default: plain).")]
Baseline = Annotated[
    str | None,
    typer.Option(metavar="T", help="Baseline configuration, f=64,s=28,...; default: each largest value."),
]
Recipe = Annotated[
    list[str] | None,
    typer.Option(
        "--recipe",
        metavar="FIELD=VALUE",
        help="A field of the training recipe, epochs=10; may be given several times.",
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(metavar="N", help="Passes over the training images; short for --recipe epochs=N."),
]
Seed = Annotated[
    int | None, typer.Option(metavar="N", help="All randomness of the study comes from it (default 0).")
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "-j", metavar="N", min=1, help="Trainings at once (default: one a core, 8 a GPU)."
    ),
]
Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="What trains: cpu, cuda (all GPUs), cuda:1, auto (default)."),
]
Full = Annotated[
    bool, typer.Option("--full", help="Train everything to its end, even where the end can be foreseen.")
]
Target = Annotated[
    str | None, typer.Option("--target", "-t", metavar="P", help="Precision to reach: 0.88 or 88%.")
]
Drop = Annotated[
    str | None,
    typer.Option(metavar="P", help="Instead of a target: how far below the baseline it may lie, 0.02 or 2%."),
]
Complexity = Annotated[
    str,
    typer.Option(
        "--complexity", "-c", metavar="NAME", help="What is minimised: macs, params, latency_s, ..."
    ),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--max", metavar="NAME=NUMBER", help="Limit on another complexity, params=20000; repeatable."
    ),
]
Confidence = Annotated[
    float,
    typer.Option(metavar="P", help="Probability of reaching the target that an answer needs, 0.5 to 1."),
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Parameters = Annotated[
    str | None,
    typer.Option(metavar="NAMES", help="CSV: names of the parameter columns, c1,c2,... (default: f,s,k,l)."),
]
PrecisionColumn = Annotated[
    str, typer.Option("--precision", metavar="NAME", help="CSV: name of the precision column.")
]
SeedColumn = Annotated[
    str, typer.Option("--seed-column", metavar="NAME", help="CSV: name of the seed column.")
]
Unit = Annotated[
    str,
    typer.Option("--unit", metavar="UNIT", help="CSV: precision is a fraction or percent; auto looks at it."),
]
Model = Annotated[
    str, typer.Option("--model", metavar="NAME", help="Precision model: auto, loggp, logpower, explinear.")
]
Batch = Annotated[
    int,
    typer.Option("--batch", metavar="N", min=1, help="Images in one forward pass when run-time is measured."),
]
Image = Annotated[
    str | None,
    typer.Option(
        metavar="HxWxC", help="Without a study: what networks take, height x width x channels, 28x28x1."
    ),
]
Classes = Annotated[int, typer.Option(metavar="N", min=2, help="Without a study: number of classes.")]
Costs = Annotated[
    str | None,
    typer.Option(metavar="CSV", help="Run-times of another device (cpmodel measure --out there)."),
]

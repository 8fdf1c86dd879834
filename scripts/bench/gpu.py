#!/usr/bin/env python3
"""Everything that waits for a GPU, in one command of eight minutes: its tests, then every family's speed.

    python scripts/bench/gpu.py [--seconds 440] [--device cuda] [--only plain,narrow] [--again] [--out CSV]

Runs the tests that need a GPU. Then a small and a large configuration of the plain family, and those of the
other families that `train.CASES` names: by the product, several at once, and by the plain loop on the same
device. Images are the product's own; for squeezenet and mobilenet those,
enlarged to 64 pixels and in three colours. Each line of the table is written as soon as it is there; what is
in the table is not done again, unless `--again` is given.
As the time runs out there are fewer trainings of each.
`--device cpu` tries it out where there is none.

Memory is what all processes take of the device at most (that of this process counts with the product's), on a
processor that of all processes together.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
import train
from train import Case

import cpmodel.datasets
from cpmodel.datasets.base import ImageSet, Split
from cpmodel.engine.devices import training_devices
from cpmodel.families import get_family
from cpmodel.recipe import Recipe
from cpmodel.records.sample import Request
from cpmodel.records.settings import Settings
from cpmodel.records.store import Store
from cpmodel.training.pool import Pool

ROOT = Path(__file__).parents[2]
OUT = ROOT / "data" / "measured" / "gpu.csv"
COLUMNS = (
    *("what", "which", "way", "outcome", "trainings", "seconds", "an_hour", "precision", "memory_mib"),
    *("device", "versions", "note"),
)
CASES = [
    Case("plain", "small", {"f": 8, "s": 20, "k": 3, "l": 1}, 4, 6),
    Case("plain", "large", {"f": 64, "s": 28, "k": 5, "l": 2}, 4, 6),
    *train.CASES,
]
TESTS_S = 150.0  # for the tests, at most
AT_ONCE = {"product": 48, "plain": 2}  # trainings of a run on a GPU; the product does eight of them at once
ON_CPU = {"product": 2, "plain": 1}
EPOCHS = 6  # on a GPU: those of the default recipe, or it would be start-ups that are compared
LOOK_S = 0.05  # between two looks at the memory


def images_of(case: Case, folder: Path) -> str:
    """The data set of a case; coloured images of 64 pixels are made of the product's own."""
    if not case.colour:
        return "embedded"
    file = folder / "colour.npz"
    if not file.exists():
        own = cpmodel.datasets.load("embedded").train
        images = np.pad(own.images[:6000].repeat(2, 1).repeat(2, 2), ((0, 0), (4, 4), (4, 4), (0, 0)))
        np.savez(file, x=images.repeat(3, 3), y=own.labels[:6000])
    return f"npz:{file}"


def used_mib(device: str) -> float:
    """What is taken of the device's memory, by this process and those that it started."""
    if device != "cpu":
        free, whole = torch.cuda.mem_get_info(device)
        return (whole - free) / 2**20
    me = psutil.Process()
    found = 0
    for process in (me, *me.children(recursive=True)):
        try:
            found += process.memory_info().rss
        except psutil.Error:  # it has just ended
            continue
    return found / 2**20


@contextmanager
def watched(device: str) -> Iterator[list[float]]:
    """The most memory that is taken meanwhile, in a list of one."""
    peak, done = [0.0], threading.Event()

    def look() -> None:
        while not done.wait(LOOK_S):
            peak[0] = max(peak[0], used_mib(device))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def tested(left: float, device: str) -> list[dict[str, Any]]:
    """The tests that need a GPU, one line each."""
    files = [str(path) for path in sorted(ROOT.glob("tests/**/test_*.py")) if "mark.gpu" in path.read_text()]
    command = [sys.executable, "-m", "pytest", "-n", "0", "-rA", "-q", "-m", "gpu", *files]
    started = time.perf_counter()
    try:
        ended = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=min(TESTS_S, left), check=False
        )
        said, late = ended.stdout, ""
    except subprocess.TimeoutExpired as error:
        said, late = (error.stdout or b"").decode(), "ended: too long"
    found = re.findall(r"^(PASSED|FAILED|ERROR|SKIPPED) (.*)$", said, re.MULTILINE)
    rows = [
        {"what": "test", "which": name.rpartition("::")[2], "outcome": word.lower()} for word, name in found
    ]
    whole = {"which": "all", "outcome": late or "done", "seconds": time.perf_counter() - started}
    wrong = [line for line in said.splitlines() if line.startswith("E ")]
    return [*rows, {"what": "test", **whole, "note": " | ".join(wrong)[:600]}]


def by_plain_loop(case: Case, images: ImageSet, device: str, most: int, ends: float) -> dict[str, Any]:
    """Trainings one after another, in this process, after a short one that is not counted."""
    family, precision = get_family(case.family), []
    recipe = replace(Recipe.default(len(images.train.images)), epochs=case.epochs)
    few = Split(images.train.images[: recipe.batch_size], images.train.labels[: recipe.batch_size])
    train.plain(family, replace(images, train=few), recipe, case.configuration, 0, False, device)
    started = time.perf_counter()
    while len(precision) < most and (not precision or time.monotonic() < ends):
        precision.append(
            train.plain(family, images, recipe, case.configuration, len(precision), False, device)
        )
    return told(precision, time.perf_counter() - started)


def by_product(case: Case, images: ImageSet, device: str, most: int, ends: float) -> dict[str, Any]:
    """Trainings by a study's pool, after one in each of its seats that is not counted."""
    family, recipe = get_family(case.family), Recipe.default(len(images.train.images))
    space = family.space(train.task(images), {name: (value,) for name, value in case.configuration.items()})
    settings = Settings.of(images, case.family, space, replace(recipe, epochs=case.epochs))
    with tempfile.TemporaryDirectory() as folder:
        study = Store.create(Path(folder) / "study", settings)
        with Pool(study, images, full=True, devices=(device,)) as pool:
            study.enqueue([Request(case.configuration, 10_000 + seat) for seat in range(pool.size)])
            pool.drain()
            started = time.perf_counter()
            study.enqueue([Request(case.configuration, seed) for seed in range(most)])
            pool.drain(deadline=ends)
            wall_s = time.perf_counter() - started
        frame = study.samples().frame
    return told(frame[frame["seed"] < most]["precision"].tolist(), wall_s)


def told(precision: list[float], wall_s: float) -> dict[str, Any]:
    """What a run has to tell."""
    if not precision:
        return {"outcome": "the time was up"}
    done = len(precision)
    return {
        "outcome": "done",
        "trainings": done,
        "seconds": wall_s,
        "an_hour": 3600 * done / wall_s,
        "precision": float(np.mean(precision)),
    }


def trained(case: Case, way: str, images: ImageSet, device: str, share: float) -> dict[str, Any]:
    """One line of the table: a case by one way."""
    run, most = (by_product, by_plain_loop)[way == "plain"], (ON_CPU if device == "cpu" else AT_ONCE)[way]
    with watched(device) as peak:
        try:
            found = run(case, images, device, most, time.monotonic() + share)
        except Exception as error:  # the others are still of use
            found = {"outcome": "failed", "note": f"{type(error).__name__}: {error}"[:300]}
    if device != "cpu":
        torch.cuda.empty_cache()
    return {"what": case.family, "which": case.which, "way": way, **found, "memory_mib": peak[0]}


def summary(out: Path) -> None:
    """How many times as many trainings the product does as the plain loop, by family."""
    table = pd.read_csv(out)
    done = table[(table["outcome"] == "done") & table["an_hour"].notna()]
    wide = done.pivot_table(
        index=["what", "which"], columns="way", values=["an_hour", "precision", "memory_mib"]
    )
    if {("an_hour", "plain"), ("an_hour", "product")} <= set(wide.columns):
        wide[("ratio", "")] = wide["an_hour"]["product"] / wide["an_hour"]["plain"]
        wide[("gap", "")] = wide["precision"]["product"] - wide["precision"]["plain"]
        print(wide.round(4).to_string())
        others = wide[("ratio", "")].drop("plain", level=0, errors="ignore").dropna()
        if len(others):
            print(
                f"geometric mean of the others {np.exp(np.log(others).mean()):.2f}, least {others.min():.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=440.0, help="for all of it")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:0, or cpu to try it out")
    parser.add_argument("--only", default="", help="families, separated by commas; no tests then")
    parser.add_argument("--again", action="store_true", help="begin anew")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    ends = time.monotonic() + given.seconds
    (device,) = training_devices(given.device)[:1]
    about = {"device": train.machine(device), "versions": train.versions()}
    if given.again or not given.out.exists():
        given.out.write_text(",".join(COLUMNS) + "\n")
    before = pd.read_csv(given.out, dtype=str)
    there = set(zip(before["what"], before["which"], before["way"], strict=True))

    def write(row: dict[str, Any]) -> None:
        line = pd.DataFrame([{**about, **row}]).reindex(columns=COLUMNS)
        with given.out.open("a") as file:
            line.to_csv(file, header=False, index=False)
        print({name: value for name, value in row.items() if value != ""}, flush=True)

    if not given.only and "test" not in set(before["what"]):
        for row in tested(ends - time.monotonic(), device):
            write(row)
    wanted = [
        (number, way)
        for number, case in enumerate(CASES)
        for way in AT_ONCE
        if (not given.only or case.family in given.only.split(","))
        and (case.family, case.which, way) not in there
    ]
    loaded: dict[str, ImageSet] = {}
    with tempfile.TemporaryDirectory() as folder:
        for place, (number, way) in enumerate(wanted):
            share = (ends - time.monotonic()) / (len(wanted) - place)
            if share < 1:
                print(f"the time is up: {len(wanted) - place} runs are left for the same command", flush=True)
                break
            case = CASES[number]
            if device != "cpu":
                case = case._replace(epochs=EPOCHS)
            name = images_of(case, Path(folder))
            if name not in loaded:
                loaded[name] = cpmodel.datasets.load(name)
            write(trained(case, way, loaded[name], device, share))
    summary(given.out)


if __name__ == "__main__":
    main()

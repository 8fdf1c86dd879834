#!/usr/bin/env python3
"""Trainings an hour: the product against the loop that a good user of PyTorch writes.

    python scripts/bench/train.py [--configurations 24] [--seeds 2] [--blocks 1] [--out CSV] [--loader]
                                  [--device cpu]
    python scripts/bench/train.py --plans          # which way of executing a training is fastest, one by one
    python scripts/bench/train.py --families [--colour folder:PATH] [--only narrow,mobilenet]

The configurations are stratified over the plain family by MACs, one at random from each stratum; images and
recipe are the product's. They are dealt into blocks; each block is trained by one way, then by the other, in
fresh processes, so that whatever else the machine does falls on both.

``plain``: tensors in memory, batches by indexing with a random permutation, float32, default layout, fused
AdamW, all cores as threads of one process, one configuration after another. ``loader`` (`--loader`): the same
through a DataLoader. ``product``: the study's pool, one worker a core, every training to its end. With
``--device cuda`` (or ``cuda:0``) all of them train on the GPU: ``plain`` has its tensors and draws its
permutations there; the peak memory stays that of the processor. Times are wall times from the first
training's start to the last one's end, after imports and one small training that is not counted (a study
starts its workers once). One CSV line for each way, seed and block, then a line for each way in all; what is
printed last: configurations an hour, the ratio, the share of the machine's own peak of matrix products,
peak memory, and the mean difference in validation precision with its standard error.

``--families``: a small and a large configuration of each of the other families, each trained with several
seeds by one way, then by the other, for the epochs that `CASES` says. Gray images are the product's; those of
squeezenet and mobilenet are `--colour`, 64 pixels wide (the Tiny ImageNet subset in class folders). With
`--only` the lines of the others stay as they were.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

import cpmodel.datasets
from cpmodel.cost import device_name
from cpmodel.datasets.base import ImageSet, Split
from cpmodel.engine.devices import training_devices
from cpmodel.families import get_family
from cpmodel.families.base import Family, Task
from cpmodel.files import replacing
from cpmodel.recipe import Recipe
from cpmodel.records.sample import Request
from cpmodel.records.settings import Settings
from cpmodel.records.store import Store
from cpmodel.space import Configuration
from cpmodel.training.pool import Pool, available_cores
from cpmodel.training.trainer import Plan, Trainer, default_plan, learning_rates

OUT = Path(__file__).parents[2] / "data" / "measured" / "train.csv"
WARM: Configuration = {"f": 2, "s": 8, "k": 3, "l": 1}
FAMILY = get_family("plain")
EVALUATION_BATCH = 500


class Case(NamedTuple):
    """A configuration of a family, and how much of it is trained."""

    family: str
    which: str
    configuration: Configuration
    seeds: int
    epochs: int
    colour: bool = False


_DEEP = {"blocks": 5, "f1": 2, "f2": 4, "f3": 8, "f4": 16, "f5": 10, "pool": "second", "head": "gap"}
_FLAT = {"blocks": 2, "f1": 32, "f2": 14, "pool": "each", "head": "dense"}
_NARROW = {"dropout": 0.1, "separable": 0}
_FIRES = {"pct_3x3": 50.0, "s": 64, "pools": "3-7", "stem": "7x7"}
_MOBILE = {"s": 64, "stem": "stride2"}
_TWO = {"convs": 2, "k1": 5, "f1": 32, "k2": 5, "f2": 64, "pool": 2, "fc": 1024}
CASES = [
    Case("convpool", "small", {"convs": 1, "k1": 3, "f1": 4, "pool": 4, "fc": 64}, 6, 4),
    Case("convpool", "large", _TWO, 2, 2),
    Case("narrow", "small", _DEEP | _NARROW, 4, 4),
    Case("narrow", "large", _FLAT | _NARROW, 2, 4),
    Case("convdense", "small", {"c1": 4, "c2": 4, "d": 128}, 6, 4),
    Case("convdense", "large", {"c1": 16, "c2": 32, "d": 1024}, 2, 1),
    Case("squeezenet", "small", _FIRES | {"base_e": 32, "incr_e": 32, "freq": 4, "sr": 0.25}, 4, 1, True),
    Case("squeezenet", "large", _FIRES | {"base_e": 128, "incr_e": 128, "freq": 2, "sr": 0.125}, 2, 1, True),
    Case("mobilenet", "small", _MOBILE | {"width": 0.25, "depth": 0.5, "expansion": 3}, 4, 1, True),
    Case("mobilenet", "large", _MOBILE | {"width": 1.0, "depth": 1.0, "expansion": 6}, 2, 1, True),
]


def task(images: ImageSet) -> Task:
    return Task(*images.image_shape, len(images.class_names))


def stratified(images: ImageSet, n: int) -> list[Configuration]:
    """One configuration at random from each of n strata of MACs, the largest first."""
    space = FAMILY.space(task(images))
    X = space.candidates()
    order = np.argsort(FAMILY.costs(X, task(images))["macs"], kind="stable")
    rng = np.random.default_rng(0)
    chosen = [int(rng.choice(stratum)) for stratum in np.array_split(order, n)]
    return space.configurations(X[chosen[::-1]])


# the plain loop


def plain(
    family: Family,
    images: ImageSet,
    recipe: Recipe,
    configuration: Configuration,
    seed: int,
    loader: bool,
    device: str,
) -> float:
    """Validation precision after the recipe, as a good user would write it."""
    resized = Trainer(images, family, recipe)  # for its resizing and its statistics only
    size = family.input_size(configuration, task(images))

    def split(name: str) -> tuple[Tensor, Tensor]:
        x = resized.resized.split(name, size).float().contiguous()
        mean, std = torch.tensor(resized.mean).view(1, -1, 1, 1), torch.tensor(resized.std).view(1, -1, 1, 1)
        x, y = (x / 255 - mean) / std, torch.from_numpy(images.splits[name].labels)
        return (x, y) if loader and name == "train" else (x.to(device), y.to(device))

    (x, y), (x_validation, y_validation) = split("train"), split("validation")
    torch.manual_seed(seed)
    network = family.build(configuration, task(images)).to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    per_epoch = len(x) // recipe.batch_size
    rates = iter(learning_rates(recipe, per_epoch * recipe.epochs))
    precision = 0.0
    for _ in range(recipe.epochs):
        network.train()
        for batch, labels in batches(x, y, recipe.batch_size, loader):
            batch, labels = batch.to(device), labels.to(device)
            if "flip" in recipe.augment:
                flip = torch.rand(len(batch), device=device) < 0.5
                batch = torch.where(flip[:, None, None, None], batch.flip(3), batch)
            for group in optimizer.param_groups:
                group["lr"] = next(rates)
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(F.cross_entropy(network(batch), labels))
            optimizer.step()
        network.eval()
        with torch.inference_mode():
            right = [
                (network(chunk).argmax(1) == labels).sum()
                for chunk, labels in zip(
                    x_validation.split(EVALUATION_BATCH), y_validation.split(EVALUATION_BATCH), strict=True
                )
            ]
        precision = float(torch.stack(right).sum()) / len(x_validation)
    return precision


def batches(x: Tensor, y: Tensor, size: int, loader: bool) -> Any:
    if loader:
        return DataLoader(TensorDataset(x, y), batch_size=size, shuffle=True, drop_last=True)
    order = torch.randperm(len(x), device=x.device)
    rows = (order[start : start + size] for start in range(0, len(x) - size + 1, size))
    return ((x[chosen], y[chosen]) for chosen in rows)


def run_plain(
    images: ImageSet, recipe: Recipe, wanted: list[Configuration], seed: int, loader: bool, device: str
) -> list[float]:
    torch.set_num_threads(available_cores())
    return [plain(FAMILY, images, recipe, configuration, seed, loader, device) for configuration in wanted]


# the product


def run_product(
    images: ImageSet, recipe: Recipe, wanted: list[Configuration], seed: int, pool: Pool, study: Store
) -> list[float]:
    study.enqueue(Request(configuration, seed) for configuration in wanted)
    pool.drain()
    samples = study.samples()
    keys = [study.settings.space.key(configuration) for configuration in wanted]
    by_key = {
        k: p
        for k, s, p in zip(samples.keys, samples.frame["seed"], samples.precision, strict=True)
        if s == seed
    }
    return [float(by_key[key]) for key in keys]


def part(way: str, indices: list[int], count: int, seed: int, device: str) -> dict[str, Any]:
    """Train one block in this process; what it took."""
    images = cpmodel.datasets.load()
    recipe = Recipe.default(len(images.train.images))
    wanted = [stratified(images, count)[i] for i in indices]
    if way == "product":
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings.of(images, "plain", FAMILY.space(task(images)), recipe)
            study = Store.create(Path(folder) / "study", settings)
            with Pool(study, images, full=True, devices=training_devices(device)) as pool:
                for warm in range(pool.size):
                    study.enqueue([Request(WARM, 10_000 + warm)])
                pool.drain()
                started = time.perf_counter()
                precision = run_product(images, recipe, wanted, seed, pool, study)
                wall_s = time.perf_counter() - started
        children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * available_cores()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + children
    else:
        run_plain(images, replace(recipe, epochs=1), [WARM], seed, way == "loader", device)
        started = time.perf_counter()
        precision = run_plain(images, recipe, wanted, seed, way == "loader", device)
        wall_s = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"wall_s": wall_s, "precision": precision, "peak_mib": peak / 1024}


def one_case(way: str, number: int, dataset: str, device: str) -> dict[str, Any]:
    """Train one of `CASES` in this process, all its seeds; what it took."""
    case, images = CASES[number], cpmodel.datasets.load(dataset)
    family, seeds = get_family(case.family), range(case.seeds)
    recipe = replace(Recipe.default(len(images.train.images)), epochs=case.epochs)
    few = Split(images.train.images[: recipe.batch_size], images.train.labels[: recipe.batch_size])
    if way == "product":
        smallest = next(each.configuration for each in CASES if each.family == case.family)
        both = smallest.keys() | case.configuration.keys()
        values = {
            name: tuple({c[name] for c in (smallest, case.configuration) if name in c}) for name in both
        }
        space = family.space(task(images), values)
        with tempfile.TemporaryDirectory() as folder:
            study = Store.create(
                Path(folder) / "study", Settings.of(images, case.family, space, recipe, dataset=dataset)
            )
            with Pool(study, images, full=True, devices=training_devices(device)) as pool:
                study.enqueue([Request(smallest, 10_000 + worker) for worker in range(pool.size)])
                pool.drain()
                started = time.perf_counter()
                study.enqueue([Request(case.configuration, seed) for seed in seeds])
                pool.drain()
                wall_s = time.perf_counter() - started
            frame = study.samples().frame
        precision = frame[frame["seed"] < case.seeds]["precision"].tolist()
    else:
        torch.set_num_threads(available_cores())
        plain(
            family,
            replace(images, train=few),
            replace(recipe, epochs=1),
            case.configuration,
            0,
            False,
            device,
        )
        started = time.perf_counter()
        precision = [plain(family, images, recipe, case.configuration, s, False, device) for s in seeds]
        wall_s = time.perf_counter() - started
    return {"wall_s": wall_s, "precision": precision}


def compare_families(arguments: argparse.Namespace) -> None:
    """The table of the other families; each line is written as soon as it is there."""
    rows: list[dict[str, Any]] = []
    for number, case in enumerate(CASES):
        if arguments.only and case.family not in arguments.only.split(","):
            continue
        if case.colour and not arguments.colour:
            print(f"{case.family} {case.which}: left out, it needs --colour", file=sys.stderr)
            continue
        dataset = arguments.colour if case.colour else "embedded"
        done = {way: apart("--case", way, number, dataset, arguments.device) for way in ("plain", "product")}
        means = {way: float(np.mean(each["precision"])) for way, each in done.items()}
        spread = [np.var(each["precision"], ddof=1) / case.seeds for each in done.values()]
        rows.append(
            {
                "family": case.family,
                "which": case.which,
                "trainings": case.seeds,
                "epochs": case.epochs,
                **{f"{way}_s": each["wall_s"] for way, each in done.items()},
                "an_hour": 3600 * case.seeds / done["product"]["wall_s"],
                "ratio": done["plain"]["wall_s"] / done["product"]["wall_s"],
                **{f"{way}_precision": mean for way, mean in means.items()},
                "gap": means["product"] - means["plain"],
                "gap_error": float(np.sqrt(sum(spread))),
            }
        )
        print(pd.DataFrame(rows[-1:]).round(4).to_string(index=False, header=len(rows) == 1), flush=True)
        table = pd.DataFrame(rows[-1:]).assign(machine=machine(arguments.device), versions=versions())
        out = arguments.out.with_name(arguments.out.stem + "_families.csv")
        if out.exists():  # what was measured of others stays
            before = pd.read_csv(out)
            others = (before["family"] != case.family) | (before["which"] != case.which)
            table = pd.concat([before[others], table])
        with replacing(out) as temporary:
            table.to_csv(temporary, index=False)
    ratios = pd.read_csv(out)["ratio"].to_numpy()
    print(f"geometric mean {np.exp(np.log(ratios).mean()):.2f}, least {ratios.min():.2f}, n {len(ratios)}")


def apart(kind: str, *words: object) -> dict[str, Any]:
    """`part` or `one_case` in a process of its own."""
    command = [sys.executable, __file__, kind, *map(str, words)]
    done: dict[str, Any] = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return done


def matrix_peak(dtype: torch.dtype, device: str) -> float:
    """The fastest product of two matrices, on all cores or the GPU, FLOP/s."""
    torch.set_num_threads(available_cores())
    n = 4096 if device == "cpu" else 16384
    a, b = torch.randn(n, n, device=device).to(dtype), torch.randn(n, n, device=device).to(dtype)
    times = []
    for _ in range(7):
        started = time.perf_counter()
        float((a @ b)[0, 0])  # waits for the device
        times.append(time.perf_counter() - started)
    return float(2 * n**3 / min(times))


def compare(arguments: argparse.Namespace) -> None:
    images = cpmodel.datasets.load()
    recipe = Recipe.default(len(images.train.images))
    wanted = stratified(images, arguments.configurations)
    X = FAMILY.space(task(images)).matrix(wanted)
    macs = FAMILY.costs(X, task(images))["macs"]
    flop = 2 * macs * recipe.epochs * (3 * len(images.train.images) + len(images.validation.images))
    ways = ["plain", "product", *(["loader"] if arguments.loader else [])]
    rows: list[dict[str, Any]] = []
    precision: dict[str, dict[tuple[int, int], float]] = {way: {} for way in ways}
    for seed in range(arguments.seeds):
        for block in range(arguments.blocks):
            indices = list(range(len(wanted)))[block :: arguments.blocks]
            for way in ways:
                done = apart("--part", way, json.dumps(indices), len(wanted), seed, arguments.device)
                precision[way] |= {(i, seed): p for i, p in zip(indices, done["precision"], strict=True)}
                rows.append(
                    {
                        "way": way,
                        "seed": seed,
                        "block": block,
                        "configurations": len(indices),
                        "wall_s": done["wall_s"],
                        "flop": float(flop[indices].sum()),
                        "peak_mib": done["peak_mib"],
                        "precision": float(np.mean(done["precision"])),
                    }
                )
                print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1), flush=True)
    table = pd.DataFrame(rows)
    peaks = {
        "product": matrix_peak(torch.bfloat16, arguments.device),
        "plain": matrix_peak(torch.float32, arguments.device),
    }
    whole = table.groupby("way", sort=False).agg(
        {"configurations": "sum", "wall_s": "sum", "flop": "sum", "peak_mib": "max", "precision": "mean"}
    )
    whole["an_hour"] = 3600 * whole["configurations"] / whole["wall_s"]
    whole["peak_share"] = [
        flops / seconds / peaks["product" if way == "product" else "plain"]
        for way, flops, seconds in zip(whole.index, whole["flop"], whole["wall_s"], strict=True)
    ]
    wall = table.pivot_table(index=["seed", "block"], columns="way", values="wall_s")
    for way in ways:
        ratios = wall["plain"] / wall[way]
        whole.loc[way, "ratio"] = wall["plain"].sum() / wall[way].sum()
        whole.loc[way, ["ratio_low", "ratio_median", "ratio_high"]] = [
            ratios.min(),
            ratios.median(),
            ratios.max(),
        ]
        gaps = np.array([precision[way][key] - precision["plain"][key] for key in precision["plain"]])
        by_configuration = gaps.reshape(arguments.seeds, -1).mean(axis=0)
        whole.loc[way, "precision_gap"] = gaps.mean()
        whole.loc[way, "gap_error"] = by_configuration.std(ddof=1) / np.sqrt(len(by_configuration))
    whole = whole.reset_index().assign(
        seed="all", block="all", machine=machine(arguments.device), versions=versions()
    )
    print(whole.drop(columns=["machine", "versions", "flop"]).to_string(index=False))
    print({name: f"{peak / 1e9:.0f} GFLOP/s" for name, peak in peaks.items()})
    with replacing(arguments.out) as temporary:
        pd.concat([table, whole]).to_csv(temporary, index=False)


def plans(arguments: argparse.Namespace) -> None:
    """The time of one epoch under each plan, one core, alternating; the default plan against the best."""
    images = cpmodel.datasets.load()
    recipe = replace(Recipe.default(len(images.train.images)), epochs=1)
    kinds = [Plan(dtype=d, fused=f) for d in ("float32", "bfloat16") for f in (False, True)]
    rows = []
    for configuration in stratified(images, arguments.configurations):
        times: dict[str, list[float]] = {str(plan): [] for plan in kinds}
        for repeat in range(4):
            for plan in kinds:
                trainer = Trainer(images, FAMILY, recipe, plan)
                trainer.resized.split("train", FAMILY.input_size(configuration, task(images)))
                trained = trainer.train(configuration, 0)
                if repeat:  # the first one warms up
                    times[str(plan)].append(trained.train_s)
        medians = {name: float(np.median(seconds)) for name, seconds in times.items()}
        best = min(medians.values())
        rows.append({**configuration, **medians, "default_over_best": medians[str(default_plan())] / best})
        print(pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1), flush=True)
    table = pd.DataFrame(rows)
    print(table["default_over_best"].describe().to_string())
    with replacing(arguments.out.with_name("train_plans.csv")) as temporary:
        table.assign(machine=device_name(), versions=versions()).to_csv(temporary, index=False)


def machine(device: str) -> str:
    return device_name() if device == "cpu" else f"{torch.cuda.get_device_name(device)}, {device_name()}"


def versions() -> str:
    return f"python {platform.python_version()}, torch {torch.__version__}"


def main() -> None:
    if sys.argv[1:2] == ["--part"]:
        way, indices, count, seed, device = sys.argv[2:]
        print(json.dumps(part(way, json.loads(indices), int(count), int(seed), device)))
        return
    if sys.argv[1:2] == ["--case"]:
        way, number, dataset, device = sys.argv[2:]
        print(json.dumps(one_case(way, int(number), dataset, device)))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configurations", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--loader", action="store_true", help="also through a DataLoader")
    parser.add_argument("--plans", action="store_true", help="compare the ways to execute one training")
    parser.add_argument("--families", action="store_true", help="the other families")
    parser.add_argument("--colour", default="", help="data set of 64 pixels for squeezenet and mobilenet")
    parser.add_argument("--only", default="", help="families, separated by commas")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:0")
    parser.add_argument("--out", type=Path, help=f"default: {OUT.name}, train_cuda.csv beside it for a GPU")
    arguments = parser.parse_args()
    (device,) = training_devices(arguments.device)[:1]  # one GPU: the plain loop has no more
    arguments.device = device
    arguments.out = arguments.out or (OUT if device == "cpu" else OUT.with_name("train_cuda.csv"))
    families = compare_families if arguments.families else compare
    job: Callable[[argparse.Namespace], None] = plans if arguments.plans else families
    job(arguments)


if __name__ == "__main__":
    main()

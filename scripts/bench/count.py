#!/usr/bin/env python3
"""How long the costs of a person's networks take to count: ten thousand small ones, a thousand deep ones.

    python scripts/bench/count.py [--share 1.0] [--out CSV]

Two functions are given as a person gives them, by file and name: one builds five convolutions with batch
norm, of 10,000 configurations; one fifty, of 1,000. `--share` counts a part of them, for a try. One CSV line
each, with the seconds of processors that it took, and the machine's load at its end: where it is above the
number of cores, others have worked there, too.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from cpmodel.cost import available_cores, device_name
from cpmodel.families import Task, get_family
from cpmodel.files import replacing

OUT = Path(__file__).parents[2] / "data" / "measured" / "count.csv"
TASK, WIDTHS = Task(28, 28, 1, 10), tuple(range(4, 44, 4))
CASES = {"five": "abcd", "fifty": "abc"}  # the arguments that have WIDTHS


def five(a: int, b: int, c: int, d: int, *, channels: int, classes: int) -> nn.Module:
    return chain([a, b, c, d, d], channels, classes)


def fifty(a: int, b: int, c: int, *, channels: int, classes: int) -> nn.Module:
    return chain([(a, b, c)[number % 3] for number in range(50)], channels, classes)


def chain(widths: list[int], channels: int, classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    for width in widths:
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def measured(name: str, share: float) -> dict[str, Any]:
    """Count one case, telling how far it is."""
    family = get_family(f"{__file__}:{name}")
    space = family.space(TASK, dict.fromkeys(CASES[name], WIDTHS))
    X = np.random.default_rng(0).permutation(space.candidates())[: max(1, int(space.size * share))]
    bound = family.used_for(space, None)
    started, before = time.perf_counter(), processor_s()
    columns = bound.counted(X, TASK, lambda done, of: print(f"\r{name}: {done}/{of}", end="", flush=True))
    seconds = time.perf_counter() - started
    print()
    assert np.isfinite(columns["macs"]).all()
    return {
        "case": name,
        "configurations": len(X),
        "seconds": seconds,
        "processor_s": processor_s() - before,
        "load": os.getloadavg()[0],
    }


def processor_s() -> float:
    """What this process and those that it waited for have computed, seconds."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, who))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--share", type=float, default=1.0, help="of the configurations that are counted")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    rows = [measured(name, arguments.share) for name in CASES]
    versions = f"python {platform.python_version()}, torch {torch.__version__}"
    table = pd.DataFrame(rows).assign(machine=device_name(), cores=available_cores(), versions=versions)
    print(table.to_string(index=False))
    with replacing(arguments.out) as temporary:
        table.to_csv(temporary, index=False)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Kill a running study again and again; what it ends with must be what an uninterrupted one ends with.

    python scripts/kill_resume.py --kills 20
    python scripts/kill_resume.py --kills 4 --budget 12 --family narrow --f1 2,4
    python scripts/kill_resume.py --kills 4 --budget 9 --family examples/own_network.py:build

Samples one design of small configurations of the embedded images twice: once undisturbed, once killed with
SIGKILL at random moments (half of the time the process alone, half of the time its workers too) and started
again with the same command. Then compares the two samples.csv in every column but the seconds.
"""

from __future__ import annotations

import argparse
import platform
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import psutil

from cpmodel.cost import available_cores, device_name
from cpmodel.files import write_json

OUT = Path(__file__).parents[1] / "data" / "measured" / "kill_resume.json"
LONGEST_S = 14.0  # a run is killed after so long at the latest; its start alone takes some four seconds
DESIGN = ("--design", "spread", "--epochs", "2")
SMALL = ("--f", "4,8,12,16,24", "--s", "8,12,16,20", "--k", "3,5", "--l", "1,2")  # of the plain family


@dataclass
class Run:
    """One process that samples, and how many trainings it has recorded so far."""

    process: subprocess.Popen[str]
    recorded: int = 0
    said: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Listen until the process is gone."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            self.recorded += line.startswith("[")  # "[3/60] f=8,... P 0.81": one line for each sample


def begin(command: list[str]) -> Run:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    run = Run(process)
    threading.Thread(target=run.watch, daemon=True).start()
    return run


def kill(run: Run, whole_tree: bool) -> None:
    """SIGKILL; without their parent the workers must end by themselves."""
    workers = psutil.Process(run.process.pid).children(recursive=True) if run.process.poll() is None else []
    for process in [run.process, *workers] if whole_tree else [run.process]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    run.process.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    if any(p.status() != psutil.STATUS_ZOMBIE for p in alive):
        raise SystemExit(f"workers outlive their killed parent: {[p.pid for p in alive]}")


def finish(run: Run, what: str) -> None:
    if run.process.wait() != 0:
        raise SystemExit(f"{what} ended with status {run.process.returncode}:\n{''.join(run.said[-20:])}")


def interrupted(command: list[str], kills: int, budget: int, rng: random.Random) -> tuple[int, int, int]:
    """Start, kill, start again; returns the kills of all, of whole trees, and the samples known by then."""
    done = killed = trees = 0
    while killed < kills:
        # each run may record its share at most, so that something is left for the last kill
        share = max(1, (budget - done - 1) // (kills - killed + 1))
        moment = time.monotonic() + rng.uniform(0.1, LONGEST_S)
        run = begin(command)
        while run.process.poll() is None and run.recorded < share and time.monotonic() < moment:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.3))
        if run.process.poll() is not None:
            finish(run, "a resumed run")
            break
        whole_tree = rng.random() < 0.5
        kill(run, whole_tree)
        killed, trees, done = killed + 1, trees + whole_tree, done + run.recorded
        print(
            f"kill {killed}: {'tree' if whole_tree else 'parent'}, {done} of {budget} seen", file=sys.stderr
        )
    finish(begin(command), "the last run")
    return killed, trees, done


def main(kills: int, study: Path | None, budget: int, seed: int, out: Path | None, family: list[str]) -> None:
    """Compare a study that is killed and resumed with one that is not."""
    named = re.sub(r"\W+", "_", Path(family[1]).name) if family else ""
    out = out or OUT.with_stem(f"{OUT.stem}_{named}".rstrip("_"))
    with tempfile.TemporaryDirectory() as temporary:
        top = study or Path(temporary)
        folders = top / "whole", top / "killed"
        if any(folder.exists() for folder in folders):
            raise SystemExit(f"{top}: expected no studies there yet")
        design = [*DESIGN, *(family or SMALL), "--budget", str(budget), "--seed", str(seed)]
        whole, killed = (
            [sys.executable, "-m", "cpmodel", "sample", "--study", str(f), *design] for f in folders
        )

        started = time.monotonic()
        finish(begin(whole), "the uninterrupted run")
        between = time.monotonic()
        number, trees, _ = interrupted(killed, kills, budget, random.Random(seed))
        ended = time.monotonic()

        tables = [pd.read_csv(f / "samples.csv", dtype=str).drop(columns="train_s") for f in folders]
        different = [c for c in tables[0] if c not in tables[1] or not tables[0][c].equals(tables[1][c])]
        equal = tables[0].equals(tables[1])
    outcome = {
        "command": " ".join(["python scripts/kill_resume.py", *sys.argv[1:]]),
        "sampled": " ".join(["cpmodel sample", *design]),
        "kills": number,
        "kills_of_the_whole_tree": trees,
        "samples": len(tables[1]),
        "failed": int((tables[1]["status"] == "failed").sum()),
        "equal": equal,
        "different_columns": different,
        "seconds_uninterrupted": round(between - started, 1),
        "seconds_killed_and_resumed": round(ended - between, 1),
        "machine": f"{device_name()}, {available_cores()} cores",
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("cpmodel", "torch", "optuna", "numpy")},
        },
    }
    write_json(out, outcome)
    print(f"{number} kills, {len(tables[1])} samples, equal: {equal}; {out}")
    if not equal or number < kills:
        raise SystemExit(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--kills", type=int, default=20, help="how often the study is killed")
    parser.add_argument("--study", type=Path, help="folder for the two studies; kept if given")
    parser.add_argument("--budget", type=int, default=60, help="configurations of the design")
    parser.add_argument("--seed", type=int, default=0, help="of the study, and of the moments of the kills")
    parser.add_argument(
        "--out", type=Path, help=f"JSON file for the outcome; default: {OUT.name}, or beside it"
    )
    parser.add_argument("--family", help="another family than plain; its parameters' values may follow")
    known, values = parser.parse_known_args()
    family = ["--family", known.family, *values] if known.family else []
    main(**{**vars(known), "family": family})

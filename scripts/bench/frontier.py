"""Lower envelope and Pareto front of ten million points: time and peak memory, beside four other libraries.

    python scripts/bench/frontier.py --out data/measured/frontier.csv

Every call runs in a process of its own, the tools in turns; the table has the median of the rounds, their
least and greatest, and the memory that the call takes beyond its input. Each tool gets the points in the
layout it likes best (two columns, or one matrix of numbers to be minimised), made before the clock starts;
few points come first, so that nothing is compiled on the clock. What is found is compared with a plain sort.

paretoset and botorch compare points with the whole front, and botorch walks over all points in Python: where
ten million would take minutes to days they run on fewer, and so do the others once more beside them.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

CASES = ("random", "trade-off", "all on the front", "many ties")
TOOLS = ("cpmodel", "moocore", "pymoo", "paretoset", "botorch")
TASKS = ("envelope", "front")  # of equal points one, or all
MOST = 10_000_000
# Points that take a tool some seconds already; all others take MOST
LIMITS = {
    "paretoset": {"all on the front": 30_000, "many ties": 30_000},
    "botorch": {"random": 300_000, "trade-off": 300_000, "all on the front": 30_000, "many ties": 30_000},
}


def points(case: str, n: int) -> tuple[Floats, Floats]:
    """Cost (to be low) and precision (to be high), shape (n,) each."""
    rng = np.random.default_rng(0)
    if case == "random":
        return rng.random(n), rng.random(n)
    if case == "trade-off":  # precision rises with the logarithm of cost, with scatter below a limit
        cost = np.exp(rng.uniform(np.log(1e4), np.log(1e8), n))
        return cost, 1 - 0.5 * (cost / 1e4) ** -0.3 - 0.05 * rng.random(n) ** 0.5
    if case == "all on the front":
        cost = rng.random(n)
        return cost, cost.copy()
    if case == "many ties":  # a hundred equal points at each step of a staircase, half of them on it
        step = rng.integers(0, max(n // 100, 1), n).astype(np.float64)
        return step, step - np.minimum(rng.geometric(0.5, n) - 1, 3)
    raise ValueError(case)


def call(tool: str, task: str, cost: Floats, precision: Floats) -> Any:
    """A function of no arguments that finds the points, and one that makes their indices of its result."""
    if tool == "cpmodel":
        from cpmodel.frontier import lower_envelope, pareto_front

        chosen = lower_envelope if task == "envelope" else pareto_front
        return lambda: chosen(cost, precision), lambda found: found
    both = np.column_stack([cost, -precision])
    if tool == "moocore":
        import moocore

        return lambda: moocore.is_nondominated(both, keep_weakly=task == "front"), np.flatnonzero
    if tool == "pymoo":
        from pymoo.util.nds.non_dominated_sorting import find_non_dominated

        return lambda: find_non_dominated(both), lambda found: found
    if tool == "paretoset":
        from paretoset import paretoset

        return lambda: paretoset(both, distinct=task == "envelope"), np.flatnonzero
    import torch
    from botorch.utils.multi_objective.pareto import is_non_dominated

    torch.set_num_threads(1)
    tensor = torch.from_numpy(-both)
    return (
        lambda: is_non_dominated(tensor, deduplicate=task == "envelope"),
        lambda found: np.flatnonzero(found.numpy()),
    )


def measured(tool: str, task: str, case: str, n: int) -> dict[str, Any]:
    """One call in this process: seconds, bytes beyond the input, and a digest of what was found."""
    few = points(case, 2_000)
    run, _ = call(tool, task, *few)
    run()
    cost, precision = points(case, n)
    run, indices = call(tool, task, cost, precision)
    if tool != "cpmodel":
        kept = cost, precision
        del cost, precision  # their matrix is their input
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = _memory("VmRSS")
    started, worked = time.perf_counter(), time.process_time()
    found = run()
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    peak = _memory("VmHWM") - before
    if tool != "cpmodel":
        cost, precision = kept
    chosen = np.sort(np.asarray(indices(found)))
    # points, not indices: of equal points some tools keep another one
    table = np.column_stack([cost[chosen], precision[chosen]])
    table = table[np.lexsort(table.T)]
    return {
        "seconds": seconds,
        "cpu_seconds": worked,
        "peak_bytes": max(peak, 0),
        "found": len(chosen),
        "sum": _digest(table),
    }


def _memory(name: str) -> int:
    """A line of /proc/self/status, bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {name} in /proc/self/status")


def _digest(table: Floats) -> str:
    import hashlib

    return hashlib.sha256(np.ascontiguousarray(table).data).hexdigest()[:12]


def main(out: Path, calls: Path, rounds: int, shared: bool, seconds: float, one: str) -> None:
    """Measure whatever was not measured yet, and write the table of what is whole."""
    if one:
        print(json.dumps(measured(*json.loads(one))))
        return
    started = time.monotonic()
    done = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
    known = {tuple(row["call"]) for row in done}
    for call_ in plan(rounds):
        if call_ in known:
            continue
        if time.monotonic() - started > seconds:
            return
        tool, task, case, n, _ = call_
        command = [sys.executable, __file__, "--one", json.dumps([tool, task, case, n])]
        told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        done.append({"call": call_, "shared": shared, **json.loads(told)})
        with calls.open("a") as file:
            file.write(json.dumps(done[-1]) + "\n")
        print(done[-1], flush=True)
    import pandas as pd

    out.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(summaries(done, rounds)).to_csv(out, index=False)


def plan(rounds: int) -> list[tuple[str, str, str, int, int]]:
    """Every call (tool, task, case, points, round): the tools of a round one after the other, turning."""
    planned = []
    for case in CASES:
        limits = {tool: LIMITS.get(tool, {}).get(case, MOST) for tool in TOOLS}
        for n in sorted(set(limits.values()), reverse=True):
            for task in TASKS:
                tools = [tool for tool in TOOLS if n <= limits[tool]]
                tools = [t for t in tools if t != "pymoo" or task == "front"]  # it has no other
                for turn in range(rounds):
                    first = turn % len(tools)
                    planned += [(t, task, case, n, turn) for t in tools[first:] + tools[:first]]
    return planned


def summaries(done: list[dict[str, Any]], rounds: int) -> list[dict[str, Any]]:
    """A line for each tool, task, case and number of points."""
    rows = []
    for tool, task, case, n in dict.fromkeys(tuple(row["call"][:4]) for row in done):
        each = [row for row in done if tuple(row["call"][:4]) == (tool, task, case, n)]
        alone = [row for row in each if not row.get("shared")]
        kept = alone if len(alone) >= len(each) - len(alone) else [row for row in each if row.get("shared")]
        times = [row["seconds" if kept is alone else "cpu_seconds"] for row in kept]
        right = truth(task, case, n)
        rows.append(
            {
                "case": case,
                "task": task,
                "n": n,
                "tool": tool,
                "median_s": round(float(np.median(times)), 5),
                "least_s": round(min(times), 5),
                "greatest_s": round(max(times), 5),
                "peak_mb": round(float(np.median([row["peak_bytes"] for row in each])) / 1e6, 1),
                "found": each[0]["found"],
                "exact": all((row["found"], row["sum"]) == right for row in each),
                "rounds": len(kept),
                "clock": "wall, machine alone" if kept is alone else "processor, machine shared",
                "machine": _machine(),
                "versions": f"{tool} {version(tool)}, numpy {np.__version__}",
            }
        )
    return rows


@cache
def truth(task: str, case: str, n: int) -> tuple[int, str]:
    """The same by a sort of all points and one walk, as the definition says."""
    cost, precision = points(case, n)
    order = np.lexsort((-precision, cost))
    c, p = cost[order], precision[order]
    before = np.concatenate([[-np.inf], np.maximum.accumulate(p)[:-1]])
    better = p > before
    if task == "front":  # equals of a point that is on it
        last = np.maximum.accumulate(np.where(better, np.arange(n), -1))
        better = (c == c[last]) & (p == p[last]) & (last >= 0)
    table = np.column_stack([c[better], p[better]])
    table = table[np.lexsort(table.T)]
    return len(table), _digest(table)


def _machine() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return f"{line.partition(':')[2].strip()}, one thread"
    return platform.machine()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/measured/frontier.csv"), help="CSV to write")
    kept = "where every call is kept; what is there is not done again"
    parser.add_argument("--calls", type=Path, default=Path("frontier_calls.jsonl"), help=kept)
    parser.add_argument("--rounds", type=int, default=5, help="calls of each tool")
    busy = "others work on the machine: processor seconds count, not those of the wall"
    parser.add_argument("--shared", action="store_true", help=busy)
    parser.add_argument(
        "--seconds", type=float, default=3600.0, help="stop after so long; the same command goes on"
    )
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    main(**vars(parser.parse_args()))

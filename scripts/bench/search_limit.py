#!/usr/bin/env python3
"""What is left to luck in the cases of search.py that take the NATS-Bench table as it is.

    python scripts/bench/search_limit.py --tables PATH [--out CSV]

There the cheapest rows that reach a target are seeds luckier than their neighbours. So even a searcher who
knew beforehand the smooth truth that all 32,768 rows tell, the size of the scatter about it and the optimum's
cost could only try the configurations cheap enough in the order of their chance to be lucky. One line a case:
how many are cheap enough, how many of those reach the target, the chance of the likeliest, how many trainings
that order takes in expectation over the scatter, and in the table as it happens to be.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from search import MEASURED, NEAR, nats_cases


def lines(tables: Path) -> Iterator[dict[str, float | str]]:
    """One line a case without noise."""
    cases = {case.name: case for case in nats_cases(tables)}
    for name, case in cases.items():
        if " raw " not in name:
            continue
        smooth = cases[name.replace(" raw", "")].truth
        scatter = float(np.std(case.truth - smooth))
        cheap = np.flatnonzero(case.cost <= NEAR * case.optimum)
        chance = stats.norm.sf((case.target - smooth[cheap]) / scatter)
        order = np.argsort(-chance, kind="stable")
        reached = np.flatnonzero(case.truth[cheap[order]] >= case.target)
        yield {
            "case": name,
            "scatter": scatter,
            "cheap_enough": len(cheap),
            "of_them_reaching": len(reached),
            "best_chance": float(chance.max()),
            "expected": float(1 + np.cumprod(1 - chance[order])[:-1].sum()),
            "in_this_table": int(reached[0]) + 1,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tables", type=Path, required=True, help="folder of the public tables")
    parser.add_argument("--out", type=Path, default=MEASURED / "search_limit.csv")
    options = parser.parse_args()
    table = pd.DataFrame(lines(options.tables))
    table.to_csv(options.out, index=False, float_format="%.3g")
    print(table.to_string(index=False, float_format="{:.3g}".format))


if __name__ == "__main__":
    main()

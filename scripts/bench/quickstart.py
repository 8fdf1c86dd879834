"""What the quickstart answers, for several targets: each a fresh study on the embedded images.

    python scripts/bench/quickstart.py --out data/measured/quickstart.csv

One row a target: the verified configuration, its precision, its complexity against the baseline, wall time.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from cpmodel.cost import device_name
from cpmodel.files import replacing
from cpmodel.pipeline.costing import compared_costs
from cpmodel.pipeline.project import reopen


def main(out: Path, targets: str, seed: int) -> None:
    """Run the product for each target and write what it answered."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for target in targets.split(","):
            study = Path(folder) / target
            command = [sys.executable, "-m", "cpmodel", "run", "--target", target]
            started = time.monotonic()
            done = subprocess.run(
                [*command, "--study", str(study), "--seed", str(seed), "--json"],
                stdout=subprocess.PIPE,
                text=True,
                check=False,
            )
            rows.append(row(study, json.loads(done.stdout), time.monotonic() - started))
            print(pd.DataFrame(rows).to_string(index=False), flush=True)
    with replacing(out) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)


def row(study: Path, answer: dict[str, Any], wall_s: float) -> dict[str, Any]:
    """The line of the table that one answer makes."""
    project = reopen(study)
    verdict = answer["verdict"]
    fields: dict[str, Any] = {"target": answer["target"], "status": answer["status"]}
    if verdict is not None:
        costs = compared_costs(project.material(), verdict["configuration"])
        (macs,) = (line for line in costs if line.cost.name == "macs")
        fields |= {
            "configuration": verdict["key"],
            "verdict": verdict["status"],
            "validation": sum(verdict["validation"]) / len(verdict["validation"]),
            "test": verdict["interval"]["mean"],
            "low": verdict["interval"]["low"],
            "high": verdict["interval"]["high"],
            "seeds": len(verdict["seeds"]),
            "macs": macs.answer,
            "relative_macs": macs.answer / macs.baseline,
        }
        for line in costs:
            if line.cost.conditions is not None:
                fields[f"relative_latency_batch_{line.cost.conditions.batch}"] = line.answer / line.baseline
    fields |= {
        "trainings": answer["trainings"],
        "train_s": answer["train_s"],
        "wall_s": wall_s,
        "machine": device_name(),
        "versions": f"python {platform.python_version()}, torch {torch.__version__}",
    }
    return fields


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("data/measured/quickstart.csv"), help="CSV to write")
    parser.add_argument("--targets", default="0.85,0.87,0.89", help="precisions, separated by commas")
    parser.add_argument("--seed", type=int, default=0, help="seed of every study")
    main(**vars(parser.parse_args()))

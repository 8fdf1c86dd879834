"""Where the first minute of a fresh `cpmodel run` goes: imports, images, run-times, the first trainings.

python scripts/bench/first_minute.py --out data/measured/first_minute.csv
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cpmodel.datasets.base import ImageSet
    from cpmodel.pipeline.project import Project
    from cpmodel.training.pool import Event

FIRST = {
    "started": "first training handed out",
    "epoch": "first epoch done",
    "recorded": "first training done",
    "waiting": "waiting for others",
}


def main(
    out: Annotated[Path, typer.Option(help="CSV to write.")] = Path("data/measured/first_minute.csv"),
    repeats: Annotated[int, typer.Option(help="Fresh studies.")] = 3,
    until_s: Annotated[float, typer.Option(help="Seconds after which a study is stopped.")] = 60.0,
) -> None:
    """Start fresh studies, note when each thing is done, and write the medians."""
    started = time.monotonic()
    import pandas as pd

    import cpmodel
    from cpmodel.cost import device_name
    from cpmodel.files import replacing
    from cpmodel.pipeline.watch import Watcher

    imported = time.monotonic() - started

    class Clock(Watcher):
        """Notes when something happened first."""

        def __init__(self) -> None:
            self.started = time.monotonic()
            self.seen: dict[str, float] = {}
            self.trainings = 0

        def note(self, what: str) -> None:
            self.seen.setdefault(what, time.monotonic() - self.started)

        def begin(self, project: Project, images: ImageSet, workers: int) -> None:
            self.note("images loaded, study made")

        def measured(self, done: int, of: int) -> None:
            if done == of:
                self.note("run-times measured")

        def event(self, event: Event) -> None:
            self.note(FIRST[event.kind])
            self.trainings += event.kind == "recorded"
            if time.monotonic() - self.started > until_s:
                raise KeyboardInterrupt

    rows = []
    for repeat in range(repeats):
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(KeyboardInterrupt):
            cpmodel.open(Path(folder) / "study").run(target=0.88, watch=clock)
        rows.append({"repeat": repeat, "imports": imported, **clock.seen, "trainings done": clock.trainings})
    table = pd.DataFrame(rows).assign(machine=device_name())
    print(table.drop(columns="machine").median(numeric_only=True).round(2).to_string())
    with replacing(out) as temporary:
        table.to_csv(temporary, index=False)


if __name__ == "__main__":
    typer.run(main)

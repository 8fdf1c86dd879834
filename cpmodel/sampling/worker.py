"""The process that trains: jobs come as JSON lines on standard input, answers go to standard output.

A process of its own, so that a crash, a lack of memory or a kill takes one training with it and no more. When
its parent dies, however it dies, standard input ends and the worker ends with it.

First line in: ``{"images": folder, "study": folder, "family": name, "recipe": {...}}``; then one job a line:
``{"configuration": {...}, "seed": n, "weights": path or null, "stopping": rule or null}`` (see `early`).
Out: ``{"event": "ready"}``, then for each job ``epoch`` events and one ``done`` or ``failed``.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import IO, Any


def main() -> None:
    """Serve jobs until standard input ends."""
    # whatever a library prints goes to standard error; the private copy carries the answers alone
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    setup = json.loads(lines.get())

    from cpmodel.datasets.cache import open_arrays
    from cpmodel.families import get_family
    from cpmodel.recipe import Recipe
    from cpmodel.train import Trainer

    images = open_arrays(Path(setup["images"]))
    family, recipe = get_family(setup["family"]), Recipe.from_dict(setup["recipe"])
    trainer = Trainer(images, family, recipe, cache=Path(setup["images"]))
    _say(answers, event="ready")
    while True:
        _serve(trainer, Path(setup["study"]), json.loads(lines.get()), answers)


def _read(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)  # the parent is gone: a training nobody waits for must not go on


def _serve(trainer: Any, study: Path, job: dict[str, Any], answers: IO[str]) -> None:
    from cpmodel import locks
    from cpmodel.errors import CpmodelError
    from cpmodel.sampling.early import Stopping

    stopping = None if job["stopping"] is None else Stopping.from_dict(job["stopping"])

    def on_epoch(epoch: int, precision: float) -> None:
        _say(answers, event="epoch", epoch=epoch, precision=precision)

    try:
        with locks.training(study):
            trained = trainer.train(job["configuration"], job["seed"], on_epoch, stopping)
        if job["weights"]:
            trained.save(Path(job["weights"]))
    except CpmodelError as error:
        _say(answers, event="failed", reason=str(error))
    except Exception as error:  # a fault of one configuration is data; the study goes on
        _say(answers, event="failed", reason=f"{type(error).__name__}: {error}")
    else:
        epochs = trainer.recipe.epochs
        _say(
            answers,
            event="done",
            **_outcome(trained, epochs, stopping),
            curve=list(trained.curve),
            train_s=trained.train_s,
            plan=str(trained.plan),
        )


def _outcome(trained: Any, epochs: int, stopping: Any) -> dict[str, Any]:
    """The precision of a training and how it is known: measured, or foreseen where it was stopped."""
    done = len(trained.curve)
    if stopping is None or done == epochs:
        return {"precision": trained.validation.precision, "metrics": dict(trained.validation.metrics)}
    forecast = stopping.forecast(trained.curve)
    reason = f"extrapolated from {done} of {epochs} epochs"
    return {
        "precision": forecast.precision,
        "precision_sd": forecast.sd,
        "status": "stopped",
        "reason": reason,
    }


def _say(answers: IO[str], **event: Any) -> None:
    answers.write(json.dumps(event) + "\n")


if __name__ == "__main__":
    main()

"""The process that trains: jobs come as JSON lines on standard input, answers go to standard output.

A process of its own, so that a crash, a lack of memory or a kill takes its trainings with it and no more.
When its parent dies, however it dies, standard input ends and the worker ends with it.

In: a line with a `Setup`, then one with each `Job` (see `jobs`). Out: ``{"event": "ready"}``, then for each
job, with its seat, ``begun``, ``epoch`` events, and one ``done`` or ``failed``.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import Any

PAUSE_S = 1e-4  # while all trainings wait for the device


def main() -> None:
    """Serve jobs until standard input ends."""
    # whatever a library prints goes to standard error; the private copy carries the answers alone
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    first = json.loads(lines.get())

    from cpmodel.codec import load
    from cpmodel.datasets.cache import open_arrays
    from cpmodel.families import get_family
    from cpmodel.metrics import get_metric
    from cpmodel.training.jobs import Job, Setup
    from cpmodel.training.together import Together
    from cpmodel.training.trainer import Trainer, default_plan

    def say(**event: Any) -> None:
        answers.write(json.dumps(event) + "\n")

    setup = load(Setup, first, what="setup")
    folder, plan = Path(setup.images), default_plan(setup.device)
    images, family, metric = open_arrays(folder), get_family(setup.family), get_metric(setup.metric)
    trainer = Trainer(images, family, setup.recipe, plan, folder, metric)
    together = Together(trainer, Path(setup.study), say)
    say(event="ready")
    while True:
        while together.idle or not lines.empty():
            together.add(load(Job, json.loads(lines.get()), what="job"))
        if not together.turn():
            time.sleep(PAUSE_S)


def _read(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)  # the parent is gone: a training nobody waits for must not go on


if __name__ == "__main__":
    main()

"""Several processes count what a function's networks cost; see `counter`."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Block = Sequence[Mapping[str, Any]]


def in_processes(told: Mapping[str, Any], blocks: Sequence[Block], count: int) -> Iterator[tuple[int, Any]]:
    """The number of each block and its counts, in any order; None for a block whose process has died."""
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
    for number in range(len(blocks)):
        todo.put(number)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "cpmodel.families.counter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process alone
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for _ in range(count)
    ]
    for process in processes:
        threading.Thread(target=_serve, args=(process, told, blocks, todo, done), daemon=True).start()
    try:
        for _ in blocks:
            yield done.get()
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _serve(
    process: subprocess.Popen[str],
    told: Mapping[str, Any],
    blocks: Sequence[Block],
    todo: queue.SimpleQueue[int],
    done: queue.SimpleQueue[tuple[int, Any]],
) -> None:
    """Have one process count block after block."""
    assert process.stdin is not None and process.stdout is not None
    first: list[Any] = [told]
    while not todo.empty():
        number, counts = todo.get(), None
        try:
            for message in (*first, blocks[number]):
                process.stdin.write(json.dumps(message) + "\n")
            process.stdin.flush()
            counts = json.loads(process.stdout.readline())
        except (OSError, ValueError):  # it is gone
            pass
        first = []
        done.put((number, counts))

"""The process that counts what a function's networks cost.

In: a line of JSON with the function's name, its values and what the networks are for; then one for each block
of configurations. Out: a line with the counts of each block. It ends when standard input does.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from cpmodel.families.base import Task
from cpmodel.families.function import FunctionFamily
from cpmodel.families.own import load


def main() -> None:
    """Serve blocks until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a person's function prints is no answer
    told = json.loads(sys.stdin.readline())
    family = FunctionFamily(told["name"], load(told["name"]), told["options"])
    task, shapes = Task(**told["task"]), dict[Any, Any]()
    for line in sys.stdin:
        answers.write(json.dumps([family.count(one, task, shapes) for one in json.loads(line)]) + "\n")


if __name__ == "__main__":
    main()

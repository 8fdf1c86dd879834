"""Runs commands in processes forked from this one, which has everything imported: quick, and yet real.

Lines of JSON come in, ``{"args", "cwd", "out", "err", "most_bytes", "paths"}``; exit codes go out.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

import forked_worker
import torch._dynamo  # optimisers import it at their first step
import torch.onnx  # noqa: F401

import cpmodel.cli.answers
import cpmodel.cli.progress
import cpmodel.deploy.export
import cpmodel.report.build
import cpmodel.study
import cpmodel.surrogates.precision.auto
import cpmodel.training.together
from cpmodel.records.storage import backend_of


def run(args: list[str], cwd: str, out: str, err: str, most_bytes: int | None, paths: list[str]) -> int:
    """The exit code of one command, run in a process of its own, which imports from `paths`, too."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(cwd)
    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    sys.path += paths
    sys.argv = ["cpmodel", *args]
    code = 99
    try:
        cpmodel.cli.main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 98
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Answer requests until there are none."""
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        print(run(**request), flush=True)


if __name__ == "__main__":
    backend_of("sqlite:///:memory:")  # whatever a database needs
    forked_worker.begin_at_once()
    serve()
    os._exit(0)  # to take all of torch down in order lasts seconds

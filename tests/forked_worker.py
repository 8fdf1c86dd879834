"""Workers that begin at once: forked from a process that has everything imported, and yet real ones.

A new interpreter takes seconds to import torch and its compiler. Tests of what happens after the start
need not wait for that; those of the start itself have `new_interpreters`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import IO, Any

from cpmodel.training import pool, worker


class Forked:
    """What the pool uses of `subprocess.Popen`, for a worker."""

    def __init__(
        self, command: Sequence[str], *, stderr: IO[bytes], env: Mapping[str, str], **options: Any
    ) -> None:
        assert list(command[1:]) == ["-m", worker.__name__]
        import torch._dynamo  # optimisers import it at their first step  # noqa: F401

        import cpmodel.engine.kernels
        import cpmodel.training.together  # noqa: F401

        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if not self.pid:
            _serve((theirs_in, theirs_out, stderr.fileno()), env)
        os.close(theirs_in)
        os.close(theirs_out)
        self.stdin, self.stdout = os.fdopen(ours_in, "w"), os.fdopen(ours_out)
        self.returncode: int | None = None

    def kill(self) -> None:
        if self.returncode is None:
            os.kill(self.pid, 9)

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.returncode


def _serve(streams: Sequence[int], env: Mapping[str, str]) -> None:
    """Be the worker, with these streams and none of the files that the parent has open."""
    code = 1
    try:
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, 4096)
        os.environ.clear()
        os.environ.update(env)
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w"), os.fdopen(2, "w")
        worker.main()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def begin_at_once() -> None:
    """From now on, this process's pools have forked workers."""

    def started(command: Sequence[str], **options: Any) -> Any:
        return (Forked if command[0] == sys.executable else subprocess.Popen)(command, **options)

    pool.subprocess = SimpleNamespace(Popen=started, PIPE=subprocess.PIPE)  # type: ignore[assignment]


@contextmanager
def new_interpreters() -> Iterator[None]:
    """Within it, workers are started as they are for people."""
    before, pool.subprocess = pool.subprocess, subprocess  # type: ignore[attr-defined]
    try:
        yield
    finally:
        pool.subprocess = before  # type: ignore[attr-defined]

"""Commands run by tests: the installed one as people run it, or in quickly forked processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPT = Path(sys.executable).parent / "cpmodel"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Ended]


def called(*args: object, cwd: Path | None = None) -> Ended:
    """The installed console script, in a process of its own."""
    ended = subprocess.run(
        [SCRIPT, *map(str, args)], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@contextmanager
def forked_commands(place: Path) -> Iterator[Command]:
    """What runs a command as the console script does.

    `most_bytes` limits the files that the command may write; it imports from `paths`, too.
    """
    with subprocess.Popen(
        [sys.executable, Path(__file__).parent / "forked_command.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None

        def run(*args: object, cwd: Path, most_bytes: int | None = None, paths: Sequence[Path] = ()) -> Ended:
            request = {
                "args": list(map(str, args)),
                "cwd": str(cwd),
                "out": str(place / "out"),
                "err": str(place / "err"),
                "most_bytes": most_bytes,
                "paths": list(map(str, paths)),
            }
            server.stdin.write(json.dumps(request) + "\n")  # type: ignore[union-attr]
            server.stdin.flush()  # type: ignore[union-attr]
            code = int(server.stdout.readline())  # type: ignore[union-attr]
            return Ended(code, (place / "out").read_text(), (place / "err").read_text())

        yield run

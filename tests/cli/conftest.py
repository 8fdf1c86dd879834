"""Running the command in quickly forked processes, so that many cases can be tried."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Command, Ended


@pytest.fixture(scope="session")
def forker() -> Iterator[subprocess.Popen[str]]:
    server = subprocess.Popen(
        [sys.executable, Path(__file__).parent / "forked.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    yield server
    assert server.stdin is not None
    server.stdin.close()
    server.wait(30)


@pytest.fixture
def cpmodel(forker: subprocess.Popen[str], tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Run the command as the console script does; `most_bytes` limits the files that it may write."""
    place = tmp_path_factory.mktemp("streams")

    def run(*args: object, cwd: Path, most_bytes: int | None = None) -> Ended:
        request = {
            "args": list(map(str, args)),
            "cwd": str(cwd),
            "out": str(place / "out"),
            "err": str(place / "err"),
            "most_bytes": most_bytes,
        }
        assert forker.stdin is not None
        assert forker.stdout is not None
        forker.stdin.write(json.dumps(request) + "\n")
        forker.stdin.flush()
        code = int(forker.stdout.readline())
        return Ended(code, (place / "out").read_text(), (place / "err").read_text())

    return run

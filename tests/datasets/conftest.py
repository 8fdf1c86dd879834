"""Machines without memory, and files without permission."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        available = 10

    monkeypatch.setattr(psutil, "virtual_memory", Nothing)


@pytest.fixture
def forbidden(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a path unreadable, for root too."""

    def forbid(path: Path) -> None:
        def guarded(original: Callable[..., object]) -> Callable[..., object]:
            def call(name: object, *rest: object, **options: object) -> object:
                if str(name) == str(path):
                    raise PermissionError(13, "Permission denied", str(path))
                return original(name, *rest, **options)

            return call

        monkeypatch.setattr(builtins, "open", guarded(open))
        monkeypatch.setattr(io, "open", guarded(io.open))
        monkeypatch.setattr(os, "scandir", guarded(os.scandir))

    return forbid

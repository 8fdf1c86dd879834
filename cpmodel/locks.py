"""Locks between processes of one machine; the system frees them when a process dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cpmodel.errors import BadInputError


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file, made if need be; alone, or with others who share it.

    Raises
    ------
    BlockingIOError
        Somebody else holds it, and this is not to wait.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise BadInputError(f"cannot write: {error.strerror}", where=str(path.parent)) from error
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(handle)


@contextmanager
def training(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold while training in a study: many may at once, but none while run-times are measured there.

    Raises
    ------
    BlockingIOError
        Run-times are measured or about to be, and this is not to wait.
    """
    with ExitStack() as held:
        # a turnstile first, so that a stream of trainings cannot keep a measurement out for ever
        with locked(folder / "gate.lock", shared=True, wait=wait):
            held.enter_context(locked(folder / "quiet.lock", shared=True, wait=wait))
        yield


@contextmanager
def measuring(folder: Path) -> Iterator[None]:
    """Hold while measuring run-times: waits until no training of the study runs on this machine."""
    with locked(folder / "gate.lock"), locked(folder / "quiet.lock"):
        yield

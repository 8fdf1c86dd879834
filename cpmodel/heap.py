"""Memory that a process keeps while it computes with large buffers again and again."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # names of glibc's mallopt(3)


@contextmanager
def kept_heap() -> Iterator[None]:
    """Keep freed memory in the process, as one that serves for long does.

    By default glibc hands every large buffer back and asks for it again, pages zeroed, at the next pass; how
    often depends on what ran before, and moved single run-times by up to 40 %. Afterwards its documented
    defaults are set. Elsewhere than on glibc nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        yield
        return
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(_MMAP_MAX, 0)
    try:
        yield
    finally:
        mallopt(_TRIM_THRESHOLD, 128 * 1024)
        mallopt(_MMAP_MAX, 65536)

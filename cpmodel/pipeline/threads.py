"""How many threads the linear algebra of the fits uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra with one thread, in a block or a decorated function.

    The matrices of the fits are so small that more threads only wait for each other: on a busy machine that
    takes several times as long.
    """
    with threadpool_limits(limits=1, user_api="blas"):
        yield

"""Ctrl-C that waits for the end of a step which must not be cut in two."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

POLITE = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def deferred() -> Iterator[None]:
    """Keep SIGINT and SIGTERM back until the block ends; then the one that came is answered as ever.

    For short steps of libraries which, interrupted within, leave a transaction open or print tracebacks of
    their own. Signals reach the main thread only, so elsewhere there is nothing to keep back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before = {number: signal.signal(number, lambda *said: came.append(said)) for number in POLITE}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            handler = before[signal.Signals(came[0][0])]
            if callable(handler):
                handler(*came[0])
            elif handler == signal.SIG_DFL:
                signal.raise_signal(came[0][0])

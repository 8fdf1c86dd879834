"""The command line: it parses, calls and prints; everything heavy is imported inside the commands."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import typer

from cpmodel.cli.commands import BAD_INPUT, app

__all__ = ["app", "main"]

DONE, INTERRUPTED = 0, 130


def main() -> None:
    """Entry point: exit 0 done, 1 target not reached, 2 bad input, 130 interrupted."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")  # it may stand anywhere, also after the command
    signal.signal(signal.SIGTERM, _interrupt)  # whoever ends us politely is answered as Ctrl-C is
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except Exception as error:
        if debug:
            raise
        code = _said(error)
    if code == INTERRUPTED:
        print("cpmodel: stopped; the same command goes on from here", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else DONE)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _said(error: Exception) -> int:
    """Say an error in one line on standard error, and give its exit code; one that is a fault goes on."""
    from cpmodel.errors import CpmodelError, hidden

    if isinstance(error, typer.Abort):
        return INTERRUPTED
    if isinstance(error, typer.TyperException):
        text = _usage(error)
    elif isinstance(error, CpmodelError):
        text = str(error)
    elif isinstance(error, OSError):
        # perhaps of standard output itself: what is left in it goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return DONE  # whoever reads it has read enough
        text = f"{error.filename or 'input or output'}: {error.strerror or error}"
    elif isinstance(error, MemoryError):
        text = f"out of memory {error}".strip()
    else:
        raise error
    # whatever stood in a broken file, the terminal gets one line of printable text
    line = "".join(c if c.isprintable() else " " for c in hidden(text))
    print("cpmodel:", shortened(" ".join(line.split())), file=sys.stderr)
    return BAD_INPUT


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the words of the command, and what was expected."""
    format_message = getattr(error, "format_message", error.__str__)
    said, parameter = format_message(), getattr(error, "param", None)
    cause = getattr(error.__cause__, "errors", None)
    if parameter is None or cause is None:
        return str(said)
    problem = cause()[0]
    expected = str(problem["msg"]).removeprefix("Input should be ").partition(", unable")[0]
    expected = f"a number {expected}" if expected.endswith(tuple("0123456789")) else expected
    return f"{parameter.opts[0]}: expected {expected}, got {problem['input']!r}"


def shortened(text: str, most: int = 1000) -> str:
    """The text, its middle left out where it is longer than `most`.

    >>> shortened("a" * 20, 9)
    'aaaa…aaaa'
    """
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"

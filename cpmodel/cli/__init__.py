"""The command line: it parses, calls and prints; everything heavy is imported inside the commands."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence

from cpmodel.cli.commands import COMMANDS
from cpmodel.cli.options import Parser
from cpmodel.errors import CpmodelError, hidden
from cpmodel.version import __version__

DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130
_ABOUT = "The cheapest CNN that reaches the precision you need, with the proof and the whole curve."


def main() -> None:
    """Entry point: exit 0 done, 1 target not reached, 2 bad input, 130 interrupted."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")  # it may stand anywhere, also after the command
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a polite end is answered as Ctrl-C is
    try:
        code = called(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("cpmodel: stopped; the same command goes on from here", file=sys.stderr)
        code = INTERRUPTED
    except Exception as error:
        if debug:
            raise
        code = _said(error)
    sys.exit(code)


def called(words: Sequence[str]) -> int:
    """Do what a command's words say, print what comes back, and give the exit code."""
    started = time.monotonic()
    parser = Parser(prog="cpmodel", description=_ABOUT, epilog="Example: cpmodel run --target 0.88")
    parser.add_argument("--version", action="version", version=f"cpmodel {__version__}")
    parser.add_argument("--debug", action="store_true", help="Show the traceback of an error.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for each in COMMANDS:
        each.add(commands, asked=each.work.__name__ in words and not {"-h", "--help"}.isdisjoint(words))
    known, rest = parser.parse_known_args(words)
    if known.command is None:
        parser.print_help(sys.stderr)
        return BAD_INPUT
    command = next(each for each in COMMANDS if each.work.__name__ == known.command)
    given = command.given(vars(known), rest)
    source, result = command.work(given)
    from cpmodel.cli.answers import show

    return show(given, source, result, time.monotonic() - started)


def _said(error: Exception) -> int:
    """Say an error in one line on standard error, and give its exit code; one that is a fault goes on."""
    if isinstance(error, CpmodelError):
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


def shortened(text: str, most: int = 1000) -> str:
    """The text, its middle left out where it is longer than `most`."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]}…{text[-half:]}"

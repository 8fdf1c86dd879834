"""Commands are derived from groups of options: one more field is one more option."""

from __future__ import annotations

import subprocess
from dataclasses import fields
from typing import Any

import pytest
from running import SCRIPT

from cpmodel import registry
from cpmodel.cli.commands import COMMANDS
from cpmodel.cli.options import Command, Given, Parser, command
from cpmodel.errors import BadInputError
from cpmodel.pipeline import options
from cpmodel.pipeline.options import Effort, Options, option


class Cooking(Options):
    """A group made up here."""

    minutes: int = option(7, "How long it cooks.", "N", within="[1, inf)")
    salt: float | None = option(None, "Grams of salt.", "G")
    budget: int | None = option(40, "Eggs, or a time.", "N|TIME")
    seconds: float | None = option(None, "Time for all.", flag=None)
    share: float | None = option(None, "A share.", "P", flag="-s")
    limits: dict[str, float] | None = option(None, "Limits", "NAME=NUMBER", flag="--max")
    kind: str = option("soft", "One of {families}.", "NAME")
    cold_water: bool = option(False, "Begin cold.")


@command(Cooking, study=option("study", "A folder.", "FOLDER", flag="-o"))
def cook(given: Given) -> tuple[None, Any]:
    """Cook."""
    return None, given


def read(one: Command, line: str, *, asked: bool = False) -> Given:
    """What a command gets of a line of words."""
    parser = Parser(prog="kitchen")
    one.add(parser.add_subparsers(dest="command"), asked=asked)
    known, rest = parser.parse_known_args(["cook", *line.split()])
    return one.given(vars(known), rest)


def test_only_what_is_written_is_given() -> None:
    own = {"study": "study", "json": False}
    assert read(cook, "") == own
    words = "--minutes 3 --salt 0.5 -s 20% --max wires=3 --max params=4 --cold-water -o there --json"
    limits = {"wires": 3.0, "params": 4.0}
    written = {"minutes": 3, "salt": 0.5, "share": 0.2, "limits": limits, "cold_water": True}
    assert read(cook, words) == {**written, "study": "there", "json": True}
    assert read(cook, "--budget 90s") == {**own, "budget": None, "seconds": 90.0}
    assert read(cook, "--budget 6") == {**own, "budget": 6, "seconds": None}
    Cooking(**options.belonging(read(cook, words), Cooking))


def test_help_tells_defaults_and_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(cook, "--help", asked=True)
    text = " ".join(capsys.readouterr().out.split())
    for said in (
        "--minutes N How long it cooks. [default: 7]",
        "--salt G Grams of salt. -",
        "-s P, --share P A share.",
        f"--kind NAME One of {', '.join(registry.names('families'))}. [default: soft]",
        "--cold-water Begin cold. -",
    ):
        assert said in text + " -", said
    assert "--no-cold-water" not in text and "--seconds" not in text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--share 7", "^--share: expected a fraction"),
        ("--minutes 0", "^--minutes: expected a whole number, 1 or more, got 0$"),
        ("--minutes soon", "^--minutes: expected a whole number, 1 or more, got 'soon'$"),
        ("--salt some", "^--salt: expected a number, got 'some'$"),
        ("--oil 3", "got --oil 3$"),
        ("--salt", "--salt: expected one argument"),
    ],
)
def test_what_cannot_be_is_refused_by_its_flag(line: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        read(cook, line)


GROUPS = [group for group in vars(options).values() if isinstance(group, type) and issubclass(group, Options)]


def test_every_field_is_an_option_of_some_command() -> None:
    known = {name for one in COMMANDS for name in one.options}
    for group in GROUPS:
        for each in fields(group):
            assert each.name in known or each.metadata["flag"] is None, each.name


def test_one_field_more_is_an_option_more() -> None:
    """The same declaration gives the keyword of Python its check and the command its option."""

    class More(Effort):
        patience: int = option(3, "How often it asks again.", "N", within="[0, 9]")

    one = command(More)(cook.work)
    assert read(one, "--patience 2")["patience"] == 2
    for wrong in (lambda: read(one, "--patience 10"), lambda: More(patience=10)):
        with pytest.raises(BadInputError, match="patience: expected"):
            wrong()


def test_numbers_in_help_are_those_of_the_code() -> None:
    text = subprocess.run([SCRIPT, "verify", "--help"], capture_output=True, text=True, check=True).stdout
    assert "up to 7" not in text
    models = subprocess.run([SCRIPT, "fit", "--help"], capture_output=True, text=True, check=True).stdout
    for name in registry.names("precision_models"):
        assert name in models, name

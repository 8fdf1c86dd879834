"""Commands are derived from groups of options: one more field is one more option."""

# ruff: noqa: RUF009 - `option` makes a field
from __future__ import annotations

import subprocess
from dataclasses import dataclass, fields
from typing import Any

import pytest
import typer
from running import SCRIPT
from typer.testing import CliRunner

import cpmodel.cli
from cpmodel import registry
from cpmodel.cli import options as o
from cpmodel.cli.options import command
from cpmodel.errors import BadInputError
from cpmodel.pipeline import options
from cpmodel.pipeline.options import Effort, Goal, Options, StudyOptions, option


@dataclass(frozen=True)
class Cooking(Options):
    """A group made up here."""

    minutes: int = option(7, "How long it cooks.", "N", within="[1, inf)")
    salt: float | None = option(None, "Grams of salt.", "G")
    budget: int | None = option(40, "Eggs, or a time.", "N|TIME", words="budget")
    seconds: float | None = option(None, "Time for all.", flags=())
    share: float | None = option(None, "A share.", "P", flags=("--share", "-s"), words="fraction")
    limits: dict[str, float] | None = option(None, "Limits", "NAME=NUMBER", flags=("--max",), words="limits")
    kind: str = option("soft", "One of {families}.", "NAME")
    cold_water: bool = option(False, "Begin cold.")


@pytest.fixture
def cooked() -> tuple[typer.Typer, list[Any]]:
    app, seen = typer.Typer(rich_markup_mode=None), []

    def cook(given: o.Given, *, study: o.Study = o.STUDY, json: o.Json = False) -> int:
        """Cook."""
        seen.append((given[Cooking], study, json))
        return 0

    command(app, Cooking, example="cook")(cook)
    command(app, Cooking, example="fry", without=("salt",), free=True)(fry)
    return app, seen


def fry(given: o.Given, *, context: typer.Context) -> int:
    """Fry."""
    return 0


def test_only_what_is_written_is_given(cooked: tuple[typer.Typer, list[Any]]) -> None:
    app, seen = cooked
    words = "cook --minutes 3 --salt 0.5 -s 20% --max wires=3 --max params=4 --cold-water -o there --json"
    for line in ("cook", words, "cook --budget 90s", "cook --budget 6"):
        assert CliRunner().invoke(app, line.split(), standalone_mode=False).exception is None
    assert seen[0] == ({}, "study", False)
    limits = {"wires": 3.0, "params": 4.0}
    assert seen[1] == (
        {"minutes": 3, "salt": 0.5, "share": 0.2, "limits": limits, "cold_water": True},
        "there",
        True,
    )
    assert [given for given, *_ in seen[2:]] == [
        {"budget": None, "seconds": 90.0},
        {"budget": 6, "seconds": None},
    ]
    Cooking(**seen[1][0])


def test_help_tells_defaults_and_what_is_installed(cooked: tuple[typer.Typer, list[Any]]) -> None:
    app, _ = cooked
    text = " ".join(CliRunner().invoke(app, ["cook", "--help"]).stdout.split())
    for said in (
        "--minutes N How long it cooks. [default: 7]",
        "--salt G Grams of salt. -",
        "-s, --share P A share.",
        f"--kind NAME One of {', '.join(registry.names('families'))}. [default: soft]",
        "--cold-water Begin cold. -",
        "Example: cook",
    ):
        assert said in text + " -", said
    assert "--no-cold-water" not in text and "--seconds" not in text
    assert "--salt" not in CliRunner().invoke(app, ["fry", "--help"]).stdout


def test_what_cannot_be_is_refused_by_its_flag(cooked: tuple[typer.Typer, list[Any]]) -> None:
    app, _ = cooked
    with pytest.raises(BadInputError, match="--share: expected a fraction"):
        CliRunner().invoke(app, ["cook", "--share", "7"], standalone_mode=False, catch_exceptions=False)
    for wrong in ("--minutes 0", "--minutes soon", "--salt some", "--oil 3"):
        assert CliRunner().invoke(app, ["cook", *wrong.split()]).exit_code == 2, wrong


GROUPS = [group for group in vars(options).values() if isinstance(group, type) and issubclass(group, Options)]


def test_every_field_is_an_option_of_some_command() -> None:
    commands = typer.main.get_command(cpmodel.cli.app).commands.values()
    known = {parameter.name for one in commands for parameter in one.params}
    for group in GROUPS:
        for each in fields(group):
            assert each.name in known or each.metadata.get("flags") == (), each.name


def test_one_field_more_is_an_option_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same declaration gives the keyword of Python its check and the command its option."""

    @dataclass(frozen=True)
    class More(Effort):
        patience: int = option(3, "How often it asks again.", "N", within="[0, 9]")

    app = typer.Typer()
    command(app, More, example="run")(lambda given: 0)
    command(app, StudyOptions, Goal, example="other")(fry)
    assert {f.name for f in fields(More)} - {f.name for f in fields(Effort)} == {"patience"}
    assert More(patience=2).patience == 2
    with pytest.raises(BadInputError, match="patience"):
        More(patience=10)


def test_numbers_in_help_are_those_of_the_code() -> None:
    text = subprocess.run([SCRIPT, "verify", "--help"], capture_output=True, text=True, check=True).stdout
    assert "up to 7" not in text
    models = subprocess.run([SCRIPT, "fit", "--help"], capture_output=True, text=True, check=True).stdout
    for name in registry.names("precision_models"):
        assert name in models, name

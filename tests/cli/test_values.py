"""What people write on the command line, as values."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpmodel.cli import options as values
from cpmodel.cli import shortened
from cpmodel.errors import BadInputError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.94", 0.94),
        (" 94% ", 0.94),
        ("1", 1.0),
        ("100%", 1.0),
        (".5", 0.5),
        ("9.4e-1", 0.94),
        ("94 %", 0.94),
    ],
)
def test_fraction(text: str, value: float) -> None:
    assert values.fraction(text, "--target") == pytest.approx(value)


@pytest.mark.parametrize(
    "text", ["1.7", "abc", "-1", "0", "nan", "inf", "-inf", "", "%", "94", "101%", "0,9", "1e-400"]
)
def test_fraction_refused(text: str) -> None:
    with pytest.raises(
        BadInputError, match=r"^--target: expected a fraction in \(0, 1\], like 0.94 or 94%, got "
    ):
        values.fraction(text, "--target")


@given(st.text())
def test_fraction_of_any_text_is_one_or_refused(text: str) -> None:
    with contextlib.suppress(BadInputError):
        assert 0 < values.fraction(text, "--target") <= 1


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("40", {"budget": 40, "seconds": None}),
        ("90s", {"budget": None, "seconds": 90.0}),
        ("10m", {"budget": None, "seconds": 600.0}),
        ("1.5h", {"budget": None, "seconds": 5400.0}),
    ],
)
def test_budget(text: str, budget: dict[str, object]) -> None:
    assert values.budget(text, "--budget") == budget


@pytest.mark.parametrize("text", ["0", "0s", "-3", "1.5", "10 m", "abc", "", "m", "10d", "nan"])
def test_budget_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="--budget: expected"):
        values.budget(text, "--budget")


def test_values_of_parameters() -> None:
    given = ["--f", "8,16", "--k=3", "--act", "relu, tanh", "--w", "0.5,1"]
    assert values.parameter_values(given) == {"f": (8, 16), "k": (3,), "act": ("relu", "tanh"), "w": (0.5, 1)}


@pytest.mark.parametrize(
    "arguments", [["8"], ["--f"], ["--f", ","], ["--f="], ["f", "8"], ["--f", "8", "16"], ["--", "8"]]
)
def test_values_of_parameters_refused(arguments: list[str]) -> None:
    with pytest.raises(BadInputError, match="expected"):
        values.parameter_values(arguments)


def test_a_parameter_is_given_once() -> None:
    with pytest.raises(BadInputError, match="--f: expected it once"):
        values.parameter_values(["--f", "8", "--f", "16"])


def test_limits() -> None:
    assert values.limits(["params=20000", "macs=1e6"], "--max") == {"params": 20000.0, "macs": 1e6}


@pytest.mark.parametrize(
    "text", ["params", "params=", "params=abc", "params=-1", "params=0", "params=nan", "=3"]
)
def test_limits_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="--max: expected NAME=NUMBER"):
        values.limits([text], "--max")


def test_axes() -> None:
    found = values.axes(["epochs=3,6", "dtype=float32, bfloat16"], "--axis")
    assert found == {"epochs": (3, 6), "dtype": ("float32", "bfloat16")}
    for wrong in (["epochs"], ["epochs="], ["epochs=3", "epochs=6"]):
        with pytest.raises(BadInputError, match=r"(--axis|epochs): expected"):
            values.axes(wrong, "--axis")


def test_names() -> None:
    assert values.names("f, s", "--vary") == ["f", "s"]
    for wrong in ("", "f,,s"):
        with pytest.raises(BadInputError, match="--vary: expected names"):
            values.names(wrong, "--vary")


def test_recipes() -> None:
    assert values.recipe(["augment=none", "epochs=3"], "--recipe") == {"augment": (), "epochs": 3}


def test_recipe_files(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("epochs = 9\naugment = ['shift']\nbest = true\nnot_stated = ['all']\n")
    assert values.recipe([str(path)], "--recipe") == {"epochs": 9, "augment": ["shift"], "best": True}
    both = values.recipe(["epochs=3", str(path)], "--recipe")
    assert both["epochs"] == 3
    with pytest.raises(BadInputError, match="--recipe: expected one file"):
        values.recipe([str(path), str(path)], "--recipe")
    with pytest.raises(BadInputError, match="epoch: cannot read"):
        values.recipe(["epoch"], "--recipe")


def test_pairs() -> None:
    assert values.pairs(["f=8", " act = relu"], "--baseline") == {"f": 8, "act": "relu"}


@pytest.mark.parametrize("text", ["f", "f=", "=8", ""])
def test_pairs_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="--baseline: expected NAME=VALUE"):
        values.pairs([text], "--baseline")


@given(st.text(max_size=30), st.integers(2, 20))
def test_shortened_texts_keep_their_ends(text: str, most: int) -> None:
    short = shortened(text, most)
    assert len(short) <= most + 1
    assert short == text or (short.startswith(text[: most // 2]) and short.endswith(text[-(most // 2) :]))

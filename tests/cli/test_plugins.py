"""Plug-ins from outside go from images to the page: one file each, no other file touched."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from running import SCRIPT, Command

PLUGINS = Path(__file__).parents[1] / "plugins"


@pytest.fixture(scope="module")
def called(cpmodel: Command) -> Command:
    """The command where the made-up plug-ins are installed, for its worker processes too."""
    return partial(cpmodel, paths=[PLUGINS])


@pytest.fixture(scope="module")
def place(called: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study whose family, images and metric are plug-ins."""
    place = tmp_path_factory.mktemp("plugins")
    made = ["--dataset", "bars?draw=1", "--family", "stripes", "--metric", "wrong", "--rows", "4,8"]
    effort = ["--budget", "11", "--measured", "0", "-j", "1", "--epochs", "3", "--recipe", "batch_size=16"]
    ended = called("run", "-t", "0.25", "-c", "wires", *made, *effort, "--json", cwd=place)
    assert ended.code == 0, ended
    (place / "answer.json").write_text(ended.out)
    return place


def test_help_lists_them(called: Command, tmp_path: Path) -> None:
    text = called("run", "--help", cwd=tmp_path).out
    for words in ("plain, squeezenet, stripes, FILE.py:FUNCTION", "bars", "wrong"):
        assert words in " ".join(text.split()), words
    assert "nearest" in called("fit", "--help", cwd=tmp_path).out


def test_an_answer_in_the_units_of_the_metric(called: Command, place: Path) -> None:
    answer = json.loads((place / "answer.json").read_text())
    assert answer["status"] in ("proved", "undecided")
    assert answer["grounds"]["goal"]["target"] == 0.25
    shown = called("verify", "-t", "0.25", "-c", "wires", "-j", "1", cwd=place)
    assert shown.code == 0, shown
    rows = [line.split()[0] for line in shown.out.splitlines() if line.strip()]
    assert rows.index("Wires") < rows.index("Trainable")


def test_a_model_that_is_fitted_and_read_back(called: Command, place: Path) -> None:
    fitted = called("fit", "--model", "nearest", "--json", cwd=place)
    assert fitted.code == 0, fitted
    assert json.loads(fitted.out)["precision"]["model"] == "nearest"
    choice = called("optimize", "-t", "0.25", "--model", "nearest", "-c", "wires", "--json", cwd=place)
    assert choice.code == 0, choice
    assert json.loads(choice.out)["complexity"] == "wires"


def test_the_page_tells_of_them(place: Path) -> None:
    text = (place / "study" / "report.html").read_text()
    for words in ("wires", "wrong images", "stripes"):
        assert words in text, words


def test_their_costs(called: Command, place: Path) -> None:
    asked = ["--family", "stripes", "--image", "8x8x1", "--classes", "3", "--check", "--json"]
    ended = called("costs", "rows=8,hidden=0", *asked, cwd=place)
    assert ended.code == 0, ended
    costs = {row["name"]: row["value"] for row in json.loads(ended.out)["costs"]}
    assert costs == {"wires": 24, "params": 27}


def test_they_are_not_there_without_their_folder(tmp_path: Path) -> None:
    ended = subprocess.run(
        [SCRIPT, "sample", "--family", "stripes"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "expected one of convdense, convpool, mobilenet, narrow, plain, squeezenet, or" in ended.stderr
    assert sys.path.count(str(PLUGINS)) == 0

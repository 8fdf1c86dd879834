"""Every example does what it says: in docstrings, in the README and in the documentation."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpmodel.cli.commands import COMMANDS
from cpmodel.cli.options import flags_of

ROOT = Path(__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted((ROOT / "cpmodel").rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Parameters of the plain family, which are options of the commands that make a study
FREE = {"--f", "--s", "--k", "--l"}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), raise_on_error=False)
    assert result.attempted > 0
    assert result.failed == 0


def test_there_are_examples() -> None:
    assert {"cpmodel.space", "cpmodel.cli.options", "cpmodel.datasets"} <= set(MODULES)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def make_photos(folder: Path) -> None:
    """Class folders of small pictures, told by where they are bright."""
    noise = np.random.default_rng(0)
    for label, name in enumerate(("bags", "boots", "coats")):
        (folder / name).mkdir(parents=True)
        for number in range(60):
            picture = noise.integers(0, 90, (8, 8), dtype=np.uint8)
            picture[1 + 2 * label : 3 + 2 * label, 1:7] += 100
            Image.fromarray(picture).save(folder / name / f"{number}.png")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_python_of_the_documentation_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of a page in one namespace, as a reader would type it; small pictures, few and small trainings."""
    values = {"f": (4, 8), "s": (6, 8), "k": (3,), "l": (1, 2)}
    make_photos(tmp_path / "photos")
    rows = [
        f"{w},{s},{90 - 60 / w - 300 / s:.2f},{w * s}" for w in (4, 8, 16, 32) for s in (96, 128, 160, 224)
    ]
    (tmp_path / "table.csv").write_text("\n".join(["width,size,top1,macs_m", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    for block in blocks(page, "python"):
        short = re.sub(r"budget=\d+", "budget=9", block).replace(
            '"folder:photos"', f'"folder:photos", epochs=3, values={values}'
        )
        short = short.replace("study.run(", "study.run(measured=0, ")
        exec(compile(short, str(page), "exec"), names)
    assert "Traceback" not in capsys.readouterr().err


def commands(page: Path) -> list[list[str]]:
    """Every cpmodel command of a page, in blocks and in sentences, as words."""
    text = page.read_text(encoding="utf-8")
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    lines += re.findall(r"`(cpmodel [a-z][^`]*)`", text.replace("\n", " "))
    return [shlex.split(line, comments=True) for line in lines if line.startswith("cpmodel ")]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_commands_of_the_documentation_exist(page: Path) -> None:
    known = {one.work.__name__: one for one in COMMANDS}
    for _, name, *words in commands(page):
        assert name in known, name
        options = {flag for each in known[name].options.values() for flag in flags_of(each)} | FREE
        for word in words:
            if word.startswith("-"):
                assert word.partition("=")[0] in options, (name, word)


def test_the_readme_has_code_of_both_kinds() -> None:
    assert len(blocks(PAGES[0], "python")) >= 2
    assert len(commands(PAGES[0])) >= 12

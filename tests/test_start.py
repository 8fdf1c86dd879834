"""What is loaded when: nothing heavy before it is needed, and help at once."""

from __future__ import annotations

import inspect
import os
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import cpmodel

HEAVY = {"torch", "pandas", "scipy", "sklearn", "optuna", "plotly", "PIL", "jinja2"}
COMMANDS = ["run", "sample", "verify", "measure", "fit", "optimize", "report", "export"]
SCRIPT = Path(sys.executable).parent / "cpmodel"


def loaded(code: str, cwd: Path) -> set[str]:
    """Which of the heavy packages a program loads; it may end with an exit code of its own."""
    program = f"""
import sys
try:
    {code}
except SystemExit as end:
    assert not end.code, end
print()
print(*(sys.modules.keys() & {HEAVY}))
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, check=True, timeout=120
    )
    return set(ended.stdout.splitlines()[-1].split())


def command(*words: str) -> str:
    """A program that is the console script with these words."""
    return f"import cpmodel.cli; sys.argv = {['cpmodel', *words]}; cpmodel.cli.main()"


@pytest.mark.parametrize(
    "code", ["import cpmodel", "import cpmodel; dir(cpmodel)", command("--version"), command("run", "--help")]
)
def test_start_loads_nothing_heavy(tmp_path: Path, code: str) -> None:
    assert loaded(code, tmp_path) == set()


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    path.write_text("f,precision,macs\n" + "".join(f"{f},{1 - 1 / f:.4f},{f}\n" for f in range(2, 12)))
    return path


@pytest.mark.parametrize(
    "words", [("fit", "table.csv", "--model", "logpower"), ("optimize", "table.csv", "-t", "0.8")]
)
def test_models_of_a_table_need_no_torch(table: Path, words: tuple[str, ...]) -> None:
    assert loaded(command(*words), table.parent).isdisjoint({"torch", "plotly", "PIL", "jinja2"})


def test_the_functions_need_no_torch_either(table: Path) -> None:
    code = "import cpmodel; cpmodel.read('table.csv').optimize(target=0.8)"
    assert loaded(code, table.parent).isdisjoint({"torch", "plotly"})


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["run", "--help"], ["optimize", "--help"]])
def test_answers_at_once(words: list[str]) -> None:
    """Processor time, which a busy machine stretches less than time itself; the least of a few runs."""
    spent = []
    for _ in range(5):
        before = os.times()
        subprocess.run([SCRIPT, *words], capture_output=True, check=True)
        after = os.times()
        spent.append(
            after.children_user + after.children_system - before.children_user - before.children_system
        )
    assert min(spent) < 0.3


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_an_example(name: str) -> None:
    environment = {**os.environ, "COLUMNS": "80"}
    ended = subprocess.run(
        [SCRIPT, name, "--help"], capture_output=True, text=True, check=True, env=environment
    )
    assert f"Example: cpmodel {name}" in ended.stdout
    assert f"usage: cpmodel {name} [OPTIONS]" in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80
    assert ended.stderr == ""


def test_the_examples_are_commands() -> None:
    """Every option that an example names is one of its command's."""
    for name in COMMANDS:
        text = subprocess.run([SCRIPT, name, "-h"], capture_output=True, text=True, check=True).stdout
        about, _, options = text.partition("options:")
        example = about.rpartition("Example: ")[2]
        for word in example.split():
            if word.startswith("--") and word not in ("--f",):  # a family's own
                assert f"{word} " in options, (name, word)


def test_the_list_of_commands() -> None:
    ended = subprocess.run([SCRIPT, "--help"], capture_output=True, text=True, check=True)
    assert all(f"\n    {name} " in ended.stdout for name in COMMANDS)
    assert not any(line.endswith("...") for line in ended.stdout.splitlines()[1:])  # no summary is cut
    alone = subprocess.run([SCRIPT], capture_output=True, text=True, check=False)
    assert (alone.returncode, alone.stdout) == (2, "")
    assert "usage: cpmodel" in alone.stderr


def test_version() -> None:
    for module in ([SCRIPT], [sys.executable, "-m", "cpmodel"]):
        ended = subprocess.run([*module, "--version"], capture_output=True, text=True, check=True)
        assert ended.stdout == f"cpmodel {cpmodel.__version__}\n"


def test_help_in_python() -> None:
    text = pydoc.plain(pydoc.render_doc(cpmodel))
    assert text.index("answer = study.run(") < text.index("class Study")
    for name in COMMANDS:
        assert f" |  {name}(" in text, name


@pytest.mark.parametrize("name", sorted(set(cpmodel.__all__) - {"__version__"}))
def test_everything_public_is_described(name: str) -> None:
    thing = getattr(cpmodel, name)
    summary, *_ = (inspect.getdoc(thing) or "").splitlines()
    assert summary.endswith((".", ";"))
    for parameter in inspect.signature(thing).parameters.values():
        assert parameter.annotation is not inspect.Parameter.empty
    assert inspect.signature(thing).return_annotation is not inspect.Signature.empty


@pytest.mark.parametrize(
    "code",
    [
        "import cpmodel; assert cpmodel.optuna.EnvelopeSampler",
        "import cpmodel.optimize.search as s; assert s.__name__ == 'cpmodel.optimize.search'",
        "import cpmodel; assert cpmodel.datasets.load",
        "import cpmodel, cpmodel.report, cpmodel.verify; cpmodel.read('table.csv').fit(model='logpower')",
    ],
)
def test_modules_are_found_by_their_names(table: Path, code: str) -> None:
    loaded(code, table.parent)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="module 'cpmodel' has no attribute 'fits'"):
        _ = cpmodel.fits

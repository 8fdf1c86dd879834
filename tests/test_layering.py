"""The house stands as it was drawn: imports point down, heavy packages stay in their rooms, nothing grows."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import get_args

import pytest

from cpmodel import registry

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "cpmodel"

# A room is a module or a package directly below cpmodel/; a higher floor may import lower ones only.
FLOORS = [
    {"errors", "version"},
    {"files", "heap", "interrupts", "locks", "registry", "codec"},
    {"space", "layers", "numbers"},
    {"samples"},
    {"metrics", "cost", "recipe", "frontier"},
    {"families", "datasets", "surrogates", "formats"},
    {"optimize", "verify", "records", "engine", "costs"},
    {"search", "training", "power"},
    {"pipeline"},
    {"report", "deploy", "optuna"},
    {"study"},
    {"testing"},
    {"cli"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ALLOWED = {
    "torch": {"families", "formats", "training", "engine", "costs", "deploy", "testing"},
    "numba": {"engine"},
    "plotly": {"report"},
    "optuna": {"records", "optuna"},
    "rich": {"cli"},
}

# The public face may take what people write as keywords; everything else passes objects on.
PUBLIC_FACE = {"study.py", "__init__.py", "optuna.py"}
MOST_PARAMETERS = 8
MOST_LINES = 500
# What a running pool keeps account in; all other dataclasses are frozen
LOOSE = {"training/pool.py:_Worker", "training/jobs.py:Job", "training/together.py:_Running"}
# All lines of the Python files below these, together
LINES = {
    "the whole package": ([""], 23_500),
    "the page": (["report"], 2_000),
    "options and command line": (["cli", "pipeline/options.py"], 1_150),
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def short(value: object) -> str:
    return str(value).rsplit("cpmodel/")[-1]


every_module = pytest.mark.parametrize("path", modules(), ids=short)


@cache
def parsed(path: Path) -> ast.Module:
    """The file's syntax, imports for type checkers left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    return tree


def imports(path: Path) -> list[str]:
    """Dotted names of everything imported anywhere in the file, functions included."""
    names = []
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@every_module
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    if room in ("__init__", "__main__"):
        return
    assert room in FLOOR, f"{room} has no floor"
    for name in imports(path):
        head, *rest = name.split(".")
        if head == "cpmodel" and rest and rest[0] != room:
            assert FLOOR.get(rest[0], FLOOR["study"]) < FLOOR[room], f"{path.name} ({room}) imports {name}"
        elif head in ALLOWED:
            assert room in ALLOWED[head], f"{path.name} ({room}) imports {name}"


def test_every_room_exists_once() -> None:
    assert sum(map(len, FLOORS)) == len(FLOOR)
    rooms = {room_of(path) for path in modules()} - {"__init__", "__main__"}
    assert set(FLOOR) == rooms, set(FLOOR) ^ rooms


@pytest.mark.parametrize("package", ALLOWED)
def test_every_permission_is_used(package: str) -> None:
    users = {room_of(p) for p in modules() if any(name.split(".")[0] == package for name in imports(p))}
    assert ALLOWED[package] == users


def test_no_module_imports_itself_by_way_of_others() -> None:
    known = {dotted(path) for path in modules()}
    arrows: dict[str, set[str]] = {}
    for path in modules():
        named = {name if name in known else name.rpartition(".")[0] for name in imports(path)}
        arrows[dotted(path)] = named & known - {dotted(path)}
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        pytest.fail("import cycle: " + " -> ".join(error.args[1][::-1]))


@every_module
def test_dataclasses_are_frozen(path: Path) -> None:
    loose = set()
    for node in ast.walk(parsed(path)):
        for decorator in getattr(node, "decorator_list", []):
            call = decorator.func if isinstance(decorator, ast.Call) else decorator
            if isinstance(node, ast.ClassDef) and isinstance(call, ast.Name) and call.id == "dataclass":
                given = {k.arg: ast.unparse(k.value) for k in getattr(decorator, "keywords", [])}
                if given.get("frozen") != "True" and given.get("kw_only") != "True":  # an estimator's options
                    loose.add(f"{short(path)}:{node.name}")
    assert loose == {place for place in LOOSE if place.startswith(f"{short(path)}:")}


@every_module
def test_modules_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


@pytest.mark.parametrize("what", LINES)
def test_the_house_does_not_grow(what: str) -> None:
    places, most = LINES[what]
    files = [p for place in places for p in ([PACKAGE / place] if place.endswith(".py") else below(place))]
    assert sum(len(p.read_text(encoding="utf-8").splitlines()) for p in files) <= most


def below(place: str) -> list[Path]:
    return sorted((PACKAGE / place).rglob("*.py"))


@every_module
def test_functions_take_few_parameters(path: Path) -> None:
    if path.relative_to(PACKAGE).as_posix() in PUBLIC_FACE:
        return
    for node in ast.walk(parsed(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            a = node.args
            taken = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg) if x]
            taken = taken[1:] if taken[:1] in (["self"], ["cls"]) else taken
            name = getattr(node, "name", "lambda")
            assert len(taken) <= MOST_PARAMETERS, f"{path.name}: {name} takes {len(taken)}: {taken}"


def prose() -> Iterator[tuple[Path, str]]:
    """Every text in which a file or a module may be named."""
    for folder in ("cpmodel", "scripts", "tests"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".sh", ".md") or (path.is_file() and not path.suffix):
                yield path, path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        yield path, path.read_text(encoding="utf-8")


def test_files_that_are_named_exist() -> None:
    pattern = re.compile(
        r"(?<![\w/.-])(?:scripts|tests|cpmodel|data|docs)/[\w./-]*\w\.(?:py|csv|md|json|sh|npz|png)\b"
    )
    lost = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in prose()
        for name in pattern.findall(text)
        if not (ROOT / name).exists()
    }
    assert not lost


def test_modules_that_are_named_exist() -> None:
    """Whatever stands in backticks: a module, a name that its file knows, or a group of plug-ins."""
    known = {dotted(path): path for path in modules()}
    lost = set()
    for path, text in prose():
        for name in re.findall(r"`(cpmodel(?:\.\w+)+)`", text):
            module = name
            while module not in known:
                module = module.rpartition(".")[0]
            inner = name.removeprefix(module).lstrip(".").split(".")[0]
            if inner in ("", *get_args(registry.Kind)):
                continue
            if not re.search(rf"\b{inner}\b", known[module].read_text(encoding="utf-8")):
                lost.add(f"{path.relative_to(ROOT)}: {name}")
    assert not lost


def test_every_dependency_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    imported = {name.split(".")[0] for path in modules() for name in imports(path)}
    names = {"scikit-learn": "sklearn", "pillow": "PIL"}
    needed = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}  # type: ignore[index]
    assert {names.get(name, name) for name in needed} <= imported

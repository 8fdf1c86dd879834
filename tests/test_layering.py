"""The imports of the package point down only, and heavy packages stay in their rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cpmodel"

# A room is a module or a package directly below cpmodel/; a higher floor may import lower ones only.
FLOORS = [
    {"errors", "version", "files", "heap", "interrupts", "locks", "registry", "codec"},
    {"space", "layers", "numbers"},
    {"samples"},
    {"metrics", "cost", "recipe", "frontier"},
    {"families", "datasets", "surrogates", "formats"},
    {"optimize", "verify", "records", "engine", "costs"},
    {"search", "training"},
    {"pipeline"},
    {"report", "deploy", "optuna"},
    {"study"},
    {"cli", "testing"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ALLOWED = {
    "torch": {"families", "formats", "training", "engine", "costs", "deploy", "datasets"},
    "numba": {"engine"},
    "plotly": {"report"},
    "optuna": {"records", "optuna"},
}


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room not in ("__init__", "__main__"):
            found.append((room, path))
    return found


def imports(path: Path) -> list[str]:
    """Dotted names of everything imported anywhere in the file, imports for type checkers left out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.append(node.module or "")
            if node.module == "cpmodel":
                names += [f"cpmodel.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize(("room", "path"), modules(), ids=lambda value: str(value).rsplit("cpmodel/")[-1])
def test_imports_point_down(room: str, path: Path) -> None:
    assert room in FLOOR, f"{room} has no floor"
    for name in imports(path):
        head, *rest = name.split(".")
        if head == "cpmodel" and rest and rest[0] != room:
            assert FLOOR[rest[0]] < FLOOR[room], f"{path.name} ({room}) imports {name}"
        elif head in ALLOWED:
            assert room in ALLOWED[head], f"{path.name} ({room}) imports {name}"


def test_every_room_exists_once() -> None:
    assert sum(map(len, FLOORS)) == len(FLOOR)

"""Do the tests notice? Small faults are put into modules, one at a time, and their tests are run.

    python scripts/mutate.py search verify records --count 100 --jobs 2

names rooms or modules of cpmodel (`records`, `records/store.py`, `verify.py`). Each mutant is run against
the tests of its room or of its name, or those of --tests, in a copy of the tree. Prints
every mutant that no test notices, and the share of them; ends with 1 if that is --allowed or more. Which
mutants are drawn follows from --seed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

TREE = Path(__file__).parents[1]
PER_MUTANT_S = 300  # a mutant whose tests take longer counts as noticed: it hangs
COMPARED = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
CALCULATED = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
CALLED = {"any": "all", "all": "any", "min": "max", "max": "min"}


@dataclass(frozen=True)
class Mutant:
    """One fault in one line.

    Parameters
    ----------
    module : str
        Its path below the tree.
    line : int
    before, after : str
        The expression that changes.
    source : str
        The whole module with the fault.
    """

    module: str
    line: int
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.before}  ->  {self.after}"


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Every fault that is made in a module."""
    tree = ast.parse(source)
    unused = hints(tree) | declarations(tree)
    for place, node in enumerate(ast.walk(tree)):
        for choice in range(0 if node in unused else len(faults(node))):
            changed = copy.deepcopy(tree)
            old = list(ast.walk(changed))[place]
            before, new = ast.unparse(old), faults(old)[choice]
            after = ast.unparse(ast.fix_missing_locations(new))
            put(changed, old, new)
            yield Mutant(module, getattr(old, "lineno", 0), before, after, ast.unparse(changed))


def hints(tree: ast.Module) -> set[ast.AST]:
    """Everything that stands in annotations: it does not run."""
    found = [getattr(n, name, None) for n in ast.walk(tree) for name in ("annotation", "returns")]
    return {inner for hint in found if hint is not None for inner in ast.walk(hint)}


def declarations(tree: ast.Module) -> set[ast.AST]:
    """What decorators are given, as frozen=True: tests of style see it; and strict=True, itself a check."""
    given = [d for n in ast.walk(tree) for d in getattr(n, "decorator_list", [])]
    given += [n for n in ast.walk(tree) if isinstance(n, ast.keyword) and n.arg == "strict"]
    return {inner for declared in given for inner in ast.walk(declared)}


def put(tree: ast.Module, old: ast.AST, new: ast.AST) -> None:
    """Put a node in another one's place."""
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
            elif isinstance(value, list):
                value[:] = [new if item is old else item for item in value]
    ast.fix_missing_locations(tree)


def faults(node: ast.AST) -> list[ast.AST]:
    """What may stand instead of a node."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in COMPARED:
        return [ast.Compare(node.left, [COMPARED[type(node.ops[0])]()], node.comparators)]
    if isinstance(node, ast.BinOp) and type(node.op) in CALCULATED:
        return [ast.BinOp(node.left, CALCULATED[type(node.op)](), node.right)]
    if isinstance(node, ast.BoolOp):
        return [ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub, ast.Invert)):
        return [node.operand]
    if isinstance(node, (ast.If, ast.IfExp)):
        turned = copy.copy(node)
        turned.test = ast.UnaryOp(ast.Not(), node.test)
        return [turned]
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            return [ast.Constant(not node.value)]
        if isinstance(node.value, int):  # one too many, one too few
            return [ast.Constant(node.value + 1), *([ast.Constant(node.value - 1)] if node.value else [])]
        if isinstance(node.value, float):
            return [ast.Constant(node.value + 1), *([ast.Constant(node.value / 10)] if node.value else [])]
        return []
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLED:
        return [ast.Call(ast.Name(CALLED[node.func.id], ast.Load()), node.args, node.keywords)]
    # a statement that is called for what it does
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return [ast.Pass()]
    return []


def tests_of(module: str) -> list[str]:
    """Tests that mirror a module: those of its name, else those of its room."""
    path = Path(module).relative_to("cpmodel")
    room, name = path.parts[0].removesuffix(".py"), path.stem
    tests = TREE / "tests"
    places = (
        [tests / room, *tests.glob(f"test_{room}.py")] if len(path.parts) > 1 else [tests / f"test_{name}.py"]
    )
    return [str(place.relative_to(TREE)) for place in places if place.exists()]


def noticed(mutant: Mutant, tree: Path, tests: Sequence[str]) -> bool:
    """Whether a test of the copy of the tree fails with the fault."""
    path = tree / mutant.module
    sound = path.read_text()
    path.write_text(mutant.source)
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(PER_MUTANT_S) != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        path.write_text(sound)


def main() -> int:
    """Draw mutants, run their tests, say which live."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rooms", nargs="+", help="rooms or modules of cpmodel")
    parser.add_argument("--count", type=int, default=100, help="mutants drawn, spread evenly over all lines")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="mutants at once")
    parser.add_argument("--tests", nargs="*", help="tests to run instead of those that mirror a module")
    parser.add_argument("--allowed", type=float, default=0.1, help="share of mutants that may live")
    asked = parser.parse_args()
    paths = [TREE / "cpmodel" / room.removeprefix("cpmodel/") for room in asked.rooms]
    paths = [path if path.exists() else path.with_suffix(".py") for path in paths]
    files = [file for path in paths for file in (sorted(path.rglob("*.py")) if path.is_dir() else [path])]
    made = [m for file in files for m in mutants(str(file.relative_to(TREE)), file.read_text())]
    drawn = random.Random(asked.seed).sample(made, min(asked.count, len(made)))
    print(f"{len(made)} mutants of {len(files)} modules, {len(drawn)} drawn", file=sys.stderr)
    alive: list[Mutant] = []
    with tempfile.TemporaryDirectory() as folder:
        trees: SimpleQueue[Path] = SimpleQueue()
        ignored = shutil.ignore_patterns(".git", ".venv", "*.egg-info", "study")
        for number in range(asked.jobs):
            trees.put(Path(shutil.copytree(TREE, Path(folder) / str(number), ignore=ignored)))

        def tried(mutant: Mutant) -> None:
            tree = trees.get()
            try:
                if not noticed(mutant, tree, asked.tests or tests_of(mutant.module)):
                    alive.append(mutant)
                    print(f"lives: {mutant}", flush=True)
            finally:
                trees.put(tree)

        with ThreadPoolExecutor(asked.jobs) as threads:
            list(threads.map(tried, drawn))
    share = len(alive) / max(1, len(drawn))
    print(f"{len(alive)} of {len(drawn)} live ({share:.0%})")
    return int(share >= asked.allowed)


if __name__ == "__main__":
    sys.exit(main())

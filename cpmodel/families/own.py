"""A person's file: how what it defines is found from any folder, loaded, and known again when it changes."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from cpmodel import registry
from cpmodel.errors import BadInputError

# How modules of files are called
_OURS = "cpmodel_own_"


def absolute(name: str) -> str:
    """The name of a family as any process finds it from any folder: a person's file with its whole path.

    What ``module:name`` stands for is a file where the module lies in the current folder.
    """
    address, mark, query = name.partition("?")
    path, _, attribute = address.rpartition(":")
    file = Path(path).expanduser() if path.endswith(".py") else _here(path)
    return name if file is None else f"{file.resolve()}:{attribute}{mark}{query}"


def _here(module: str) -> Path | None:
    """The file of a module of the current folder; None for one that is installed."""
    top, *_ = names = module.split(".")
    if not all(map(str.isidentifier, names)) or top == __name__.partition(".")[0]:
        return None
    place = Path.cwd().joinpath(*names)
    file = next(filter(Path.is_file, (place.with_suffix(".py"), place / "__init__.py")), None)
    with suppress(ImportError, ValueError):
        found = None if file is None else importlib.util.find_spec(top)
        if found is not None and _installed(found.origin):
            return None
    return file


def _installed(file: str | None) -> bool:
    """Whether a file is Python's own or of a package that was installed."""
    folders = map(sysconfig.get_path, ("stdlib", "purelib", "platlib"))
    return file is not None and (file == "built-in" or any(map(Path(file).is_relative_to, folders)))


def load(name: str) -> Any:
    """What ``module:name``, an installed name or ``file.py:name`` stands for; a file is run."""
    path, _, attribute = name.rpartition(":")
    if name.endswith(".py"):
        raise BadInputError(f"family {name}", expected=f"one of what it defines, {name}:FUNCTION")
    if not path.endswith(".py"):
        return registry.plugin("families", name)
    file, what = Path(path), f"family {name}"
    if not file.is_file():
        raise BadInputError(what, expected="a Python file that is there")
    try:
        module = _run(file)
    except (Exception, SystemExit) as error:  # whatever a person's file can raise
        reason = (str(error).splitlines() or [""])[0]
        raise BadInputError(
            f"{what}: {type(error).__name__}: {reason}", expected="a file that runs"
        ) from error
    root, package = _place(file)
    for own in own_files(file)[0 if package else 1 :]:  # two folders may have files of the same name
        imported = sys.modules.get(_dotted(own, root))
        other = getattr(imported, "__file__", None)
        if other is not None and Path(other).resolve() != own:
            expected = "another name"
            raise BadInputError(f"{what}: another is imported as its {own}", expected=expected, got=other)
    found = getattr(module, attribute, None)
    if found is None or not callable(found):
        there = [n for n, value in vars(module).items() if inspect.isfunction(value)]
        expected = f"one of its functions, {', '.join(there) or 'of which it has none'}"
        raise BadInputError(what, expected=expected)
    return found


def _run(file: Path) -> ModuleType:
    """The module of a file, which may import what lies beside it; of a package it is a part."""
    root, package = _place(file)
    if str(root) not in sys.path:
        sys.path.append(str(root))  # behind all others: a file called queue.py hides nothing
    if package:
        return importlib.import_module(_dotted(file, root))
    # a name of its own, since two studies may have files of the same name
    called = f"{_OURS}{hashlib.sha256(str(file).encode()).hexdigest()[:8]}_{file.stem}"
    spec = importlib.util.spec_from_file_location(called, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[called] = module  # so that its classes know where they are from
    spec.loader.exec_module(module)
    return module


def _place(file: Path) -> tuple[Path, bool]:
    """The folder that imports of a file begin in, and whether it is one above a package."""
    root = file.parent
    while (root / "__init__.py").is_file() and root != root.parent:
        root = root.parent
    return root, root != file.parent


def _dotted(file: Path, root: Path) -> str:
    """The name of the module of a file below the folder that imports begin in."""
    return ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def code_of(name: str, function: Callable[..., Any]) -> str:
    """Twelve hexadecimal digits of the code of a function, which another process finds by its name.

    It is that of ``file.py:name`` and of all files beside it that it imports; of what is installed that of
    the function's own file. Comments and layout do not count.
    """
    path = name.rpartition(":")[0]
    whole = hashlib.sha256()
    try:
        if path.endswith(".py"):
            files = own_files(Path(path))
        else:
            files = [Path(inspect.getsourcefile(inspect.unwrap(function)) or "")]
        for file in files:
            # unlike the tree's dump the text is the same for all releases of Python
            whole.update(ast.unparse(ast.parse(file.read_text(encoding="utf-8"))).encode())
    except (OSError, TypeError, ValueError, SyntaxError) as error:
        raise BadInputError(f"function {name}", expected="one whose code lies in a file") from error
    return whole.hexdigest()[:12]


def own_files(file: Path) -> list[Path]:
    """A file, then all below the folder that its imports begin in that it or these import, in their order."""
    found, waiting, (root, _) = dict[Path, None](), [file.resolve()], _place(file.resolve())
    while waiting:
        one = waiting.pop()
        if one not in found:
            found[one] = None
            waiting += [each for each in _imported(one, root) if each not in found]
    return [file.resolve(), *sorted(set(found) - {file.resolve()})]


def _imported(file: Path, root: Path) -> Iterator[Path]:
    """The files below a folder that a file imports from."""
    package = file.parent.relative_to(root).parts
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            module = [*above, *(node.module.split(".") if node.module else ())]
            names = [module, *([*module, alias.name] for alias in node.names)]
        else:
            continue
        for parts in names:
            for end in range(1, len(parts) + 1):
                place = root.joinpath(*parts[:end])
                yield from filter(Path.is_file, (place.with_suffix(".py"), place / "__init__.py"))


def name_of_function(function: Callable[..., Any]) -> str:
    """By which another process finds a function: ``module:function`` where installed, else its file's."""
    name, module = getattr(function, "__qualname__", ""), getattr(function, "__module__", "")
    if module.startswith(_OURS):
        expected = "a file that opens no study while it is imported (if __name__ == '__main__':)"
        raise BadInputError(f"function {name}", expected=expected)
    file = None
    with suppress(OSError, TypeError):
        file = inspect.getsourcefile(inspect.unwrap(function))
    if name.isidentifier() and file is not None:
        installed = _installed(file)
        with suppress(BadInputError):
            if installed and registry.plugin("families", f"{module}:{name}") is function:
                return f"{module}:{name}"
        if not installed:
            return f"{Path(file).resolve()}:{name}"
    expected = "one at the top of a file, which worker processes can run"
    raise BadInputError(f"function {name or function!r}", expected=expected)

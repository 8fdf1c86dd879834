"""Anybody's function that builds a network, as a family: its annotated arguments are the parameters."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_origin

import numpy as np
from numpy.typing import ArrayLike

from cpmodel import registry
from cpmodel.cost import Cost
from cpmodel.errors import BadInputError
from cpmodel.families.base import Family, Task
from cpmodel.files import write_text
from cpmodel.space import Configuration, Floats, Parameter, Space, Value

if TYPE_CHECKING:
    from torch import nn

# Arguments that say what the network is for; all others are parameters
_TASK = ("channels", "classes")
_SIZE = "size"
_FILE = "counted.json"  # in a study's folder
COUNTED = 10_000  # configurations that are counted at most: in a larger space so many are drawn
# What is counted; the parts of the multiply-accumulates may be 0
_COLUMNS = ("macs", "params", "weight_bytes", "activation_elements", "activation_peak_elements", "layers")


class FunctionFamily(Family):
    """T = the arguments of a function that builds a network; its costs are counted on what it builds.

    The function takes ``channels`` and ``classes``, and maybe ``size``, the side of the images in pixels,
    which is a parameter where it says its values. Every other argument is a parameter: its values are those
    of its ``Literal`` annotation, False and True of a ``bool``, or those that the study is given. One that
    has neither keeps its default.

    Parameters
    ----------
    name : by which another process finds the function: ``module:function`` or ``file.py:function``
    function : returns a torch module that takes images, shape (n, channels, size, size), and gives scores,
        shape (n, classes)
    folder : where counts are kept; None counts them anew in each process
    """

    summary: ClassVar[str] = "a function of yours that builds a network"

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        options: Mapping[str, Sequence[Value]] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._name, self._function, self._folder = name, function, folder
        self._options = _arguments(name, function) if options is None else dict(options)
        arguments = signature_of(name, function).parameters.values()
        self._takes_size = any(argument.name == _SIZE for argument in arguments)
        self._needed = {a.name for a in arguments if a.default is a.empty and a.name != _SIZE}
        self._counts: dict[str, list[float]] | None = None
        self._code = _digest(name, function)

    @property
    def name(self) -> str:  # type: ignore[override]
        """By which another process finds it."""
        return self._name

    @property
    def code(self) -> str:
        """A digest of the file that the function is in, but for comments and layout."""
        return self._code

    def used_for(self, space: Space, folder: Path) -> FunctionFamily:
        """The same family with the values of a study, which keeps its counts in a folder."""
        options = {p.name: p.among or p.values for p in space.parameters}
        return FunctionFamily(self._name, self._function, {**self._options, **options}, folder)

    def space(
        self,
        task: Task,
        values: Mapping[str, Sequence[Value]] | None = None,
        baseline: Configuration | None = None,
    ) -> Space:
        """The configurations that can be built for `task`."""
        given = dict(values or {})
        if unknown := sorted(set(given) - set(self._options)):
            known = ", ".join(self._options) or "none"
            raise BadInputError("parameter", expected=f"one of {known}", got=", ".join(unknown))
        found = []
        for name, options in self._options.items():
            chosen = tuple(given.get(name, options))
            if name == _SIZE and not all(type(side) is int and side >= 1 for side in chosen):
                raise BadInputError("parameter size", expected="whole numbers of pixels", got=chosen)
            if not chosen:
                if name in self._needed:
                    expected = f"its values: Literal[8, 16] in its annotation, or --{name} 8,16"
                    raise BadInputError(f"argument {name} of function {self._name}", expected=expected)
                continue
            if any(isinstance(value, (bool, str)) for value in (*chosen, *options)):
                every = options or chosen
                found.append(Parameter(name, tuple(every), categorical=True).limited(chosen))
            else:
                found.append(Parameter(name, tuple(sorted(chosen, key=float))))
        if not found:
            expected = "an argument with values: Literal[8, 16] in its annotation, or --width 8,16"
            raise BadInputError(f"function {self._name}", expected=expected, got="none")
        return Space(tuple(found), dict(baseline or {}), COUNTED)

    def input_size(self, configuration: Configuration, task: Task) -> tuple[int, int]:
        """The size where it is a parameter, else the images' shorter side; both ways."""
        side = int(configuration.get(_SIZE, task.side))
        return side, side

    def cost_kinds(self, task: Task) -> tuple[Cost, ...]:
        """What is counted on the built network."""
        return tuple(Cost.called(name, "counted") for name in _COLUMNS)

    def costs(self, X: ArrayLike, task: Task) -> dict[str, Floats]:
        """Complexity of each row of X, counted once a configuration on a network without memory."""
        return self.counted(X, task, lambda done, of: None)

    def counted(self, X: ArrayLike, task: Task, tell: Callable[[int, int], None]) -> dict[str, Floats]:
        """As `costs`; `tell` hears how many configurations are counted, and of how many."""
        rows = np.asarray(X, dtype=np.float64)
        known = self._read()
        keys = [_key(row, task) for row in rows]
        new = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}
        parameters = self.space(task).parameters
        for done, (key, row) in enumerate(new.items(), 1):
            known[key] = self._count(
                {p.name: _value(p, code) for p, code in zip(parameters, row, strict=True)}, task
            )
            tell(done, len(new))
        if new:
            self._write(known)
        table = np.array([known[key] for key in keys], dtype=np.float64).reshape(-1, len(_COLUMNS))
        return dict(zip(_COLUMNS, np.ascontiguousarray(table.T), strict=True))

    def _count(self, configuration: Configuration, task: Task) -> list[float]:
        import torch

        from cpmodel.families.count import count

        told = ", ".join(f"{name}={value}" for name, value in configuration.items())
        shape = (task.channels, *self.input_size(configuration, task))
        try:
            with torch.device("meta"):
                network = self.build(configuration, task)
            costs = count(network, shape, classes=task.classes).costs
        except BadInputError:
            raise
        except Exception as error:  # whatever a person's function can raise
            reason = (str(error).splitlines() or [""])[0]
            what = f"function {self._name} with {told}, images {shape}"
            raise BadInputError(f"{what}: {type(error).__name__}: {reason}") from error
        return [float(costs[name]) for name in _COLUMNS]

    def _read(self) -> dict[str, list[float]]:
        """What is counted so far, here and in the folder; what cannot be read is counted again."""
        if self._counts is None:
            self._counts = {}
            if self._folder is not None:
                with suppress(OSError, ValueError, KeyError, TypeError):
                    kept = json.loads((self._folder / _FILE).read_text(encoding="utf-8"))
                    if kept["code"] == self._code and kept["columns"] == list(_COLUMNS):
                        rows = {str(key): [float(v) for v in row] for key, row in kept["counts"].items()}
                        self._counts = {key: row for key, row in rows.items() if len(row) == len(_COLUMNS)}
        return self._counts

    def _write(self, counts: Mapping[str, Sequence[float]]) -> None:
        if self._folder is not None and self._folder.is_dir():
            kept = {"code": self._code, "columns": _COLUMNS, "counts": counts}
            write_text(self._folder / _FILE, json.dumps(kept))

    def build(self, configuration: Configuration, task: Task) -> nn.Module:
        """What the function returns."""
        from torch import nn

        size = {_SIZE: self.input_size(configuration, task)[0]} if self._takes_size else {}
        told = {"channels": task.channels, "classes": task.classes}
        network = self._function(**{**configuration, **size, **told})
        if not isinstance(network, nn.Module):
            got = type(network).__name__
            raise BadInputError(f"function {self._name}", expected="a torch.nn.Module", got=got)
        return network


def load_function(file: Path, name: str) -> Callable[..., Any]:
    """The function called `name` that a Python file defines; the file is run."""
    what = f"family {file}:{name}"
    spec = importlib.util.spec_from_file_location(f"cpmodel_own_{file.stem}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise BadInputError(what, expected="a Python file that is there")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # so that its classes know where they are from
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a person's file can raise
        reason = (str(error).splitlines() or [""])[0]
        raise BadInputError(
            f"{what}: {type(error).__name__}: {reason}", expected="a file that runs"
        ) from error
    found: Callable[..., Any] | None = getattr(module, name, None)
    if found is None or not callable(found):
        there = [n for n, value in vars(module).items() if inspect.isfunction(value)]
        raise BadInputError(
            what, expected=f"one of its functions, {', '.join(there) or 'of which it has none'}"
        )
    return found


def name_of_function(function: Callable[..., Any]) -> str:
    """By which another process finds a function: ``module:function``, else ``file.py:function``."""
    name, module = function.__qualname__, function.__module__
    if "<" not in name and module != "__main__":
        with suppress(BadInputError):
            if registry.plugin("families", f"{module}:{name}") is function:
                return f"{module}:{name}"
    with suppress(OSError, TypeError):
        file = inspect.getsourcefile(function)
        if file is not None and name.isidentifier():
            return f"{Path(file).resolve()}:{name}"
    raise BadInputError(
        f"function {name}", expected="one at the top of a file, which worker processes can run"
    )


def signature_of(name: str, function: Callable[..., Any]) -> inspect.Signature:
    """The arguments of a function with their annotations; it must take channels and classes."""
    try:
        found = inspect.signature(function, eval_str=True)
    except (NameError, TypeError, ValueError) as error:
        raise BadInputError(f"function {name}: {error}", expected="arguments with annotations") from error
    if missing := [argument for argument in _TASK if argument not in found.parameters]:
        expected = "the arguments channels and classes"
        raise BadInputError(f"function {name}", expected=expected, got="no " + ", no ".join(missing))
    return found


def _arguments(name: str, function: Callable[..., Any]) -> dict[str, tuple[Value, ...]]:
    """The arguments that are parameters, with the values that their annotations say, none of others."""
    options: dict[str, tuple[Value, ...]] = {}
    for argument in signature_of(name, function).parameters.values():
        if argument.name in _TASK or argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            continue
        annotation = argument.annotation
        if get_origin(annotation) is Literal:
            options[argument.name] = get_args(annotation)
        else:
            options[argument.name] = (False, True) if annotation is bool else ()
    return options


def _digest(name: str, function: Callable[..., Any]) -> str:
    """Twelve hexadecimal digits of the code of the file that a function is in, or of its own."""
    try:
        text = inspect.getsource(inspect.getmodule(function) or function)
    except (OSError, TypeError) as error:
        raise BadInputError(f"function {name}", expected="one whose code lies in a file") from error
    return hashlib.sha256(ast.dump(ast.parse(text)).encode()).hexdigest()[:12]


def _key(row: Floats, task: Task) -> str:
    """One text for the numbers of a row and for what the network is for."""
    numbers = ",".join("" if math.isnan(code) else f"{code:.17g}" for code in row)
    return f"{numbers} {task.side} {task.channels} {task.classes}"


def _value(parameter: Parameter, code: float) -> Value:
    """What a number in a matrix X stands for, whether it is one of the parameter's values or not."""
    if parameter.categorical:
        return (parameter.among or parameter.values)[int(code)]
    whole = all(isinstance(value, int) for value in parameter.values) and float(code).is_integer()
    return int(code) if whole else float(code)

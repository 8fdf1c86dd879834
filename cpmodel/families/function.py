"""Anybody's function that builds a network, as a family: its annotated arguments are the parameters."""

from __future__ import annotations

import inspect
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args, get_origin

import numpy as np
from numpy.typing import ArrayLike

from cpmodel.cost import Cost, available_cores
from cpmodel.errors import BadInputError
from cpmodel.families.base import Family, Task
from cpmodel.families.counting import in_processes
from cpmodel.families.own import code_of
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
# After so many seconds others count, if this process would need so many more: they take some to begin
_ALONE_S, _LONG_S = 1.0, 10.0
# So many configurations are handed to a process at once
_BLOCK = 20
# What was counted of a configuration, or why its network cannot be used
Count = list[float] | str


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
        self._arguments = signature_of(name, function).parameters
        self._counts: dict[str, Count] | None = None
        self._code = code_of(name, function)

    @property
    def name(self) -> str:  # type: ignore[override]
        """By which another process finds it."""
        return self._name

    @property
    def code(self) -> str:
        """A digest of the function's file and those beside it that it imports, not of their layout."""
        return self._code

    def used_for(self, space: Space, folder: Path | None) -> FunctionFamily:
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
                if name != _SIZE and self._arguments[name].default is inspect.Parameter.empty:
                    expected = f"its values: Literal[8, 16] in its annotation, or --{name} 8,16"
                    raise BadInputError(f"argument {name} of function {self._name}", expected=expected)
                continue
            kind = self._arguments[name].annotation
            if kind in (int, float) and not all(type(value) in (int, kind) for value in chosen):
                expected = "whole numbers" if kind is int else "numbers"
                raise BadInputError(f"parameter {name}", expected=expected, got=", ".join(map(str, chosen)))
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
        unknown = [math.nan] * len(_COLUMNS)
        found = [unknown if isinstance(one, str) else one for one in self._known(X, task, tell)]
        table = np.array(found, dtype=np.float64).reshape(-1, len(_COLUMNS))
        return dict(zip(_COLUMNS, np.ascontiguousarray(table.T), strict=True))

    def refused(self, X: ArrayLike, task: Task) -> dict[int, str]:
        """The rows of X whose networks cannot be built or used, and why."""
        found = enumerate(self._known(X, task, lambda done, of: None))
        return {row: reason for row, reason in found if isinstance(reason, str)}

    def _known(self, X: ArrayLike, task: Task, tell: Callable[[int, int], None]) -> list[Count]:
        """What is counted of each row of X; what is not known yet is counted, and kept."""
        rows = np.asarray(X, dtype=np.float64)
        known = self._read()
        keys = [_key(row, task) for row in rows]
        new = {key: row for key, row in zip(keys, rows, strict=True) if key not in known}
        if new:
            parameters = self.space(task).parameters
            wanted = [
                {p.name: _value(p, code) for p, code in zip(parameters, row, strict=True)}
                for row in new.values()
            ]
            names = list(new)
            try:
                for done, (place, count) in enumerate(self._counts_of(wanted, task), 1):
                    known[names[place]] = count
                    tell(done, len(new))
            finally:  # Ctrl-C keeps what there is
                self._write(known)
        return [known[key] for key in keys]

    def _counts_of(self, wanted: Sequence[Configuration], task: Task) -> Iterator[tuple[int, Count]]:
        """The places of some configurations and what is counted of them; by processes where they are many."""
        shapes: dict[Any, Any] = {}
        yield 0, self.count(wanted[0], task, shapes)  # loads torch
        began, alone = time.monotonic(), 1
        while alone < len(wanted):
            yield alone, self.count(wanted[alone], task, shapes)
            alone += 1
            spent = time.monotonic() - began
            if spent > _ALONE_S and spent / alone * (len(wanted) - alone) > _LONG_S:
                break
        starts = range(alone, len(wanted), _BLOCK)
        blocks = [wanted[start : start + _BLOCK] for start in starts]
        told = {"name": self._name, "options": self._options, "task": asdict(task)}
        cores = min(available_cores(), len(blocks))
        for number, found in in_processes(told, blocks, cores) if blocks else ():
            # whatever ended the process, this one is the last to try it
            counts = found or [self.count(one, task, shapes) for one in blocks[number]]
            yield from enumerate(counts, starts[number])

    def count(self, configuration: Configuration, task: Task, shapes: dict[Any, Any]) -> Count:
        """What is counted of one configuration, or why its network cannot be used; `shapes` as in `count`."""
        from cpmodel.families.count import count, without_memory

        shape = (task.channels, *self.input_size(configuration, task))
        told = ", ".join(f"{name}={value}" for name, value in configuration.items())
        what = f"function {self._name} with {told}, images {shape}"
        for place in (without_memory, nullcontext):  # some functions look at numbers while they build
            try:
                with place():
                    network = self.build(configuration, task)
                costs = count(network, shape, task.classes, shapes).costs
                return [float(costs[name]) for name in _COLUMNS]
            except BadInputError as error:
                return str(error)
            except Exception as error:  # whatever a person's function can raise
                reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        return f"{what}: {reason}"

    def _read(self) -> dict[str, Count]:
        """What is counted so far, here and in the folder; what cannot be read is counted again."""
        if self._counts is None:
            self._counts = {}
            if self._folder is not None:
                with suppress(OSError, ValueError, KeyError, TypeError):
                    kept = json.loads((self._folder / _FILE).read_text(encoding="utf-8"))
                    if kept["code"] == self._code and kept["columns"] == list(_COLUMNS):
                        rows = {
                            str(key): row if isinstance(row, str) else [float(v) for v in row]
                            for key, row in kept["counts"].items()
                        }
                        whole = {
                            k: r for k, r in rows.items() if isinstance(r, str) or len(r) == len(_COLUMNS)
                        }
                        self._counts = whole
        return self._counts

    def _write(self, counts: Mapping[str, Count]) -> None:
        if self._folder is not None and self._folder.is_dir():
            kept = {"code": self._code, "columns": _COLUMNS, "counts": counts}
            write_text(self._folder / _FILE, json.dumps(kept))

    def build(self, configuration: Configuration, task: Task) -> nn.Module:
        """What the function returns."""
        from torch import nn

        size = {_SIZE: self.input_size(configuration, task)[0]} if _SIZE in self._arguments else {}
        told = {"channels": task.channels, "classes": task.classes}
        network = self._function(**{**configuration, **size, **told})
        if not isinstance(network, nn.Module):
            chosen = ", ".join(f"{name}={value}" for name, value in configuration.items())
            what, got = f"function {self._name} with {chosen}", type(network).__name__
            raise BadInputError(what, expected="a torch.nn.Module", got=got)
        return network


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
        what = f"argument {argument.name} of function {name}"
        if argument.name in _TASK or argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD):
            continue
        if argument.kind is argument.POSITIONAL_ONLY:
            raise BadInputError(what, expected="one that can be given by its name")
        annotation = argument.annotation
        if get_origin(annotation) is Literal:
            options[argument.name] = found = get_args(annotation)
            if not all(isinstance(value, (bool, int, str)) for value in found):
                expected = "whole numbers, texts, True or False as its values"
                raise BadInputError(what, expected=expected, got=", ".join(map(str, found)))
        else:
            options[argument.name] = (False, True) if annotation is bool else ()
    return options


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

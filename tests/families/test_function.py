"""A person's function as a family: what it may be, what it costs, and how it is found again."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from torch import nn

from cpmodel.errors import BadInputError
from cpmodel.families import Task, absolute, family_of, get_family, name_of
from cpmodel.families.function import FunctionFamily
from cpmodel.testing import check_family

TASK = Task(12, 16, 3, 4)


def build(
    width: Literal[2, 4, 8],
    act: Literal["relu", "gelu"],
    wide: bool,
    *,
    channels: int,
    classes: int,
    scale: int = 1,
) -> nn.Module:
    """One convolution, wide or not, and a dense layer."""
    filters = width * scale * (2 if wide else 1)
    bend: nn.Module = nn.ReLU() if act == "relu" else nn.GELU()
    head = nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(filters, classes)
    return nn.Sequential(nn.Conv2d(channels, filters, 3), bend, *head)


def sized(size: Literal[4, 8], *, channels: int, classes: int) -> nn.Module:
    """As large a dense layer as the image."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, classes))


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., str]:
    """Writes a file with a function; gives the name of its family."""

    def write(code: str, name: str = "build") -> str:
        path = tmp_path / "net.py"
        path.write_text("from torch import nn\n" + textwrap.dedent(code))
        return f"{path}:{name}"

    return write


@pytest.mark.parametrize("function", [build, sized])
def test_it_keeps_the_contract(function: Callable[..., nn.Module]) -> None:
    check_family(family_of(function), TASK)


def test_arguments_are_parameters() -> None:
    space = family_of(build).space(TASK)
    assert [(p.name, p.values, p.categorical) for p in space.parameters] == [
        ("width", (2, 4, 8), False),
        ("act", ("relu", "gelu"), True),
        ("wide", (False, True), True),
    ]
    assert space.most == 10_000
    more = family_of(build).space(TASK, {"scale": (1, 3), "act": ("gelu",), "width": (16, 2)})
    assert more.names == ("width", "act", "wide", "scale") and more["width"].values == (2, 16)
    assert more["act"].codes.tolist() == [1]


def test_costs_are_those_of_what_is_built() -> None:
    family = family_of(build)
    space = family.space(TASK, {"scale": (1, 3), "act": ("gelu",)})
    bound = family.used_for(space, Path("nowhere"))
    assert bound.space(TASK) == family.space(TASK, {"scale": (1, 3)})
    found = bound.costs(space.candidates(), TASK)
    for row, one in enumerate(space.configurations(space.candidates())):
        filters = one["width"] * one["scale"] * (2 if one["wide"] else 1)
        assert found["params"][row] == filters * (27 + 1) + filters * 4 + 4
        assert found["macs"][row] == filters * 27 * 10 * 10 + filters * 4


def test_the_size_is_that_of_the_images() -> None:
    family = family_of(sized)
    assert family.input_size({"size": 4}, TASK) == (4, 4)
    assert family_of(build).input_size({"width": 4}, TASK) == (12, 12)
    with pytest.raises(BadInputError, match="parameter size: expected whole numbers of pixels"):
        family.space(TASK, {"size": (4.5,)})


def test_counts_are_kept_and_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cpmodel.families.count as module

    built = []
    count = module.count
    monkeypatch.setattr(module, "count", lambda *a, **k: built.append(1) or count(*a, **k))
    family = family_of(build)
    space = family.space(TASK)
    heard: list[tuple[int, int]] = []
    X = space.candidates()
    one = family.used_for(space, tmp_path)
    first = one.counted(X[:8], TASK, lambda *told: heard.append(told))
    assert heard == [(n, 8) for n in range(1, 9)] and len(built) == 8
    np.testing.assert_equal(one.costs(X[:8], TASK), first)
    again = family.used_for(space, tmp_path).costs(X, TASK)
    assert len(built) == len(X) == 12
    np.testing.assert_array_equal(again["macs"][:8], first["macs"])
    kept = json.loads((tmp_path / "counted.json").read_text())
    # what cannot be read, or is of other code, is counted again
    for damaged in ("{", json.dumps({**kept, "code": "0"}), json.dumps({**kept, "counts": {"a": ["x"]}})):
        (tmp_path / "counted.json").write_text(damaged)
        built.clear()
        np.testing.assert_equal(family.used_for(space, tmp_path).costs(X, TASK), again)
        assert len(built) == 12


def test_it_is_found_again_by_its_name(written: Callable[..., str]) -> None:
    assert name_of(family_of(build)) == f"{__name__}:build" or name_of(family_of(build)).endswith(
        "test_function.py:build"
    )
    name = written("def build(width, *, channels, classes):\n    return nn.Sequential(nn.Flatten())\n")
    family = get_family(name)
    assert name_of(family) == family.name == name
    assert get_family(family.name).code == family.code != ""


def test_its_code_is_its_file_but_for_layout(written: Callable[..., str]) -> None:
    code = """
    WIDE = {}
    def build(width: int, *, channels, classes):  {}
        return nn.Linear(width, WIDE)
    """
    first = get_family(written(code.format(1, ""))).code
    assert get_family(written(code.format(1, "# a comment"))).code == first
    assert get_family(written(code.format(2, ""))).code != first


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def build(width, classes): ...", "expected the arguments channels and classes, got no channels"),
        ("build = 3", "net.py:build: expected one of its functions, of which it has none"),
        ("def other(): ...", "net.py:build: expected one of its functions, other"),
        ("1 / 0", "ZeroDivisionError: division by zero: expected a file that runs"),
        ("def build(:", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit: 3: expected a file that runs"),
        (
            "def build(width, /, channels, classes): ...",
            "argument width .*: expected one that can be given by its",
        ),
        (
            "from typing import Literal\ndef build(width: Literal[2, None], *, channels, classes): ...",
            "argument width .*: expected whole numbers, texts, True or False as its values, got 2, None",
        ),
        ("def build(width: NoSuch, channels, classes): ...", "name 'NoSuch' is not defined"),
    ],
)
def test_functions_that_cannot_be_used(written: Callable[..., str], code: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message) as error:
        get_family(written(code))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("return nn.Linear(width, classes)", r"function .*net.py:build with width=2, images \(3, 12, 12\): "),
        ("raise KeyError('a')", "KeyError: 'a'"),
        ("return 3", "expected a torch.nn.Module, got int"),
        ("return nn.Flatten()", r"expected scores of shape \(1, 4\) for one image, got \(1, 432\)"),
    ],
)
def test_networks_that_cannot_be_used(written: Callable[..., str], code: str, message: str) -> None:
    family = get_family(written(f"def build(width, *, channels, classes):\n        {code}\n"))
    space = family.space(TASK, {"width": (2,)})
    used = family.used_for(space, None)
    (reason,) = used.refused(space.candidates(), TASK).values()
    assert re.search(message, reason) and "\n" not in reason
    assert np.isnan(used.costs(space.candidates(), TASK)["macs"]).all()


def test_values_that_nobody_gave(written: Callable[..., str]) -> None:
    family = get_family(written("def build(width, deep=2, *, channels, classes): ..."))
    with pytest.raises(BadInputError, match=r"argument width of function .*--width 8,16"):
        family.space(TASK)
    with pytest.raises(BadInputError, match="parameter: expected one of width, deep, got depth"):
        family.space(TASK, {"depth": (1,)})
    assert family.space(TASK, {"width": (4, 2)}).names == ("width",)
    none = get_family(written("def build(*, channels, classes): ..."))
    with pytest.raises(BadInputError, match="expected an argument with values"):
        none.space(TASK)


def test_a_function_within_another_has_no_name() -> None:
    def inner(width: Literal[1, 2], *, channels: int, classes: int) -> nn.Module:
        return nn.Flatten()

    with pytest.raises(BadInputError, match="one at the top of a file"):
        family_of(inner)


def test_options_are_for_families_that_have_some() -> None:
    assert get_family("convpool?dropout=0.25").build({"convs": 1, "k1": 3, "f1": 2, "pool": 2, "fc": 4}, TASK)
    assert name_of(get_family("convpool?dropout=0.5")) == "convpool"
    assert name_of(get_family("convpool?dropout=0.25")) == "convpool?dropout=0.25"
    for wrong in (
        "convpool?drop=1",
        "convpool?dropout=x",
        "plain?dropout=1",
        "convpool?dropout=0.1&dropout=0.2",
    ):
        with pytest.raises(BadInputError, match="option '"):
            get_family(wrong)
    with pytest.raises(BadInputError, match="the arguments of a function are its parameters"):
        get_family(f"{Path(__file__)}:build?width=2")
    assert isinstance(get_family(f"{Path(__file__)}:build"), FunctionFamily)
    assert any(name.startswith("cpmodel_own_") and name.endswith(Path(__file__).stem) for name in sys.modules)


def test_values_are_those_of_the_annotation(written: Callable[..., str]) -> None:
    family = get_family(written("def build(width: int, rate: float, deep: bool, *, channels, classes): ..."))
    given = {"width": (4, 2), "rate": (1, 0.5), "deep": ("True",)}
    space = family.space(TASK, given)
    assert space["rate"].values == (0.5, 1) and space["deep"].values == (True,)
    assert space.parse("width=2,rate=1,deep=True") == {"width": 2, "rate": 1, "deep": True}
    for name, wrong in (("width", (2.5,)), ("width", ("a", 2)), ("rate", ("a",)), ("width", (True,))):
        with pytest.raises(BadInputError, match=f"parameter {name}: expected (whole )?numbers, got"):
            family.space(TASK, {**given, name: wrong})
    with pytest.raises(BadInputError, match="parameter deep: expected one of False True, got yes"):
        family.space(TASK, {**given, "deep": ("yes",)})


def test_a_class_of_networks_is_a_function(written: Callable[..., str]) -> None:
    code = """
    class Net(nn.Sequential):
        def __init__(self, width: int, *, channels: int, classes: int) -> None:
            super().__init__(nn.Flatten(), nn.Linear(channels * 144, width), nn.Linear(width, classes))
    """
    family = get_family(written(code, "Net"))
    space = family.space(TASK, {"width": (2, 3)})
    assert family.used_for(space, None).costs([[3]], TASK)["params"] == 3 * 433 + 16


def test_some_networks_cannot_be_built(written: Callable[..., str]) -> None:
    code = """
    def build(width: int, *, channels, classes):
        if width == 3:
            raise ValueError("no three")
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * 144, classes))
    """
    family = get_family(written(code))
    space = family.space(TASK, {"width": (2, 3, 4)})
    used = family.used_for(space, None)
    assert np.isnan(used.costs(space.candidates(), TASK)["macs"]).tolist() == [False, True, False]
    assert list(used.refused(space.candidates(), TASK)) == [1]


def test_one_that_looks_at_numbers_is_counted_too(written: Callable[..., str]) -> None:
    code = """
    import torch
    def build(width: int, *, channels, classes):
        first = nn.Linear(channels * 144, width)
        assert float(first.weight.sum()) != 0
        widths = [int(w) for w in torch.linspace(width, classes, 2)]
        return nn.Sequential(nn.Flatten(), first, nn.Linear(*widths))
    """
    family = get_family(written(code))
    space = family.space(TASK, {"width": (2, 5)})
    found = family.used_for(space, None).costs(space.candidates(), TASK)["params"]
    assert found.tolist() == [w * 433 + 4 * w + 4 for w in (2, 5)]


def test_processes_count_the_same(monkeypatch: pytest.MonkeyPatch, written: Callable[..., str]) -> None:
    import cpmodel.families.function as module

    code = """
    import os, sys
    def build(width: int, act: str = "relu", *, channels, classes):
        print("built")
        if width == 7 and "OMP_ENDS" in os.environ and "cpmodel.families.counter" in sys.orig_argv:
            os._exit(1)
        bend = nn.ReLU() if act == "relu" else nn.GELU()
        return nn.Sequential(nn.Conv2d(channels, width, 3), bend, nn.Flatten(), nn.Linear(width * 100, 4))
    """
    family = get_family(written(code))
    task = Task(12, 12, 1, 4)
    space = family.space(task, {"width": range(1, 31), "act": ("relu", "gelu")})
    X, heard = space.candidates(), list[int]()
    alone = family.used_for(space, None).costs(X, task)
    monkeypatch.setattr(module, "_ALONE_S", 0.0)
    monkeypatch.setattr(module, "_LONG_S", 0.0)
    monkeypatch.setattr(module, "available_cores", lambda: 1)
    monkeypatch.setenv("OMP_ENDS", "1")  # a process that dies leaves its block to this one
    found = family.used_for(space, None).counted(X, task, lambda done, of: heard.append(done))
    np.testing.assert_equal(found, alone)
    assert heard == list(range(1, 61))


def test_what_it_imports_from_beside_it_is_its_code(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    files = {
        "pkg/__init__.py": "",
        "pkg/net.py": "import numpy\nfrom .parts import WIDE\nimport below_all\n"
        "def build(width, *, channels, classes): return WIDE + below_all.MORE\n",
        "pkg/parts.py": "WIDE = 1",
        "below_all.py": "MORE = 2",
        "other.py": "MORE = 3",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    name = f"{tmp_path}/pkg/net.py:build"
    family = get_family(name)
    assert family.name == name
    for changed, counts in (("pkg/parts.py", True), ("below_all.py", True), ("other.py", False)):
        (tmp_path / changed).write_text("MORE = WIDE = 4  # changed")
        assert (get_family(name).code != family.code) == counts, changed
        (tmp_path / changed).write_text(files[changed])
        assert get_family(name).code == family.code
    # a file of the same name, imported from elsewhere, is not taken for it
    beside = tmp_path / "elsewhere"
    beside.mkdir()
    (beside / "below_all.py").write_text("MORE = 2")
    (beside / "net.py").write_text("import below_all\ndef build(width, *, channels, classes): ...\n")
    with pytest.raises(BadInputError, match=r"another is imported as its .*elsewhere.below_all\.py"):
        get_family(f"{beside}/net.py:build")


def test_a_module_of_the_current_folder_is_its_file(
    written: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = written("def build(width, *, channels, classes): ...")
    monkeypatch.chdir(Path(name).parent)
    assert get_family("net:build").name == get_family("./net.py:build").name == name
    with pytest.raises(
        BadInputError, match=r"family net\.py: expected one of what it defines, net\.py:FUNCTION"
    ):
        get_family("net.py")
    assert absolute("plain") == "plain" and absolute("collections:deque") == "collections:deque"


def test_a_file_opens_no_study_while_it_is_imported(written: Callable[..., str]) -> None:
    code = """
    from cpmodel.families import family_of
    def build(width, *, channels, classes): ...
    family_of(build)
    """
    with pytest.raises(BadInputError, match="expected a file that opens no study while it is imported"):
        get_family(written(code))

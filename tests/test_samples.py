from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cpmodel.errors import BadInputError
from cpmodel.records.sample import Sample, Start, identity
from cpmodel.samples import COLUMNS, Samples, read_csv
from cpmodel.space import Condition, Parameter, Space

PLAIN = Space((Parameter("f", (2, 8, 64)), Parameter("k", (3, 5))))
MIXED = Space(
    (
        Parameter("l", (1, 2)),
        Parameter("pool", ("none", "max", "NA"), categorical=True, when=Condition("l", (2,))),
        Parameter("group", (4, 1, 2), categorical=True, when=Condition("pool", ("max",))),
        Parameter("rate", (0.25, 0.5), when=Condition("l", (2,))),
        Parameter("norm", (False, True), categorical=True),
    )
)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=12)


def one(space: Space, key: str, precision: float | None = 0.5, **fields: object) -> Sample:
    return Sample(space.parse(key), fields.pop("seed", 0), precision, **fields)  # type: ignore[arg-type]


def written(tmp_path: Path, *lines: str, newline: str = "\n") -> Path:
    path = tmp_path / "samples.csv"
    path.write_bytes((newline.join(lines) + newline).encode())
    return path


def again(tmp_path: Path, table: Samples) -> Samples:
    table.write_csv(tmp_path / "again.csv")
    return read_csv(tmp_path / "again.csv", space=table.space, unit="fraction")


def same(one: Samples, other: Samples) -> None:
    assert one.space == other.space
    assert list(one.frame.columns) == list(other.frame.columns)
    np.testing.assert_array_equal(one.X, other.X)
    pd.testing.assert_frame_equal(one.frame, other.frame, check_dtype=False, check_exact=True)


# one's own tables


def test_a_table_of_samples() -> None:
    table = Samples.of(
        PLAIN,
        [
            one(PLAIN, "f=8,k=3", 0.75, metrics={"top5": 0.9}, curve=(0.5, 0.75)),
            one(PLAIN, "f=64,k=5", None, seed=3, status="failed", reason="out of memory"),
        ],
    )
    assert tuple(table.frame.columns) == ("f", "k", *COLUMNS, "metric_top5")
    np.testing.assert_array_equal(table.X, [[8, 3], [64, 5]])
    np.testing.assert_array_equal(table.precision, [0.75, np.nan])
    assert table.keys == ["f=8,k=3", "f=64,k=5"]
    assert (len(table), table.failed, len(table.usable)) == (2, 1, 1)
    assert table.usable.keys == ["f=8,k=3"]
    assert json.loads(table.frame["curve"][0]) == [0.5, 0.75]
    assert table.cost_names == []


def test_no_samples_are_a_table_too(tmp_path: Path) -> None:
    table = Samples.of(MIXED, [])
    assert len(table) == len(table.X) == len(table.usable) == table.failed == 0
    assert table.X.shape == (0, 5)
    table.write_csv(tmp_path / "empty.csv")
    with pytest.raises(BadInputError, match="no rows"):
        read_csv(tmp_path / "empty.csv", space=MIXED)


def test_categories_and_inactive_parameters(tmp_path: Path) -> None:
    configurations = MIXED.configurations(MIXED.candidates())
    table = Samples.of(MIXED, [Sample(c, 0, 0.5) for c in configurations])
    np.testing.assert_array_equal(table.X, MIXED.candidates())
    assert table.keys == [MIXED.key(c) for c in configurations]
    same(again(tmp_path, table), table)
    # one row alone has other column types than all of them together
    for configuration in configurations:
        single = Samples.of(MIXED, [Sample(configuration, 0, 0.5)])
        assert again(tmp_path, single).keys == single.keys == [MIXED.key(configuration)]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.builds(
            Sample,
            st.sampled_from(MIXED.configurations(MIXED.candidates())),
            st.integers(-(2**40), 2**40),
            st.floats(0, 1),
            metrics=st.dictionaries(st.sampled_from(["top5", "nll"]), st.floats(0, 1e6)),
            curve=st.lists(st.floats(0, 1).map(lambda p: round(p, 6)), max_size=3).map(tuple),
            train_s=st.floats(0, 1e6),
            reason=TEXT,
            dataset=TEXT,
            data=st.sampled_from(["012345678901", "12345678e901", "1e5", "nan", "abcdef012345"]),
            plan=TEXT,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_table_survives_its_file(tmp_path_factory: pytest.TempPathFactory, samples: list[Sample]) -> None:
    table = Samples.of(MIXED, samples)
    same(again(tmp_path_factory.mktemp("samples"), table), table)


def test_failed_samples_survive_their_file(tmp_path: Path) -> None:
    table = Samples.of(
        PLAIN,
        [
            one(PLAIN, "f=8,k=3", 0.1 + 0.2),
            one(PLAIN, "f=8,k=5", None, status="failed", reason='a, "b"\nc'),
        ],
    )
    found = again(tmp_path, table)
    same(found, table)
    assert found.failed == 1


def test_identity_is_what_decides_a_training() -> None:
    base = {"family": "plain", "data": "d", "recipe": "r"}
    known = identity({"f": 8, "k": 3}, 0, **base)
    assert identity({"k": 3, "f": 8}, 0, **base) == known
    others = [
        identity({"f": 8, "k": 5}, 0, **base),
        identity({"f": 3, "k": 8}, 0, **base),
        identity({"f": 8}, 0, **base),
        identity({"f": 8, "k": 3}, 1, **base),
        identity({"f": 8, "k": 3}, 0, start=Start("pruned", known), **base),
        identity({"f": 8, "k": 3}, 0, start=Start("pruned", "other"), **base),
        identity({"f": 8, "k": 3}, 0, start=Start("ticket", known), **base),
        *(identity({"f": 8, "k": 3}, 0, **{**base, name: "other"}) for name in base),
    ]
    assert len({known, *others}) == len(others) + 1
    assert identity({"f": 8, "k": 3}, 0, start=Start("fresh"), **base) == known


# anybody's tables


def test_the_least_that_is_needed(tmp_path: Path) -> None:
    table = read_csv(written(tmp_path, "f,k,precision", "8,3,0.9", "64,3,0.95", "8,3,0.91"))
    assert table.space.names == ("f", "k")
    assert [p.values for p in table.space.parameters] == [(8, 64), (3,)]
    assert table.frame["seed"].tolist() == [0, 0, 1]  # repeats of a configuration count up
    assert set(table.frame["status"]) == {"complete"}
    assert set(table.frame["split"]) == {"validation"}
    assert table.notes == ("column 'precision' read as fractions (they run from 0.9 to 0.95)",)


def test_names_of_one_s_own(tmp_path: Path) -> None:
    path = written(
        tmp_path, "net,width,acc,run,macs,note", "a, 0.5 ,91.5,7,1e6,x", "b,1,94,8,,", "a,0.25,88,7,4,"
    )
    table = read_csv(path, parameters=["net", "width"], precision="acc", seed="run")
    assert table.space["net"].categorical
    assert table.space["net"].values == ("a", "b")
    assert table.space["width"].values == (0.25, 0.5, 1)
    assert table.precision.tolist() == [0.915, 0.94, 0.88]
    assert table.frame["seed"].tolist() == [7, 8, 7]
    assert table.cost_names == ["macs"]
    np.testing.assert_array_equal(table.cost("macs"), [1e6, np.nan, 4])
    for wrong in ("note", "params"):
        with pytest.raises(BadInputError, match=f"complexity: expected one of macs, got {wrong}"):
            table.cost(wrong)
    assert "percentages (they run from 88 to 94)" in table.notes[0]


@pytest.mark.parametrize("percent", [0.07, 0.29, 7.0, 57.0, 58.0, 94.3, 100.0])
def test_percent_is_exactly_a_hundredth(tmp_path: Path, percent: float) -> None:
    path = written(tmp_path, "f,precision", f"1,{percent}", "2,50", "3,51")
    told = read_csv(path, unit="percent")
    assert (told.precision.tolist(), told.notes) == ([percent / 100, 0.5, 0.51], ())
    if percent > 1:
        assert read_csv(path).precision.tolist() == told.precision.tolist()
    else:  # is that seven hundredths of a percent, or seven percent?
        with pytest.raises(BadInputError, match=f"line 2: expected a percentage above 1.*got '{percent}'"):
            read_csv(path)


def test_percent_or_fraction_is_decided_once(tmp_path: Path) -> None:
    assert read_csv(written(tmp_path, "f,precision", "1,1", "2,0")).precision.tolist() == [1, 0]
    assert read_csv(written(tmp_path, "f,precision", "1,94")).precision.tolist() == [0.94]
    path = written(tmp_path, "f,precision", "1,0.5", "2,0.9")
    assert read_csv(path, unit="percent").precision.tolist() == [0.5 / 100, 0.9 / 100]
    with pytest.raises(BadInputError, match=r"line 3: expected a fraction in \[0, 1\].*got '94'"):
        read_csv(written(tmp_path, "f,precision", "1,0.9", "2,94", "3,0.8"))
    with pytest.raises(BadInputError, match=r"line 2: expected a fraction"):
        read_csv(written(tmp_path, "f,precision", "1,94"), unit="fraction")
    with pytest.raises(BadInputError, match="unit: expected auto, fraction or percent, got permille"):
        read_csv(path, unit="permille")  # type: ignore[arg-type]


def test_files_as_spreadsheets_write_them(tmp_path: Path) -> None:
    expected = read_csv(written(tmp_path, "f,k,precision", "8,3,0.9", "64,5,0.95"))
    for lines, newline in (
        (("\ufefff,k,precision", "8,3,0.9", "64,5,0.95"), "\n"),
        (("f,k,precision", "8,3,0.9", "64,5,0.95"), "\r\n"),
        (('"f", "k", precision', "8.0, 3,0.90", '"64",5,9.5e-1'), "\n"),
        (("f,k,precision", "", "8,3,0.9", ",,", "64,5,0.95", ""), "\n"),
        ((",f,k,precision", "0,8,3,0.9", "1,64,5,0.95"), "\n"),  # an index without a name
    ):
        same(read_csv(written(tmp_path, *lines, newline=newline)), expected)


def test_given_space(tmp_path: Path) -> None:
    table = read_csv(written(tmp_path, "k,f,precision", "3,8,0.9"), space=PLAIN)
    assert table.space is PLAIN
    assert table.keys == ["f=8,k=3"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "empty file: expected a header"),
        ([""], "empty file"),
        (["f,k,precision"], "no rows: expected at least one sample"),
        (["8,3,0.9"], "parameters: expected their columns' names"),
        (["f,k,acc", "8,3,0.9"], "column 'precision' is missing: expected it among f, k, acc"),
        (["f;k;precision", "8;3;0,9"], "not a CSV table: expected commas between its cells, got semicolons"),
        (["f,f,precision", "8,3,0.9"], "column 'f': expected it once, got twice"),
        (["f,precision,precision", "8,3,0.9"], "column 'precision': expected it once"),
        (["f,k,precision", "8,3,0.9", "64,5"], "line 3: expected 3 cells as in the header, got 2"),
        (["f,k,precision", "8,3,0.9", "", "64,5,0.9,1"], "line 4: expected 3 cells as in the header, got 4"),
        (["f,k,precision", "8,3,"], "column 'precision', line 2: expected a number, got none"),
        (["f,k,precision", "8,3,nan"], "column 'precision', line 2: expected a number, got 'nan'"),
        (["f,k,precision", "8,3,inf"], "column 'precision', line 2: expected a finite number, got 'inf'"),
        (["f,k,precision", "8,3,1e999"], "column 'precision', line 2: expected a finite number"),
        (["f,k,precision", "8,3,94%"], "column 'precision', line 2: expected a finite number, got '94%'"),
        (["f,k,precision", "8,3,-0.1"], r"column 'precision', line 2: expected a fraction.*got '-0.1'"),
        (["f,k,precision", "8,3,94", "8,5,101"], r"line 3: expected a percent in \[0, 100\].*got '101'"),
        (["f,k,precision", ",3,0.9"], "column 'f', line 2: expected a value, got none"),
        (["f,k,precision", "8,3,0.9", "2,5,0.8", "x,5,0.8"], "column 'f', line 4.*finite number, got 'x'"),
        (["f,k,precision", "8,3,0.9", "nan,5,0.8", "2,5,0.8"], "column 'f', line 3: expected a value"),
        (
            ["f,k,precision", "8,3,0.9", "inf,5,0.8"],
            "column 'f', line 3: expected a finite number, got 'inf'",
        ),
        (["f,k,precision", "8,3,0.9", "1_6,5,0.8", "2,5,0.8"], "column 'f', line 3.*got '1_6'"),
        (["f,k,precision,seed", "8,3,0.9,1.5"], "column 'seed', line 2: expected a whole number, got '1.5'"),
        (["f,k,precision,seed", "8,3,0.9,"], "column 'seed', line 2: expected a whole number, got none"),
        (["f,k,precision,seed", "8,3,0.9,1e300"], "column 'seed', line 2: expected a whole number"),
        (["f,k,precision,metric_top5", "8,3,0.9,high"], "column 'metric_top5', line 2.*got 'high'"),
        (["f,k,precision,train_s", "8,3,0.9,1 min"], "column 'train_s', line 2.*got '1 min'"),
        (["f,k,precision,status", "8,3,0.9,ok"], "column 'status', line 2: expected complete, stopped or fa"),
        (["f,k,precision,status", "8,3,,failed"], "column 'precision': expected at least one precision"),
        (["f,k,precision", '8,3,"0.9'], "not a CSV table"),
        (["f,k,precision,note", '8,3,0.9,"a', 'b"', "8,3,x,"], "column 'precision', line 4"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    path = written(tmp_path, *lines)
    with pytest.raises(BadInputError, match=message) as caught:
        read_csv(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["f,k,precision", "8,3,0.9", "9,3,0.9"], "line 3: parameter f: expected one of 2 8 64, got 9"),
        (["f,k,precision", "eight,3,0.9"], "column 'f', line 2: expected a finite number, got 'eight'"),
        (["f,k,precision", "8,,0.9"], "line 2: configuration: expected a value for k"),
        (["f,precision", "8,0.9"], "column 'k' is missing"),
    ],
)
def test_rows_outside_a_given_space(tmp_path: Path, lines: list[str], message: str) -> None:
    path = written(tmp_path, *lines)
    with pytest.raises(BadInputError, match=message) as caught:
        read_csv(path, space=PLAIN)
    assert str(caught.value).startswith(str(path))


def test_rows_outside_a_space_with_conditions(tmp_path: Path) -> None:
    header = "l,pool,group,rate,norm,precision"
    for row, message in (
        ("1,max,,,True,0.5", "line 2: configuration: expected no pool"),
        ("2,sum,,0.5,True,0.5", "column 'pool', line 2: expected one of none max NA, got 'sum'"),
        ("2,max,,0.5,True,0.5", "line 2: configuration: expected a value for group"),
        ("1,,,,yes,0.5", "column 'norm', line 2: expected one of False True, got 'yes'"),
    ):
        with pytest.raises(BadInputError, match=message):
            read_csv(written(tmp_path, header, row), space=MIXED)


def test_columns_with_two_meanings(tmp_path: Path) -> None:
    path = written(tmp_path, "f,seed,precision,acc", "8,1,0.9,0.8")
    samples = read_csv(path, precision="acc")
    assert samples.precision.tolist() == [0.8]
    assert samples.notes[-1] == "column 'precision' left out: precision is read from 'acc'"
    with pytest.raises(BadInputError, match="column 'try' is missing"):
        read_csv(path, seed="try")
    with pytest.raises(BadInputError, match="column 'seed': expected a parameter"):
        read_csv(path, parameters=["f", "seed"])
    with pytest.raises(BadInputError, match="column 'precision': expected a parameter"):
        read_csv(path, parameters=["f", "precision"])
    with pytest.raises(BadInputError, match="column 'f': expected a parameter"):
        read_csv(path, parameters=["f"], precision="f")
    with pytest.raises(BadInputError, match="different names"):
        read_csv(path, parameters=["f", "f"])


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(BadInputError, match="cannot read"):
            read_csv(path)
    for content in (b"\xff\xfef\x00,\x00", b"\x89PNG\r\n\x1a\n\xff", b'f,precision\n"' + b"x" * 200_000):
        (tmp_path / "odd.csv").write_bytes(content)
        with pytest.raises(BadInputError) as caught:
            read_csv(tmp_path / "odd.csv")
        assert "\n" not in str(caught.value)


def test_one_row_is_enough_to_read(tmp_path: Path) -> None:
    assert len(read_csv(written(tmp_path, "f,precision", "8,0.9"))) == 1


CELL = st.one_of(
    st.sampled_from(
        [
            "f",
            "k",
            "precision",
            "seed",
            "status",
            "curve",
            "1",
            "0.5",
            "8",
            "99",
            "nan",
            "inf",
            "-inf",
            "",
            " ",
            "1e308",
            "1e999",
            "-0.0",
            "9" * 400,
            "1_0",
            "0x10",
            "True",
            "NA",
            '"',
            "'",
            ";",
            "\x00",
            "é",
            "failed",
            "٣",
        ]
    ),
    st.text(max_size=4),
)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.sampled_from(["f", "k", "precision", "seed", "status", "metric_a", "train_s", "macs"]) | CELL
    ),
    st.lists(st.lists(CELL, max_size=6), max_size=5),
    st.sampled_from([",", ",", ",", ";", "\t"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
@example(["f", "precision"], [["9" * 400, "0.5"]], ",", "\n")
@example(["f", "precision", "seed"], [["1", "0.5", "9" * 30]], ",", "\n")
@example(["f", "precision"], [["a,b", "0.5"]], ",", "\n")
def test_junk_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory,
    header: list[str],
    rows: list[list[str]],
    comma: str,
    newline: str,
) -> None:
    path = tmp_path_factory.mktemp("junk") / "junk.csv"
    fitted = [(row * len(header) + [""] * len(header))[: len(header)] for row in rows]
    for table in (rows, fitted):
        text = newline.join(comma.join(row) for row in [header, *table])
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        for space in (None, PLAIN, MIXED):
            try:
                found = read_csv(path, space=space)
            except BadInputError as error:
                assert len(str(error).splitlines()) == 1
            else:
                assert 0 < len(found) <= len(table)
                assert found.space.contains(found.X).all()
                usable = found.usable.precision
                assert ((usable >= 0) & (usable <= 1)).all()


@settings(max_examples=30, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("junk") / "junk.csv"
    path.write_bytes(b"f,precision\n" + content)
    try:
        table = read_csv(path)
    except BadInputError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert not math.isnan(table.precision.sum())


def test_measured_leaves_out_what_was_only_foreseen() -> None:
    space = Space((Parameter("f", (1, 2, 3)),))
    rows = [
        Sample({"f": 1}, 0, 0.5),
        Sample({"f": 2}, 0, 0.6, status="stopped", precision_sd=0.01),
        Sample({"f": 3}, 0, None, status="failed"),
    ]
    samples = Samples.of(space, rows)
    assert samples.usable.keys == ["f=1", "f=2"]
    assert samples.measured.keys == ["f=1"]

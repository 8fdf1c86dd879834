"""The costs table: what it refuses, merges and finds; the count on a built network."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpmodel.cost import CONDITIONS, LATENCY, Conditions, Cost, relative
from cpmodel.costs.table import MEASURED, CostsTable, Measurement, read_csv
from cpmodel.errors import BadInputError
from cpmodel.space import Condition, Configuration, Parameter, Space

SPACE = Space((Parameter("f", (2, 8, 64)), Parameter("s", (8, 28))))
# pooling exists only where there is a second layer; its kind is a category, its rate no whole number
MIXED = Space(
    (
        Parameter("l", (1, 2)),
        Parameter("pool", ("max", "mean"), categorical=True, when=Condition("l", (2,))),
        Parameter("rate", (0.25, 0.5), when=Condition("l", (2,))),
    )
)
PHONE = Conditions("Phone 7", "tflite 2.1", "int8", 1, 4)
HERE = Conditions()
ON_PHONE, ON_HERE = (Cost.called(LATENCY, "measured", conditions) for conditions in (PHONE, HERE))
OLDER = "f,s,device,backend,dtype,batch,threads,latency_s,latency_spread_s,repeats,measured_at"
HEADER = "f,s,device,backend,dtype,batch,threads,extra,cost,value,spread,repeats,measured_at"
ROW = "8,28,Phone 7,tflite 2.1,int8,1,4,0.0125,0.001,30,2026-01-31T12:00:00+00:00"


def table(*measurements: Measurement, space: Space = SPACE) -> CostsTable:
    return CostsTable.of(space, measurements)


def one(
    configuration: Configuration, seconds: float, at: str = "", conditions: Conditions = PHONE
) -> Measurement:
    return Measurement(configuration, conditions, seconds, measured_at=at)


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "costs.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def same(first: CostsTable, second: CostsTable) -> bool:
    return first.space == second.space and first.rows == second.rows


def test_conditions_say_what_they_are() -> None:
    assert str(PHONE) == "Phone 7, tflite 2.1, int8, batch 1, 4 threads"
    assert "core" in HERE.device
    assert HERE.backend.startswith("pytorch ")
    assert Conditions() == HERE


@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"threads": -1}, {"device": " "}, {"dtype": ""}, {"batch": 2.5}]
)
def test_conditions_refuse(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInputError, match="conditions: " + next(iter(wrong))):
        Conditions(**wrong)  # type: ignore[arg-type]


def test_file_gives_back_the_table(tmp_path: Path) -> None:
    first = table(
        Measurement({"f": 8, "s": 28}, PHONE, 0.1 + 0.2, 1 / 3, 30, "2026-01-31T12:00:00+00:00"),
        one({"f": 2, "s": 8}, 1e-7, conditions=HERE),
    )
    first.write_csv(tmp_path / "costs.csv")
    assert same(read_csv(tmp_path / "costs.csv", SPACE), first)
    header, row, _ = (tmp_path / "costs.csv").read_text().splitlines()
    assert header == HEADER == ",".join((*SPACE.names, *CONDITIONS, *MEASURED))
    assert row.startswith(
        "8,28,Phone 7,tflite 2.1,int8,1,4,,latency_s,0.30000000000000004,0.3333333333333333,30,2026-"
    )


def test_file_with_categories_and_inactive_parameters(tmp_path: Path) -> None:
    first = table(one({"l": 1}, 0.5), one({"l": 2, "pool": "mean", "rate": 0.25}, 0.75), space=MIXED)
    first.write_csv(tmp_path / "costs.csv")
    again = read_csv(tmp_path / "costs.csv", MIXED)
    assert same(again, first)
    np.testing.assert_array_equal(again.X, [[1, np.nan, np.nan], [2, 1, 0.25]])
    np.testing.assert_array_equal(again.lookup(MIXED.matrix([{"l": 1}]), ON_PHONE), [0.5])


@given(
    st.lists(
        st.tuples(
            st.sampled_from([2, 8, 64]), st.sampled_from([8, 28]), st.floats(1e-9, 1e3), st.integers(1, 3)
        ),
        max_size=12,
        unique_by=lambda row: (row[0], row[1], row[3]),
    )
)
def test_any_table_survives_its_file(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, float, int]]
) -> None:
    path = tmp_path_factory.mktemp("costs") / "costs.csv"
    first = table(
        *(
            one({"f": f, "s": s}, t, conditions=Conditions('A, "B"', "b", "c", batch))
            for f, s, t, batch in rows
        )
    )
    first.write_csv(path)
    if rows:
        assert same(read_csv(path, SPACE), first)
    else:
        with pytest.raises(BadInputError, match="no rows"):
            read_csv(path, SPACE)


def test_file_of_the_least_that_is_needed(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "\ufefflatency_s, note, threads, batch, dtype, backend, device, s, f",
        "0.5,by hand,1,1,int8,tflite 2.1,42,28,8.0",
        "",
    )
    found = read_csv(path, SPACE)
    (row,) = found.rows
    assert row.conditions == Conditions("42", "tflite 2.1", "int8", 1, 1)
    assert row.configuration == {"f": 8, "s": 28}
    assert math.isnan(row.spread) and row.repeats is None and row.measured_at == ""
    assert list(found.frame.columns) == HEADER.split(",")
    assert found.frame["f"].tolist() == [8]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([""], "empty file"),
        ([OLDER], "no rows"),
        ([OLDER.replace("f,s,", "f,"), ROW.replace("8,28", "8")], "column 's' is missing"),
        ([OLDER.replace("latency_s,", "seconds,"), ROW], "column 'cost' is missing"),
        ([OLDER.replace("dtype", "device"), ROW], "column 'device': expected it once, got twice"),
        (
            [OLDER, ROW.replace("8,28", "eight,28")],
            "column 'f', line 2: expected a finite number, got 'eight'",
        ),
        ([OLDER, ROW.replace("0.0125", "fast")], "column 'latency_s', line 2.*'fast'"),
        ([OLDER, ROW.replace("0.0125", "nan")], "column 'latency_s', line 2.*'nan'"),
        ([OLDER, ROW.replace("0.0125", "inf")], "column 'latency_s', line 2.*'inf'"),
        ([OLDER, ROW.replace("0.0125", "-1")], "column 'latency_s', line 2.*above 0.*'-1'"),
        ([OLDER, ROW.replace("0.0125", "0")], "column 'latency_s', line 2.*above 0.*'0'"),
        ([OLDER, ROW.replace("0.0125", "")], "column 'latency_s', line 2.*got none"),
        ([OLDER, ROW.replace("8,28", ",28")], "column 'f', line 2: expected a value, got none"),
        ([OLDER, ROW.replace("8,28", "nan,28")], "column 'f', line 2.*'nan'"),
        ([OLDER, ROW.replace("0.001", "-0.001")], "column 'latency_spread_s', line 2.*0 or more"),
        ([OLDER, ROW.replace(",30,", ",2.5,")], "column 'repeats', line 2.*whole number"),
        ([OLDER, ROW.replace("int8,1,", "int8,0,")], "column 'batch', line 2.*'0'"),
        ([OLDER, ROW.replace("int8,1,", "int8,,")], "column 'batch', line 2.*none"),
        ([OLDER, ROW.replace("Phone 7", " ")], "column 'device', line 2: expected a text"),
        ([OLDER, ROW.replace("2026-01-31", "yesterday")], "column 'measured_at', line 2.*'yesterday"),
        ([OLDER, ROW + ",1"], "line 2: expected 11 cells as in the header, got 12"),
        ([OLDER, "8,28,Pho"], "line 2: expected 11 cells as in the header, got 3"),
        ([OLDER, ROW, ROW.replace("0.0125", "7")], "line 3: expected one row.*the same as line 2"),
        ([OLDER, ROW, ROW.replace("8,28", "8.0,28")], "line 3.*the same as line 2"),
        ([OLDER, ROW, ROW.replace("Phone 7", '"Phone')], "not a CSV table"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, lines: list[str], message: str) -> None:
    path = written(tmp_path, *lines)
    with pytest.raises(BadInputError, match=message) as caught:
        read_csv(path, SPACE)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="cannot read"):
        read_csv(tmp_path / "nowhere.csv", SPACE)
    with pytest.raises(BadInputError, match="cannot read"):
        read_csv(tmp_path, SPACE)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(BadInputError, match="not a CSV table"):
        read_csv(tmp_path / "binary.csv", SPACE)


def test_measurements_are_checked_too() -> None:
    with pytest.raises(BadInputError, match="parameter f"):
        table(one({"f": 3, "s": 8}, 0.5))
    with pytest.raises(BadInputError, match="column 'value', measurement 2"):
        table(one({"f": 2, "s": 8}, 0.5), one({"f": 8, "s": 8}, math.nan))


def test_merging_keeps_the_newest() -> None:
    t = {"f": 8, "s": 8}
    old = one(t, 1.0, "2026-01-31T12:00:00+00:00")
    new = one(t, 2.0, "2026-01-31T11:30:00-01:00")  # half past twelve
    unknown = one(t, 3.0)
    other = one({"f": 2, "s": 8}, 4.0)
    assert table(old, new).values.tolist() == [2.0]
    assert table(old).merged(table(new)).values.tolist() == [2.0]
    assert table(new, other).merged(table(old)).values.tolist() == [2.0, 4.0]
    assert table(new).merged(table(unknown)).values.tolist() == [2.0]
    assert table(unknown).merged(table(one(t, 5.0))).values.tolist() == [5.0]
    assert table(old).merged(table(one(t, 6.0, old.measured_at))).values.tolist() == [6.0]
    assert len(table(old).merged(table(one(t, 7.0, conditions=HERE)))) == 2
    assert same(table().merged(table(old)), table(old))
    assert same(table(old).merged(table()), table(old))


def test_finding_rows() -> None:
    costs = table(
        one({"f": 8, "s": 8}, 1.0), one({"f": 8, "s": 28}, 2.0), one({"f": 8, "s": 8}, 3.0, conditions=HERE)
    )
    assert costs.kinds == (ON_PHONE, ON_HERE)
    assert costs.matching(ON_PHONE).values.tolist() == [1.0, 2.0]
    assert len(costs.matching(Cost(LATENCY, conditions=Conditions("other")))) == 0
    wanted = SPACE.matrix([{"f": 8, "s": 28}, {"f": 2, "s": 8}, {"f": 8, "s": 8}])
    np.testing.assert_array_equal(costs.lookup(wanted, ON_PHONE), [2.0, np.nan, 1.0])
    np.testing.assert_array_equal(costs.lookup(wanted, ON_HERE), [np.nan, np.nan, 3.0])
    narrow = SPACE.with_values({"s": [28, 30]})
    assert costs.for_space(narrow).values.tolist() == [2.0]
    assert costs.for_space(narrow).space == narrow
    with pytest.raises(BadInputError, match="expected parameters l, pool, rate, got f, s"):
        costs.for_space(MIXED)


def test_tables_of_run_times_alone_are_one_with_those_of_any_cost(tmp_path: Path) -> None:
    older = read_csv(written(tmp_path, OLDER, ROW), SPACE)
    told = Measurement({"f": 8, "s": 28}, PHONE, 0.0125, 0.001, 30, "2026-01-31T12:00:00+00:00")
    assert same(older, table(told))
    again = "8,28,Phone 7,tflite 2.1,int8,1,4,,latency_s,0.5,,,2026-02-01"
    joules = "8,28,Phone 7,tflite 2.1,int8,1,4,,joules,3,,,"
    cold = "8,28,Phone 7,tflite 2.1,int8,1,4,cold caches,latency_s,0.75,,,"
    newer = read_csv(written(tmp_path, HEADER, again, joules, cold), SPACE)
    both = older.merged(newer)
    assert [(k.name, k.unit, k.known) for k in both.kinds] == [
        ("latency_s", "s", "measured"),
        ("joules", "", "measured"),
        ("latency_s", "s", "measured"),
    ]
    assert both.values.tolist() == [0.5, 3.0, 0.75]
    assert str(both.kinds[2].conditions) == f"{PHONE}, cold caches"
    X = SPACE.matrix([{"f": 8, "s": 28}])
    assert [both.lookup(X, kind)[0] for kind in both.kinds] == [0.5, 3.0, 0.75]
    both.write_csv(tmp_path / "again.csv")
    assert same(read_csv(tmp_path / "again.csv", SPACE), both)
    for wrong, message in ((joules.replace("joules", ""), "column 'cost', line 2: expected a name"),):
        with pytest.raises(BadInputError, match=message):
            read_csv(written(tmp_path, HEADER, wrong), SPACE)


def test_rows_outside_the_space_are_kept_until_they_are_asked_for(tmp_path: Path) -> None:
    costs = read_csv(written(tmp_path, OLDER, ROW, ROW.replace("8,28", "9,28")), SPACE)
    assert len(costs) == 2
    assert [row.configuration["f"] for row in costs.for_space(SPACE).rows] == [8]


def test_relative_complexity() -> None:
    assert relative([1, 4, 8], 4).tolist() == [0.25, 1.0, 2.0]
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(BadInputError, match="baseline"):
            relative([1.0], wrong)

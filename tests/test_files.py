from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from cpmodel import files
from cpmodel.errors import BadInputError
from cpmodel.files import read_json, replacing, write_json, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_block_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "table.csv"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="mine"), replacing(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("mine")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["table.csv"]


def test_nothing_is_there_before_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "table.csv"
    with replacing(target) as temporary:
        temporary.write_text("whole")
        assert not target.exists()
        assert temporary.suffix == ".csv"  # writers that look at the name see the right one
    assert target.read_text() == "whole"
    assert names(target.parent) == ["table.csv"]


def test_a_result_is_as_readable_as_any_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


@pytest.mark.parametrize("place", ["file/below.json", "folder"])
def test_places_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInputError, match="cannot write") as caught:
        write_json(tmp_path / place, {})
    assert str(caught.value).startswith(str(tmp_path / place))
    assert names(tmp_path) == ["file", "folder"]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_text(tmp_path / "a.txt", "old")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(BadInputError, match=r"a\.txt: cannot write: No space left on device"):
        write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_json_comes_back(tmp_path: Path) -> None:
    value = {"größe": [1, 2.5, None, True, "x\ny"], "nested": {"a": []}}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value
    assert "größe" in (tmp_path / "v.json").read_text(encoding="utf-8")  # for people, not escaped


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_without_numbers_that_are_none(tmp_path: Path, value: float) -> None:
    write_json(tmp_path / "v.json", 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "v.json", {"p": value})
    assert read_json(tmp_path / "v.json") == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b'{"a": 1', "line 1 column"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_json(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "v.json"
    path.write_bytes(content)
    with pytest.raises(BadInputError, match=message) as caught:
        read_json(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_json_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(BadInputError, match="cannot read"):
            read_json(path)

"""Plug-ins are found by their entry points; whatever cannot be found or loaded is said in one line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from cpmodel import registry
from cpmodel.errors import BadInputError
from cpmodel.pipeline.options import StudyOptions, told

ROOT = Path(__file__).parents[1]
KINDS = get_args(registry.Kind)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_built_in_is_installed_like_any_other(kind: registry.Kind) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert set(declared[f"cpmodel.{kind}"]) <= set(registry.names(kind))
    assert list(registry.names(kind)) == sorted(registry.names(kind))
    for name in declared[f"cpmodel.{kind}"]:
        assert registry.plugin(kind, name) is not None


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_name_is_told_the_known_ones(kind: registry.Kind) -> None:
    known = re.escape(", ".join(registry.names(kind)))
    with pytest.raises(BadInputError, match=f"{known}, or MODULE:NAME, got zoo"):
        registry.plugin(kind, "zoo")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Installs a package that has these entry points and no code."""

    def installed(entry_points: str) -> None:
        folder = tmp_path / "odd-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: odd\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(entry_points)
        monkeypatch.syspath_prepend(tmp_path)

    return installed


def test_data_sets_that_take_a_path_are_written_with_it(install: Callable[[str], None]) -> None:
    """Help must say so without loading any: the entry points alone tell, and the sources agree with them."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    taking = {name for name in declared["cpmodel.datasets"] if registry.plugin("datasets", name).takes_path}
    assert taking == set(declared["cpmodel.datasets.path"])
    photos = "photos = nowhere_at_all:PHOTOS\n"
    install(f"[cpmodel.datasets]\n{photos}zoo = nowhere_at_all:ZOO\n[cpmodel.datasets.path]\n{photos}")
    dataset = next(each for each in fields(StudyOptions) if each.name == "dataset")
    assert {"photos:PATH", "zoo", "digits"} < set(re.findall(r"[\w:-]+", told(dataset)))
    assert "photos" in registry.names("datasets")


def test_a_plug_in_that_cannot_be_imported(install: Callable[[str], None]) -> None:
    install("[cpmodel.metrics]\nodd = nowhere_at_all:Odd\nabsent = json:Absent\n")
    assert {"odd", "absent"} < set(registry.names("metrics"))
    for name, words in (("odd", "nowhere_at_all"), ("absent", "Absent")):
        with pytest.raises(BadInputError, match=f"metric {name}: .*{words}.*: expected one that imports"):
            registry.plugin("metrics", name)

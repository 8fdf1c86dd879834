from __future__ import annotations

from pathlib import Path

import pytest

from cpmodel.datasets.spec import Request, parse
from cpmodel.errors import DatasetError


def parsed(spec: str, image_size: int | None = None) -> Request:
    return parse(spec, image_size=image_size, seed=3)[1]


def test_a_path_with_options() -> None:
    request = parsed("lfw-gender:~/faces:1?labels=a=b.csv&size=48&channels=1&validation=0.2")
    assert request.path == Path("~/faces:1").expanduser()
    assert request.options == {"labels": "a=b.csv"}
    assert (request.size, request.channels, request.seed) == (48, 1, 3)
    assert request.fractions == {"validation": 0.2, "test": 0.15}


def test_the_size_can_be_given_in_both_ways() -> None:
    assert (
        parsed("digits", 16).size == parsed("digits?size=16").size == parsed("digits?size=16", 16).size == 16
    )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cifar", "data set: expected cifar10, digits, .*, npz:PATH, got 'cifar'$"),
        ("", "data set: expected cifar10, .*, got ''$"),
        ("folder", "expected folder:PATH, got 'folder'"),
        ("npz:", "expected npz:PATH"),
        ("digits:/tmp", "expected digits without a path"),
        (
            "digits?sise=3",
            "digits.sise=3: option 'sise': expected one of size, channels, validation, test, mirrored",
        ),
        ("digits?labels=3", "option 'labels'"),
        ("digits?size=", "option 'size': expected size=VALUE, once"),
        ("digits?size=8&size=9", "once"),
        ("digits?size=0", "image size: expected 1 to 2048 pixels, got 0"),
        ("digits?size=big", "got big"),
        ("digits?channels=2", r"expected 1 \(gray\) or 3 \(colour\), got 2"),
        ("digits?mirrored=yes", "option 'mirrored': expected alike or other, got yes"),
        ("digits?test=1.5", "option 'test': expected a fraction"),
        ("digits?test=nan", "option 'test': expected a fraction"),
        ("digits?test=0.5&validation=0.5", "a sum below 1"),
    ],
)
def test_what_cannot_be_asked_for(spec: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        parsed(spec)


def test_a_seed_below_zero() -> None:
    with pytest.raises(DatasetError, match="seed of the splits: expected 0 or more, got -1"):
        parse("digits", image_size=None, seed=-1)


def test_two_sizes() -> None:
    with pytest.raises(DatasetError, match="one size, got 8 and 9"):
        parsed("digits?size=8", 9)


def test_a_bare_path_is_answered_with_the_way_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="write folder:PATH or npz:PATH"):
        parsed(str(tmp_path))

from __future__ import annotations

import gzip
import hashlib
import io
import json
from dataclasses import replace
from http.client import HTTPMessage
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request

import numpy as np
import platformdirs
import pytest
import sklearn.datasets._openml as scikit

from cpmodel.datasets import load, loaded, openml
from cpmodel.errors import DatasetError

TINY = openml.Remote("tiny", 7, 20, 10, (3, 2, 2), tuple("01234"))
ASKED = loaded.Request("tiny")
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 12))
LABELS = np.arange(30) % 5


def arff(labels: np.ndarray = LABELS) -> bytes:
    lines = [
        "@relation tiny",
        *(f"@attribute a{i} integer" for i in range(12)),
        "@attribute class {0,1,2,3,4}",
    ]
    rows = [",".join(map(str, [*pixels, label])) for pixels, label in zip(PIXELS, labels, strict=True)]
    return "\n".join([*lines, "@data", *rows]).encode() + b"\n"


class Website:
    """What openml.org answers for one small data set."""

    def __init__(self, content: bytes, md5: str = "") -> None:
        self.asked = 0
        features = [{"index": str(i), "name": f"a{i}", "data_type": "numeric"} for i in range(12)]
        features.append({"index": "12", "name": "class", "data_type": "nominal"})
        for feature in features:
            feature |= {"is_target": str(feature["name"] == "class").lower()}
            feature |= {"is_ignore": "false", "is_row_identifier": "false", "number_of_missing_values": "0"}
        about = {
            "id": "7",
            "name": "tiny",
            "version": "1",
            "status": "active",
            "format": "ARFF",
            "description": "",
        }
        about |= {"url": "https://www.openml.org/data/v1/download/7", "file_id": "7"}
        about |= {"md5_checksum": md5 or hashlib.md5(content).hexdigest()}
        self.answers = {
            "data/7": json.dumps({"data_set_description": about}).encode(),
            "features/7": json.dumps({"data_features": {"feature": features}}).encode(),
            "qualities/7": json.dumps({"data_qualities": {"quality": []}}).encode(),
            "download/7": content,
        }

    def open(self, request: Request | str, *_: Any, **__: Any) -> Any:
        self.asked += 1
        url = request if isinstance(request, str) else request.full_url
        answer = next(body for end, body in self.answers.items() if url.endswith(end))
        stream: Any = io.BytesIO(gzip.compress(answer))
        headers = HTTPMessage()
        headers["Content-Encoding"] = "gzip"
        stream.info = lambda: headers
        return stream


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    return tmp_path / "cpmodel" / "images" / "tiny.npz"


def serve(monkeypatch: pytest.MonkeyPatch, website: Website) -> Website:
    monkeypatch.setattr(scikit, "urlopen", website.open)
    return website


def test_downloaded_once_then_cached(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    website = serve(monkeypatch, Website(arff()))
    first = TINY.read(ASKED)
    asked = website.asked
    again = TINY.read(ASKED)
    assert website.asked == asked > 0 and cache.exists()
    for held in (first, again):
        assert {name: len(part) for name, part in held.parts.items()} == {"train": 20, "test": 10}
        # OpenML writes channel after channel
        assert np.array_equal(held.parts["test"].images[3, ..., 2].ravel(), PIXELS[23, 8:])
        assert np.array_equal(held.parts["train"].labels, LABELS[:20])
        assert held.class_names == TINY.class_names


def test_a_damaged_cache_is_seen(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    serve(monkeypatch, Website(arff()))
    TINY.read(ASKED)
    with np.load(cache) as file:
        content = dict(file)
    content["images"][0] ^= 1
    np.savez(cache, **content)
    with pytest.raises(DatasetError, match=r"tiny.npz: broken cache: remove the file .*: expected SHA-256"):
        TINY.read(ASKED)
    cache.write_bytes(b"")
    with pytest.raises(DatasetError, match=r"tiny.npz: broken cache: remove the file"):
        TINY.read(ASKED)


def test_a_download_with_another_checksum(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    serve(monkeypatch, Website(arff(), md5="0" * 32))
    with pytest.raises(DatasetError, match=r"not as OpenML describes it: .*md5"):
        TINY.read(ASKED)
    assert not cache.exists()


def test_content_other_than_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, Website(arff()))
    with pytest.raises(DatasetError, match="wrong content: expected SHA-256 abc, got"):
        replace(TINY, digest="abc").read(ASKED)
    with pytest.raises(DatasetError, match=r"images: expected 31 of 12 values, got \(30, 12\)"):
        replace(TINY, train=21).read(ASKED)


def test_rows_that_are_not_in_the_official_order(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, Website(arff(np.sort(LABELS))))
    with pytest.raises(DatasetError, match="training labels: expected 4 of each class, got"):
        TINY.read(ASKED)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10"])
def test_without_a_network(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setattr(scikit, "urlopen", unreachable)
    monkeypatch.setattr(scikit.time, "sleep", lambda seconds: None)
    message = r"cannot be downloaded \(Name or service not known\): expected a network .* npz:PATH$"
    with pytest.raises(DatasetError, match=message):
        load(name)


def test_mirrored_digits_are_no_digits() -> None:
    assert [remote.mirrored_alike for remote in (openml.MNIST, openml.FASHION_MNIST, openml.CIFAR10)] == [
        False,
        True,
        True,
    ]

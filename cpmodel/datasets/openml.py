"""MNIST, Fashion-MNIST and CIFAR-10 from OpenML, downloaded once by scikit-learn, checked, and cached."""

from __future__ import annotations

import hashlib
import http.client
import socket
import warnings
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cpmodel.datasets.arrays import located
from cpmodel.datasets.base import Split
from cpmodel.datasets.loaded import Loaded, Request
from cpmodel.errors import DatasetError
from cpmodel.files import replacing

_BROKEN_CACHE = "broken cache: remove the file to download it again"
TIMEOUT = 30  # seconds without an answer; urllib's own default is to wait for ever


@dataclass(frozen=True)
class Remote:
    """A data set on OpenML whose last `test` rows are the official test images."""

    name: str
    data_id: int  # a version, which never changes; scikit-learn checks the MD5 that OpenML states
    train: int
    test: int
    shape: tuple[int, int, int]  # channels, height, width
    class_names: tuple[str, ...]
    digest: str = ""  # SHA-256 of images and labels as they are cached; empty where only the MD5 is known
    mirrored_alike: bool = True

    def read(self, request: Request) -> Loaded:
        """Training and test images, from the cache, whose content is checked each time, or the network."""
        import platformdirs

        folder = platformdirs.user_cache_path("cpmodel") / "images"
        path = folder / f"{self.name}.npz"
        if path.exists():
            images, labels = _from_cache(path, self)
        else:
            images, labels = _download(self, folder)
            with replacing(path) as temporary, temporary.open("wb") as stream:
                np.savez(stream, images=images, labels=labels, digest=np.array(_digest(images, labels)))
        parts = {
            "train": Split(images[: self.train], labels[: self.train]),
            "test": Split(images[self.train :], labels[self.train :]),
        }
        return Loaded(parts, self.class_names, mirrored_alike=self.mirrored_alike)


MNIST = Remote(
    "mnist",
    data_id=554,
    train=60_000,
    test=10_000,
    shape=(1, 28, 28),
    class_names=tuple("0123456789"),
    digest="c2069063c1105f2bf96266aef1ff68c6e13bdda7a54e37bf19c16f1db24efc83",
    mirrored_alike=False,
)
FASHION_MNIST = Remote(
    "fashion-mnist",
    data_id=40_996,
    train=60_000,
    test=10_000,
    shape=(1, 28, 28),
    class_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    digest="2cbc59191665e1ba3f2494648f17edac5974f748ab89fb2ae05597d658161f54",
)
CIFAR10 = Remote(  # its download takes about 2 GB of memory for a moment
    "cifar10",
    data_id=40_927,
    train=50_000,
    test=10_000,
    shape=(3, 32, 32),
    class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)


def _digest(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    digest.update(labels.astype(np.uint8).data)
    return digest.hexdigest()


def _from_cache(path: Path, remote: Remote) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            images, labels, stated = file["images"], file["labels"], str(file["digest"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DatasetError(_BROKEN_CACHE, where=str(path)) from error
    expected, got = f"SHA-256 {remote.digest or stated}", f"SHA-256 {_digest(images, labels)}"
    if got != expected:
        raise DatasetError(_BROKEN_CACHE, expected=expected, got=got.split()[1], where=str(path))
    return images, labels


def _download(remote: Remote, folder: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    from sklearn.datasets import fetch_openml

    where = f"{remote.name} (openml.org data set {remote.data_id})"
    pixels = int(np.prod(remote.shape))
    # one number type for all pixels: scikit-learn's own choice takes nine bytes a pixel
    columns: defaultdict[int, str] = defaultdict(lambda: "float32", {pixels: "category"})
    with _network(where):
        bunch = fetch_openml(
            data_id=remote.data_id,
            data_home=str(folder),
            as_frame=False,
            parser="pandas",
            n_retries=1,
            read_csv_kwargs={"dtype": columns},
        )
        rows = np.asarray(bunch.data, dtype=np.float32)
        labels = np.asarray(bunch.target).astype(np.float32).astype(np.int64)
    if rows.shape != (remote.train + remote.test, pixels):
        expected = f"{remote.train + remote.test} of {pixels} values"
        raise DatasetError("images", expected=expected, got=rows.shape, where=where)
    images = np.ascontiguousarray(np.moveaxis(rows.astype(np.uint8).reshape(-1, *remote.shape), 1, 3))
    with located(where):
        _verify(images, labels, remote)
    return images, labels


def _verify(images: NDArray[np.uint8], labels: NDArray[np.int64], remote: Remote) -> None:
    """The known checksum; without one the official order, of which equally many of each class are a sign."""
    if remote.digest:
        if (got := _digest(images, labels)) != remote.digest:
            raise DatasetError("wrong content", expected=f"SHA-256 {remote.digest}", got=got)
        return
    classes = len(remote.class_names)
    for name, part in (("training", labels[: remote.train]), ("test", labels[remote.train :])):
        counts, each = np.bincount(part, minlength=classes), len(part) // classes
        if (counts != each).any():
            raise DatasetError(f"{name} labels", expected=f"{each} of each class", got=counts.tolist())


@contextmanager
def _network(where: str) -> Iterator[None]:
    """A limit on silence, which scikit-learn offers no other way to set, and one clear error."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about its retries
            yield
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        expected = "a network that reaches openml.org, once; or the arrays in a file: npz:PATH"
        raise DatasetError(f"cannot be downloaded ({reason})", expected=expected, where=where) from error
    except ValueError as error:
        said = " ".join(str(error).split())
        raise DatasetError(f"not as OpenML describes it: {said}", where=where) from error
    finally:
        socket.setdefaulttimeout(before)

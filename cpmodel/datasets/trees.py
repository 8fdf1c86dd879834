"""The image files below a folder or in a tar archive, which is read in memory and never extracted."""

from __future__ import annotations

import lzma
import os
import posixpath
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from cpmodel.errors import DatasetError

IMAGE_SUFFIXES = (
    {".bmp", ".gif", ".png", ".webp", ".tif", ".tiff"}
    | {".jpg", ".jpeg", ".jpe", ".jfif"}
    | {".pbm", ".pgm", ".pnm", ".ppm"}
)
LARGEST_MEMBER = 2**28  # bytes; more than any image that may be decoded here, less than a machine's memory


@dataclass(frozen=True)
class Tree:
    """Image files by name: paths relative to the top, parts joined by "/", sorted."""

    path: Path  # the folder or the tar
    names: tuple[str, ...]
    others: int = 0  # files that are no images by their suffix
    members: dict[str, tarfile.TarInfo] | None = field(default=None, repr=False)  # of a tar, by name

    def place(self, name: str) -> str:
        """Where that image lies, for errors."""
        return f"{self.path}/{name}"

    def open_each(self, names: Sequence[str]) -> Iterator[tuple[int, BinaryIO]]:
        """The position in `names` and the open file of each, in stored order, one open at a time."""
        with _readable(self.path):
            if self.members is None:
                for index, name in enumerate(names):
                    with _readable(self.path / name), (self.path / name).open("rb") as stream:
                        yield index, stream
                return
            members = [self.members[name] for name in names]
            with tarfile.open(self.path) as archive:
                for index in sorted(range(len(names)), key=lambda index: members[index].offset_data):
                    yield index, cast(BinaryIO, archive.extractfile(members[index]))


def open_tree(path: Path) -> Tree:
    """The images below a folder, or in a tar (plain or compressed by gzip, bzip2 or xz)."""
    with _readable(path):
        path.stat()  # "No such file" and "Permission denied" in the words of the system
        members = None if path.is_dir() else _members(path)
        names, others = _images(_walk(path) if members is None else members)
    if not names:
        expected, got = "image files such as .png or .jpg", f"{others} other files"
        raise DatasetError("no images", expected=expected, got=got, where=str(path))
    if members is not None:
        # the folders that all start with; a file's own folder may be its class, and is never among them
        common = posixpath.commonpath(["/".join(PurePosixPath(name).parts[:-2]) for name in names])
        prefix = common and f"{common}/"
        members = {name.removeprefix(prefix): members[name] for name in names}
        names = sorted(members)
    return Tree(path, tuple(names), others, members)


@contextmanager
def _readable(where: Path) -> Iterator[None]:
    try:
        yield
    except DatasetError:
        raise
    except tarfile.ReadError as error:
        expected = "a folder, or a tar archive that is whole"
        raise DatasetError("cannot read", expected=expected, where=str(where)) from error
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise DatasetError(f"broken archive: {error}", where=str(where)) from error
    except OSError as error:
        place = str(error.filename or where)
        raise DatasetError(f"cannot read: {error.strerror or error}", where=place) from error


def _images(names: Iterable[str]) -> tuple[list[str], int]:
    """Names of images, sorted so that the order on the disk does not count, and how many are no images."""
    paths = [PurePosixPath(name) for name in names]
    # what a desktop wrote (.DS_Store, ._photo.jpg, __MACOSX/) is neither
    seen = [path for path in paths if not any(p.startswith(".") or p == "__MACOSX" for p in path.parts)]
    images = sorted(str(path) for path in seen if path.suffix.lower() in IMAGE_SUFFIXES)
    return images, len(seen) - len(images)


def _walk(top: Path) -> Iterator[str]:
    """Names of the files below `top`; links to folders are followed, circles are not."""

    def refuse(error: OSError) -> None:
        raise error

    seen = set()
    for folder, subfolders, files in os.walk(top, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders.sort()  # of two links to one folder, the same one counts on every machine
        for file in files:
            yield (Path(folder) / file).relative_to(top).as_posix()


def _members(path: Path) -> dict[str, tarfile.TarInfo]:
    """The files in a tar."""
    with tarfile.open(path) as archive:
        found = archive.getmembers()
        for member in found:
            _refuse_unsafe(member, path)
        # a damaged header looks like the end to `tarfile`, and images would silently be missing
        stream = cast(BinaryIO, archive.fileobj)
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end of archive where the members end")
    return {str(PurePosixPath(member.name)): member for member in found if not member.isdir()}


def _refuse_unsafe(member: tarfile.TarInfo, path: Path) -> None:
    """Nothing is extracted or overwritten, but such an archive was not made in good faith."""
    name, got = PurePosixPath(member.name), None
    if name.is_absolute() or ".." in name.parts:
        expected = "a path inside the archive"
    elif not (member.isreg() or member.isdir()):
        expected = "a plain file or a folder, no links or devices"
    elif member.size > LARGEST_MEMBER and name.suffix.lower() in IMAGE_SUFFIXES:
        expected, got = f"at most {LARGEST_MEMBER // 2**20} MiB", f"{member.size / 2**20:.0f} MiB"
    else:
        return
    raise DatasetError(f"unsafe member '{member.name}'", expected=expected, got=got, where=str(path))

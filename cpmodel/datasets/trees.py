"""The image files below a folder or in a tar archive, which is read in memory and never extracted."""

from __future__ import annotations

import lzma
import os
import posixpath
import tarfile
import zlib
from collections.abc import Iterator, Sequence
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
    """Image files by name: paths relative to the top, parts joined by "/", sorted.

    Parameters
    ----------
    path : Path
        The folder or the tar.
    names : tuple of str
        Sorted, so that nothing depends on the order on the disk.
    others : int
        Files that are no images by their suffix.
    prefix : str
        Folders that all names had in common and that were left away, with a trailing "/"; or empty.
    """

    path: Path
    names: tuple[str, ...]
    others: int = 0
    prefix: str = ""
    members: dict[str, tarfile.TarInfo] | None = field(default=None, repr=False)

    def open_each(self, names: Sequence[str]) -> Iterator[tuple[int, BinaryIO]]:
        """The position in `names` and the open file of each, in stored order, one open at a time."""
        with _readable(self.path):
            if self.members is None:
                for index, name in enumerate(names):
                    with _readable(self.path / name), (self.path / name).open("rb") as stream:
                        yield index, stream
                return
            members = [self.members[self.prefix + name] for name in names]
            with tarfile.open(self.path) as archive:
                for index in sorted(range(len(names)), key=lambda index: members[index].offset_data):
                    yield index, cast(BinaryIO, archive.extractfile(members[index]))


def open_tree(path: Path) -> Tree:
    """The images below a folder, or in a tar (plain or compressed by gzip, bzip2 or xz).

    Raises
    ------
    DatasetError
        Nothing there, no permission, not a tar, a broken or unsafe one, or no image in it.
    """
    with _readable(path):
        path.stat()  # "No such file" and "Permission denied" in the words of the system
        if path.is_dir():
            names, others = _walk(path)
            tree = Tree(path, tuple(sorted(names)), others)
        else:
            tree = _open_tar(path)
    if not tree.names:
        expected, got = "image files such as .png or .jpg", f"{tree.others} other files"
        raise DatasetError("no images", expected=expected, got=got, where=str(path))
    return tree


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


def _is_image(name: PurePosixPath) -> bool:
    return name.suffix.lower() in IMAGE_SUFFIXES


def _is_hidden(name: PurePosixPath) -> bool:
    """Written by a desktop, not by the user: .DS_Store, ._photo.jpg, __MACOSX/."""
    return any(part.startswith(".") or part == "__MACOSX" for part in name.parts)


def _walk(top: Path) -> tuple[list[str], int]:
    """Names of the images below `top` (links to folders followed, circles not), and how many other files."""

    def refuse(error: OSError) -> None:
        raise error

    names, others, seen = [], 0, set()
    for folder, subfolders, files in os.walk(top, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders.sort()  # of two links to one folder, the same one counts on every machine
        for file in files:
            name = PurePosixPath((Path(folder) / file).relative_to(top).as_posix())
            if _is_hidden(name):
                continue
            if _is_image(name):
                names.append(str(name))
            else:
                others += 1
    return names, others


def _open_tar(path: Path) -> Tree:
    members: dict[str, tarfile.TarInfo] = {}
    others = 0
    with tarfile.open(path) as archive:
        for member in archive:
            _refuse_unsafe(member, path)
            name = PurePosixPath(member.name)
            if member.isdir() or _is_hidden(name):
                continue
            if _is_image(name):
                members[str(name)] = member
            else:
                others += 1
        _require_end(archive)
    prefix = _common_folders(members)
    return Tree(path, tuple(sorted(name[len(prefix) :] for name in members)), others, prefix, members)


def _require_end(archive: tarfile.TarFile) -> None:
    """A damaged header looks like the end to `tarfile`, and images would silently be missing."""
    stream = cast(BinaryIO, archive.fileobj)
    stream.seek(archive.offset)
    if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("no end of archive where the members end")


def _refuse_unsafe(member: tarfile.TarInfo, path: Path) -> None:
    """Nothing is extracted or overwritten, but such an archive was not made in good faith."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        expected, got = "a path inside the archive", None
    elif not (member.isreg() or member.isdir()):
        expected, got = "a plain file or a folder, no links or devices", None
    elif member.size > LARGEST_MEMBER and _is_image(name):
        expected, got = f"at most {LARGEST_MEMBER // 2**20} MiB", f"{member.size / 2**20:.0f} MiB"
    else:
        return
    raise DatasetError(f"unsafe member '{member.name}'", expected=expected, got=got, where=str(path))


def _common_folders(names: dict[str, tarfile.TarInfo]) -> str:
    """The folders all names start with; a file's own folder, which may be its class, is never among them."""
    if not names:
        return ""
    common = posixpath.commonpath(["/".join(PurePosixPath(name).parts[:-2]) for name in names])
    return common and f"{common}/"

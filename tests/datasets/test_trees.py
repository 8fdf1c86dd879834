from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from image_files import picture, write_files, write_tar

from cpmodel.datasets.trees import open_tree
from cpmodel.errors import DatasetError

FILES = {"b/2.png": picture(1), "a/1.JPG": picture(2), "a/notes.txt": b"", ".DS_Store": b"", "a/._1.jpg": b""}


def contents(path: Path) -> tuple[tuple[str, ...], int, dict[str, bytes]]:
    tree = open_tree(path)
    return tree.names, tree.others, {tree.names[i]: stream.read() for i, stream in tree.open_each(tree.names)}


def test_a_folder_and_its_tars_are_alike(tmp_path: Path) -> None:
    expected = (("a/1.JPG", "b/2.png"), 1, {"a/1.JPG": FILES["a/1.JPG"], "b/2.png": FILES["b/2.png"]})
    assert contents(write_files(tmp_path / "folder", FILES)) == expected
    for kind in ("", ":gz", ":bz2", ":xz"):
        assert contents(write_tar(tmp_path / f"x{kind[1:]}.tar", FILES, f"w{kind}")) == expected
    below = {f"top/more/{name}": content for name, content in FILES.items()}
    assert contents(write_tar(tmp_path / "below.tar", below)) == expected


def test_a_common_folder_of_files_may_be_their_class(tmp_path: Path) -> None:
    assert open_tree(write_tar(tmp_path / "x.tar", {"a/1.png": b"", "a/2.png": b""})).names == (
        "a/1.png",
        "a/2.png",
    )


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    write_files(tmp_path / "elsewhere", {"1.png": b""})
    write_files(tmp_path / "top", {"b/1.png": b""})
    (tmp_path / "top" / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "top" / "b" / "circle").symlink_to(tmp_path / "top")
    assert open_tree(tmp_path / "top").names == ("a/1.png", "b/1.png")


@pytest.mark.parametrize("name", ["../../etc/a.png", "/etc/a.png", "a/../../b.png"])
def test_names_that_leave_the_archive(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match=r"x.tar: unsafe member .*a path inside the archive"):
        open_tree(write_tar(tmp_path / "x.tar", {"ok/1.png": b"", name: b""}))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_members_that_are_no_files(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        member = tarfile.TarInfo("a/link.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(DatasetError, match="a plain file or a folder"):
        open_tree(tmp_path / "x.tar")


def test_a_member_of_impossible_size(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo("a/1.png")
        member.size = 2**28 + 1
        archive.addfile(member, io.BytesIO(bytes(member.size)))
    with pytest.raises(DatasetError, match="expected at most 256 MiB, got 256 MiB"):
        open_tree(tmp_path / "x.tar.gz")


def test_archives_that_are_none(tmp_path: Path) -> None:
    whole = write_tar(tmp_path / "x.tar", {"a/1.png": bytes(40_000), "b/1.png": bytes(40_000)}).read_bytes()
    squeezed = write_tar(tmp_path / "y.tar.gz", {"a/1.png": os.urandom(40_000)}, "w:gz").read_bytes()
    for index, content in enumerate((b"", b"text", whole[:30_000], whole[:70_000], squeezed[:20_000])):
        path = tmp_path / str(index)
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=rf"^{path}: (cannot read|broken archive|no images)"):
            open_tree(path)


def test_a_damaged_header_in_the_middle_loses_no_images_silently(tmp_path: Path) -> None:
    content = bytearray(write_tar(tmp_path / "x.tar", {f"{n}/1.png": b"" for n in range(4)}).read_bytes())
    content[3 * 512 + 5] = 9
    (tmp_path / "x.tar").write_bytes(content)
    with pytest.raises(DatasetError, match="cannot read: expected a folder, or a tar archive that is whole"):
        open_tree(tmp_path / "x.tar")


def test_nothing_to_read(tmp_path: Path, forbidden: Callable[[Path], None]) -> None:
    with pytest.raises(DatasetError, match="absent: cannot read: No such file or directory"):
        open_tree(tmp_path / "absent")
    write_files(tmp_path / "top", {"a/readme.txt": b""})
    with pytest.raises(DatasetError, match=r"no images: expected image files .*, got 1 other files"):
        open_tree(tmp_path / "top")
    write_files(tmp_path / "top", {"secret/1.png": b""})
    forbidden(tmp_path / "top" / "secret")
    with pytest.raises(DatasetError, match="secret: cannot read: Permission denied"):
        open_tree(tmp_path / "top")


def test_a_file_without_permission(tmp_path: Path, forbidden: Callable[[Path], None]) -> None:
    tree = open_tree(write_files(tmp_path, {"a/1.png": b""}))
    forbidden(tmp_path / "a" / "1.png")
    with pytest.raises(DatasetError, match=r"1.png: cannot read: Permission denied"):
        list(tree.open_each(tree.names))

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_files import picture, write_files
from PIL import Image

from cpmodel.datasets.pictures import read_pictures
from cpmodel.datasets.trees import open_tree
from cpmodel.errors import DatasetError


def read(
    top: Path,
    files: dict[str, bytes],
    size: int | None = None,
    channels: int | None = None,
    crop: float = 1.0,
) -> tuple[np.ndarray, list[str]]:
    tree = open_tree(write_files(top, files))
    return read_pictures(tree, tree.names, size=size, channels=channels, crop=crop)


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def test_files_of_one_size_stay_as_they_are(tmp_path: Path) -> None:
    images, notes = read(tmp_path, {"a.png": picture(1, (6, 4)), "b.png": picture(2, (6, 4))})
    assert images.shape == (2, 4, 6, 3) and notes == []
    assert np.array_equal(images[1], np.asarray(Image.open(tmp_path / "b.png")))


def test_mixed_sizes_become_squares_of_the_median_shorter_side(tmp_path: Path) -> None:
    files = {f"{side}.png": picture(side, (side + 5, side)) for side in (10, 20, 30)}
    images, notes = read(tmp_path, files)
    assert images.shape == (3, 20, 20, 3)
    assert notes == ["3 sizes, shorter sides 10 to 30 pixels, brought to 20x20 (centre, antialiased)"]


def test_large_photographs_are_brought_down_unless_a_size_is_asked_for(tmp_path: Path) -> None:
    files = {"a.jpg": picture(1, (700, 500), form="JPEG")}
    assert read(tmp_path, files)[0].shape == (1, 128, 128, 3)
    assert read(tmp_path, files, size=300)[0].shape == (1, 300, 300, 3)


@pytest.mark.parametrize(
    ("mode", "form"),
    [
        *[
            ("1", "PNG"),
            ("L", "PNG"),
            ("LA", "PNG"),
            ("P", "PNG"),
            ("RGBA", "PNG"),
            ("CMYK", "JPEG"),
            ("P", "GIF"),
        ],
        *[("YCbCr", "TIFF"), ("RGB", "WEBP"), ("I;16", "PNG"), ("I", "TIFF"), ("F", "TIFF")],
    ],
)
@pytest.mark.parametrize("channels", [None, 1, 3])
def test_every_mode(tmp_path: Path, mode: str, form: str, channels: int | None) -> None:
    image = Image.new("RGB", (9, 9), (40, 40, 40))
    if mode == "I;16":
        image = Image.fromarray(np.full((9, 9), 40 * 257, dtype=np.uint16))
    elif mode == "I":
        image = Image.fromarray(np.full((9, 9), 40 * 257, dtype=np.int32))
    elif mode == "F":
        image = Image.fromarray(np.full((9, 9), 40 / 255, dtype=np.float32))
    else:
        image = image.convert(mode, palette=Image.Palette.ADAPTIVE)
    images, _ = read(tmp_path, {"a.png": saved(image, form)}, channels=channels)
    assert images.shape[3] == (channels or (1 if mode in ("1", "L", "LA", "I;16", "I", "F") else 3))
    if mode == "1":
        assert set(np.unique(images)) == {0, 255}  # dithered by this test
    else:
        assert np.abs(images.astype(int) - 40).max() <= 3


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    for mode in ("RGBA", "LA"):
        images, _ = read(tmp_path, {"a.png": saved(Image.new("RGBA", (3, 3), (0, 0, 0, 0)).convert(mode))})
        assert images.min() == 255


def test_gray_among_colour_is_said(tmp_path: Path) -> None:
    files = {"a.png": picture(1), "b.png": picture(2, mode="L")}
    assert read(tmp_path, files)[1] == ["1 of 2 images are gray and were made colour"]
    images, notes = read(tmp_path, files, channels=1)
    assert images.shape[3] == 1 and notes == ["1 of 2 images are in colour and were made gray"]


def test_orientation_is_followed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:, :16] = 255
    images, notes = read(tmp_path, {"a.png": saved(Image.fromarray(pixels), exif=exif)})
    assert images.shape == (1, 32, 16, 3) and notes == []
    assert images[0, :16].min() == 255 and images[0, 16:].max() == 0


def test_crop_keeps_the_centre(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60, 3), dtype=np.uint8)
    pixels[10:30, 20:40] = 200
    images, notes = read(tmp_path, {"a.png": saved(Image.fromarray(pixels))}, crop=0.5)
    assert images.shape == (1, 20, 20, 3) and images.min() == 200
    assert notes == ["the central 0.5 of 60x40 pixels, brought to 20x20 (centre, antialiased)"]


def test_reduced_decoding_of_jpeg_stays_close_to_the_full_one(tmp_path: Path) -> None:
    smooth = Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8))
    large = smooth.resize((1200, 1200), Image.Resampling.BICUBIC)
    jpeg, png = saved(large, "JPEG", quality=95), saved(large)
    a, _ = read(tmp_path / "jpeg", {"a.jpg": jpeg}, size=32)
    b, _ = read(tmp_path / "png", {"a.png": png}, size=32)
    assert np.abs(a.astype(int) - b.astype(int)).mean() < 2


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an image"),
        (b"hello, this is text", "not an image"),
        (picture(1, (64, 64))[:2000], "broken image"),
        (picture(1, (64, 64), form="JPEG")[:700], "broken image"),
        (png_claiming(10_000, 10_000), "too large to be safe: expected at most 89 million pixels"),
        (png_claiming(200_000, 200_000), "too large to be safe"),
        (saved(Image.fromarray(np.full((4, 4), np.nan, dtype=np.float32)), "TIFF"), "values outside 0..1"),
    ],
)
def test_a_broken_image_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as caught:
        read(tmp_path, {"good.png": picture(1), "bad.png": content})
    assert str(caught.value).startswith(f"{tmp_path}/bad.png: ")
    assert "\n" not in str(caught.value)


def test_too_many_for_the_memory(tmp_path: Path, no_memory: None) -> None:
    with pytest.raises(DatasetError, match=r"1 images need .*a smaller \?size= helps"):
        read(tmp_path, {"a.png": picture(1)})

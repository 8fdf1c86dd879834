"""Image files to arrays with Pillow: any format, mode and size; broken files are named."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from cpmodel.datasets.arrays import Images, located, require_memory
from cpmodel.datasets.trees import Tree
from cpmodel.errors import DatasetError

if TYPE_CHECKING:
    from PIL.Image import Image

# Images larger than this are brought down to it unless a size is asked for: photographs at full resolution
# fill any memory, and the networks here look at 64 pixels or so.
LARGEST_DEFAULT = 128

BATCH = 256  # files held in memory as bytes at one time
GRAY_MODES = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"}


class Header(NamedTuple):
    """What the first bytes of an image file tell: upright size in pixels, and whether it is gray."""

    width: int
    height: int
    gray: bool


class Target(NamedTuple):
    """The one form all images of a set are brought to."""

    width: int
    height: int
    channels: int
    crop: float = 1.0  # the central fraction of both sides that is kept


def read_pictures(
    tree: Tree, names: Sequence[str], *, size: int | None, channels: int | None, crop: float = 1.0
) -> tuple[Images, list[str]]:
    """The images in one array, in the order of `names`, and notes on what was done to them.

    They become squares of `size` pixels. Without a size they stay as they are if all are alike and no side
    exceeds 128, else they become squares of the median shorter side, at most 128; without channels they are
    gray only if all are. Of both sides the central fraction `crop` is kept.
    """
    with _quiet_pillow():
        headers = [_header(stream, tree.place(names[i])) for i, stream in tree.open_each(names)]
        target, notes = _choose_target(headers, size, channels, crop)
        shape = (len(names), target.height, target.width, target.channels)
        with located(str(tree.path)):
            require_memory(math.prod(shape), f"{len(names)} images", "a smaller ?size= helps")
        images = np.empty(shape, dtype=np.uint8)
        with ThreadPoolExecutor(os.cpu_count()) as pool:

            def put(index: int, data: bytes) -> None:
                images[index] = _decode(data, target, tree.place(names[index]))

            opened = tree.open_each(names)
            # Pillow decodes outside the interpreter lock; reading stays here, a tar has one position
            while batch := [
                (index, _whole(stream, tree.place(names[index]))) for index, stream in islice(opened, BATCH)
            ]:
                list(pool.map(put, *zip(*batch, strict=True)))
    return images, notes


def fit(image: Image, size: tuple[int, int], crop: float = 1.0) -> Image:
    """The central `crop` of the image, cut to the proportions of `size`; resized as networks resize."""
    from PIL import Image as pil

    scale = min(image.width / size[0], image.height / size[1]) * crop
    width, height = size[0] * scale, size[1] * scale
    left, top = (image.width - width) / 2, (image.height - height) / 2
    if (left, top) == (0, 0) and image.size == size:
        return image
    return image.resize(size, pil.Resampling.BILINEAR, box=(left, top, left + width, top + height))


def resized(images: Images, size: int | None) -> Images:
    """Images brought to `size` x `size` by `fit`; None keeps them."""
    if size is None or images.shape[1:3] == (size, size):
        return images
    from PIL import Image as pil

    flat = images[..., 0] if images.shape[3] == 1 else images
    out = np.empty((len(images), size, size, images.shape[3]), dtype=np.uint8)
    for index, image in enumerate(flat):
        out[index] = np.asarray(fit(pil.fromarray(image), (size, size))).reshape(out.shape[1:])
    return out


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Decompression bombs are errors; Pillow's other remarks about odd files are not for the user."""
    from PIL import Image as pil

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("error", pil.DecompressionBombWarning)
        yield


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Whatever goes wrong while an image is decoded, as one error that names the file."""
    from PIL import Image as pil
    from PIL import UnidentifiedImageError

    try:
        yield
    except DatasetError:
        raise
    except (pil.DecompressionBombError, pil.DecompressionBombWarning) as error:
        limit = f"at most {(pil.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} million pixels"
        raise DatasetError("image too large to be safe", expected=limit, where=where) from error
    except UnidentifiedImageError as error:
        raise DatasetError("not an image, or a broken one", where=where) from error
    except Exception as error:  # Pillow's decoders raise almost anything on a broken file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DatasetError(f"broken image: {reason}", where=where) from error


def _whole(stream: BinaryIO, where: str) -> bytes:
    with _naming(where):
        return stream.read()


def _header(stream: BinaryIO, where: str) -> Header:
    from PIL import Image as pil
    from PIL.ExifTags import Base

    with _naming(where), pil.open(stream) as image:
        width, height = image.size
        # orientations 5 to 8 lie on their side
        if "exif" in image.info and image.getexif().get(Base.Orientation, 1) >= 5:
            width, height = height, width
        return Header(width, height, image.mode in GRAY_MODES)


def _choose_target(
    headers: Sequence[Header], size: int | None, channels: int | None, crop: float
) -> tuple[Target, list[str]]:
    gray = sum(header.gray for header in headers)
    chosen = channels or (1 if gray == len(headers) else 3)
    changed = gray if chosen == 3 else len(headers) - gray
    how = "gray and were made colour" if chosen == 3 else "in colour and were made gray"
    notes = [f"{changed} of {len(headers)} images are {how}"] if changed else []
    sizes = {(header.width, header.height) for header in headers}
    width, height = next(iter(sizes))
    if size is None and len(sizes) == 1 and crop == 1 and max(width, height) <= LARGEST_DEFAULT:
        return Target(width, height, chosen), notes
    shorter = [min(header.width, header.height) for header in headers]
    side = size or min(max(1, round(float(np.median(shorter) * crop))), LARGEST_DEFAULT)
    if sizes != {(side, side)} or crop != 1:
        span = f"{len(sizes)} sizes, shorter sides {min(shorter)} to {max(shorter)}"
        before = f"{width}x{height}" if len(sizes) == 1 else span
        part = "" if crop == 1 else f"the central {crop:g} of "
        notes.append(f"{part}{before} pixels, brought to {side}x{side} (centre, antialiased)")
    return Target(side, side, chosen, crop), notes


def _decode(data: bytes, target: Target, where: str) -> Images:
    """Shape (height, width, channels)."""
    from PIL import Image as pil
    from PIL import ImageOps

    with _naming(where), pil.open(io.BytesIO(data)) as opened:
        # JPEG can be decoded at a fraction of its size: quick, and small in memory. Twice the target leaves
        # the antialiasing to the resize below, as Pillow's own thumbnail does.
        margin = 2 * max(target.width, target.height) / target.crop
        opened.draft(None, (int(margin), int(margin)))
        upright = ImageOps.exif_transpose(opened) if "exif" in opened.info else opened
        image = fit(_plain(upright, target.channels), (target.width, target.height), target.crop)
        return np.asarray(image, dtype=np.uint8).reshape(target.height, target.width, target.channels)


def _plain(image: Image, channels: int) -> Image:
    """The image as L or RGB: transparency laid on white, 16 bits and floats scaled down to 8."""
    from PIL import Image as pil

    mode = "L" if channels == 1 else "RGB"
    if image.mode == "I" or image.mode == "F" or image.mode.startswith("I;16"):
        values = np.asarray(image, dtype=np.float32)
        top = 1 if image.mode == "F" else 65535
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= top):
            raise ValueError(f"values outside 0..{top}")
        image = pil.fromarray(np.rint(values * (255 / top)).astype(np.uint8))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = pil.alpha_composite(pil.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == mode else image.convert(mode)

"""From the bytes of an image file to uint8 pixels: the one place that knows Pillow."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from minidl.errors import DataError

_GRAY_MODES = ("1", "L", "LA", "I;16")


def read_image(path: str | Path, size: int) -> np.ndarray:
    """The image in a file as uint8 (size, size, 3); see `decode`. Raises DataError if it can't be read."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from error
    return decode(data, str(path), size)[0]


def decode(data: bytes, label: str, size: int, exact: int | None = None) -> tuple[np.ndarray, bool]:
    """The image in `data` as uint8 (size, size, 3), and whether its file is gray.

    label    names the file in errors
    exact    the file must be a JPEG of `exact` x `exact` pixels; None: any format and size will do

    What isn't `size` x `size` yet is turned as its EXIF tag says, and its central square is resized with Pillow's
    bilinear filter (antialiased). Raises DataError for what is no image, is cut short, or isn't `exact`.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            problem = _inexact(image, exact) if exact else None
            if problem is None:
                image.load()
                gray = image.mode in _GRAY_MODES
                return np.array(_as_rgb(image) if exact == size else _as_square(image, size)), gray
    except UnidentifiedImageError as error:
        raise DataError(f"{label}: not an image file") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{label}: damaged image ({reason})") from error
    raise DataError(f"{label}: {problem}")


def _inexact(image: Image.Image, size: int) -> str | None:
    if image.format != "JPEG":
        return f"a {image.format} file, JPEG expected"
    if image.size != (size, size):
        return f"{image.width}x{image.height} pixels, {size}x{size} expected"
    return None


def _as_square(image: Image.Image, size: int) -> Image.Image:
    return ImageOps.fit(_as_rgb(ImageOps.exif_transpose(image)), (size, size), Image.Resampling.BILINEAR)


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I;16":  # Pillow would cut 16 bits off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")  # palettes with transparency warn otherwise; the alpha channel is dropped
    return image.convert("RGB")

"""From the bytes of an image file to uint8 pixels. This is the only module that uses Pillow."""

from __future__ import annotations

import io
import re
import warnings
from contextlib import nullcontext
from pathlib import Path
from threading import Lock

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from minidl.data.limits import LIMITS, Limits, limits_of, too_much
from minidl.data.reading import read_regular
from minidl.errors import DataError

# Pillow warns of metadata, which isn't read here, and of large photos, which are meant. Not within `decode`: warning
# filters belong to all threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

# The formats that are read; a file's name doesn't matter. Pillow knows forty more, and for EPS it starts a program.
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF", "TIFF", "PPM")  # JPEG: also MPO, a JPEG followed by another
_NAMES = "JPEG, PNG, BMP, WebP, GIF, TIFF or PPM"

_LARGE = 8_000_000  # pixels; larger images are decoded one at a time, on any number of threads
_ONE_AT_A_TIME = Lock()
_STRIP = 1 << 20  # pixels of more than 8 bits that are converted at a time
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])(..)?", re.DOTALL)  # of a JPEG, and the length of what follows
_SCAN, _END = b"\xda", b"\xd9"
_MORE_BITS = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")  # modes of more than 8 bits a channel
_GRAY_MODES = ("1", "L", "LA", "La", *_MORE_BITS)
_PNG_GRAYS = (0, 4)  # colour types without and with alpha; Pillow reads the latter in 16 bits as RGBA
_BITS, _SAMPLES = 258, 339  # TIFF's tags for the bits of a sample, and for its format (1: unsigned)
_MEANING = 262  # TIFF's tag for what the values mean (0: white is 0)
_ORIENTATION = 0x0112  # EXIF's tag for how the camera was held, and what undoes it
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: str | Path, size: int) -> np.ndarray:
    """The image in a file as uint8 (size, size, 3); see `decode`. Raises DataError if it can't be read."""
    limits = limits_of(path)
    try:
        data = read_regular(path, limits.file, follow=True)
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror or error})") from error
    return decode(data, str(path), size, limits=limits)[0]


def decode(
    data: bytes, label: str, size: int, exact: int | None = None, limits: Limits = LIMITS
) -> tuple[np.ndarray, bool]:
    """The image in `data` as uint8 (size, size, 3), and whether its file is gray.

    label    name of the file in error messages
    exact    the file must be a JPEG of `exact` x `exact` pixels; None: any format and size will do

    The first frame is turned as its EXIF tag says, an alpha channel is dropped, channels of more than 8 bits are
    reduced to 8 (`_eight_bits`), and the central square is resized with Pillow's bilinear filter (antialiased). A
    file is gray if its format says so, or if its palette has only grays. Raises DataError if `data` is not an image
    of FORMATS, exceeds `limits`, is cut short, or isn't `exact`.
    """
    return decode_sized(data, label, size, exact, limits)[:2]


def decode_sized(
    data: bytes, label: str, size: int, exact: int | None = None, limits: Limits = LIMITS
) -> tuple[np.ndarray, bool, tuple[int, int]]:
    """Like `decode`, and also returns the height and width of the image in its file."""
    try:
        if (slow := _too_slow(data, limits)) is not None:
            raise DataError(f"{label}: {slow}")
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            problem = (_inexact(image, exact) if exact else None) or _too_large(image, data, limits)
            if problem is None:
                with _ONE_AT_A_TIME if image.width * image.height > _LARGE else nullcontext():
                    return _decode(image, data, size)
    except UnidentifiedImageError as error:
        raise DataError(f"{label}: not an image file, or of a kind that isn't read ({_NAMES} is)") from error
    except Image.DecompressionBombError as error:  # Pillow's own limit, which is far above ours
        pixels = max(map(int, re.findall(r"\d+", str(error))), default=0)
        most = min(limits.pixels, 2 * Image.MAX_IMAGE_PIXELS)
        raise DataError(f"{label}: {too_much(pixels, most, 'pixels')}") from error
    except (DataError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged bytes
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{label}: damaged image ({reason})") from error
    raise DataError(f"{label}: {problem}")


def _decode(image: Image.Image, data: bytes, size: int) -> tuple[np.ndarray, bool, tuple[int, int]]:
    image.load()
    rgb = _as_rgb(image)
    gray = _is_gray(image, rgb, data)
    rgb = _upright(rgb, image)
    pixels = np.array(ImageOps.fit(rgb, (size, size), Image.Resampling.BILINEAR))
    return pixels, gray, (rgb.height, rgb.width)


def _too_slow(data: bytes, limits: Limits) -> str | None:
    """Why Pillow would take minutes to open or decode the data: numbers as text, EXIF headers without end."""
    if data[:2] in (b"P1", b"P2", b"P3") and len(data) > limits.text:
        return too_much(len(data), limits.text, "bytes of text")
    if data.startswith(b"\xff\xd8") and (headers := data.count(b"\xff\xe1")) > limits.headers:
        headers = data.count(b"Exif\0\0")  # FF E1 may also occur in data after a photo, such as a film
        return too_much(headers, limits.headers, "EXIF headers") if headers > limits.headers else None
    return None


def _too_large(image: Image.Image, data: bytes, limits: Limits) -> str | None:
    """Why the image would take too much memory or time to decode, judged by the file's header and markers alone."""
    most = limits.pixels // 2 if image.format == "WEBP" else limits.pixels  # its decoder needs two more copies
    if (pixels := image.width * image.height) > most:
        return f"{image.width}x{image.height}, {too_much(pixels, most, 'pixels')}"
    # FF DA is quickly counted, but may also occur in data after a photo, such as a film.
    many = image.format in ("JPEG", "MPO") and data.count(b"\xff" + _SCAN) > limits.scans
    if many and (scans := _scans(data)) > limits.scans:
        return too_much(scans, limits.scans, "scans")
    return None


def _scans(data: bytes) -> int:
    """The number of scans of the first image in a JPEG: how often its pixels are refined."""
    at, scans = 2, 0
    while (marker := _MARKER.search(data, at)) and marker[1] != _END:
        scans += marker[1] == _SCAN
        at = marker.end() + int.from_bytes(marker[2] or b"", "big") - 2  # the length counts its own two bytes
    return scans


def _inexact(image: Image.Image, size: int) -> str | None:
    if image.format not in ("JPEG", "MPO"):  # MPO: a JPEG followed by another, such as a depth map
        return f"a {image.format} file, JPEG expected"
    if image.size != (size, size):
        return f"{image.width}x{image.height} pixels, {size}x{size} expected"
    return None


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _MORE_BITS:  # Pillow would cut them off at 255
        gray = _eight_bits(*_samples(image))
        negative = image.format == "TIFF" and image.tag_v2.get(_MEANING) == 0  # Pillow inverts those of 8 bits only
        image = Image.fromarray(255 - gray if negative else gray)
    elif image.mode == "LAB":
        lab, rgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, lab, rgb, outputMode="RGB")
    elif image.mode in ("RGBa", "La"):  # colours that were multiplied with alpha
        image = image.convert({"RGBa": "RGBA", "La": "LA"}[image.mode])
    elif image.has_transparency_data:
        image = image.convert("RGBA")  # palettes with transparency warn otherwise; the alpha channel is dropped
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_gray(image: Image.Image, rgb: Image.Image, data: bytes) -> bool:
    """Whether the format says that the image is gray, or its palette has only grays."""
    if image.mode in ("P", "PA"):
        red, green, blue = (channel.tobytes() for channel in rgb.split())
        return red == green == blue
    return image.mode in _GRAY_MODES or (image.format == "PNG" and data[25] in _PNG_GRAYS)


def _upright(rgb: Image.Image, image: Image.Image) -> Image.Image:
    """`rgb` turned as the EXIF tag of `image` says; unchanged if there is no readable tag."""
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged tag says nothing about the pixels
        return rgb
    return rgb.transpose(_TURNS[orientation]) if orientation in _TURNS else rgb


def _samples(image: Image.Image) -> tuple[np.ndarray, int | None]:
    """The values of an image of more than 8 bits, and the value of white if the file gives it."""
    pixels, tags = np.asarray(image), image.tag_v2 if image.format == "TIFF" else {}
    if image.mode.startswith("I;16"):
        return pixels, 2 ** tags.get(_BITS, (16,))[0] - 1  # 12 bits are kept in 16
    if tags.get(_BITS) == (32,) and image.mode == "I" and tags.get(_SAMPLES, (1,)) == (1,):
        pixels = pixels.view(np.uint32)  # Pillow takes them for signed
    return pixels, 65535 if image.mode == "I" and image.format in ("PNG", "PPM") else None


def _eight_bits(pixels: np.ndarray, white: int | None) -> np.ndarray:
    """Gray values of more than 8 bits as uint8, same shape: y = 255 x / white, rounded.

    white = 65535 means the upper byte instead, which is how Pillow itself reads 16-bit colours. If white is None, it
    is the smallest of 1 (floats only), 255 and 65535 that no pixel exceeds, or else the brightest pixel. If there are
    values below 0, black is the darkest pixel and white the brightest. NaN becomes black.
    """
    out = np.empty(pixels.shape, np.uint8)
    flat, done = pixels.reshape(-1), out.reshape(-1)
    strips = [
        slice(start, start + _STRIP) for start in range(0, flat.size, _STRIP)
    ]  # float64 takes eight times as much
    ends = [(v.min(), v.max()) for strip in strips if (v := flat[strip][np.isfinite(flat[strip])]).size]
    low, high = (float(min(e[0] for e in ends)), float(max(e[1] for e in ends))) if ends else (0.0, 0.0)
    black = min(low, 0.0)
    if low < 0:
        white = high - low
    elif white is None:
        steps = (1, 255, 65535) if pixels.dtype.kind == "f" else (255, 65535)
        white = next((step for step in steps if high <= step), high)
    for strip in strips:
        x = np.nan_to_num(flat[strip].astype(np.float64), nan=black, posinf=high, neginf=low) - black
        done[strip] = x // 256 if white == 65535 else np.rint(x * (255 / max(white, 1e-30)))
    return out

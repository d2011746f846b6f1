"""One decoder for training, checking and predicting: every mode, depth and orientation, in every container."""

import io
import os
import struct
import warnings
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageCms

from minidl.data.images import decode, read_image
from minidl.data.limits import LIMITS
from minidl.errors import DataError

RAMP = np.tile(np.linspace(0, 65535, 16).astype(np.uint16), (16, 1))  # 0, 4369, ... in every row
BYTES = (RAMP >> 8).astype(np.uint8)
COLOURS = np.stack([BYTES, BYTES.T, 255 - BYTES], axis=-1)


def encoded(image, format, **options):
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def from_array(values, dtype):
    return Image.fromarray(np.asarray(values).astype(dtype))


def pgm(white):
    return f"P5\n16 16\n{white}\n".encode() + (RAMP // (65536 // (white + 1))).astype(">u2").tobytes()


def tiff(values, bits, sample, order=">"):
    """An uncompressed gray TIFF: `sample` 1 is unsigned, 2 signed, 3 float."""
    raw = values if isinstance(values, bytes) else values.astype(values.dtype.newbyteorder(order)).tobytes()
    tags = {256: 16, 257: 16, 258: bits, 259: 1, 262: 1, 273: 134, 277: 1, 278: 16, 279: len(raw), 339: sample}
    entries = b"".join(struct.pack(f"{order}HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    start = struct.pack(f"{order}HIH", 42, 8, len(tags))
    return {">": b"MM", "<": b"II"}[order] + start + entries + bytes(4) + raw


def twelve_bits():
    low, high = (RAMP >> 4)[:, ::2].astype(int), (RAMP >> 4)[:, 1::2].astype(int)
    return np.stack([low >> 4, (low & 15) << 4 | high >> 8, high & 255], axis=-1).astype(np.uint8).tobytes()


DEEP = {
    "PNG": lambda: encoded(Image.fromarray(RAMP), "PNG"),
    "PGM": lambda: pgm(65535),
    "PGM of 12 bits": lambda: pgm(4095),
    "PGM in words": lambda: b"P2\n16 16\n65535\n" + " ".join(map(str, RAMP.ravel())).encode(),
    "PFM": lambda: b"Pf\n16 16\n-1\n" + (RAMP / 65535).astype("<f4").tobytes(),
    "TIFF I;16": lambda: tiff(RAMP, 16, 1, "<"),
    "TIFF I;16B": lambda: tiff(RAMP, 16, 1),
    "TIFF of 12 bits": lambda: tiff(twelve_bits(), 12, 1, "<"),
    "TIFF of 16 bits with a sign": lambda: tiff((RAMP.astype(int) - 32768).astype(np.int16), 16, 2),
    "TIFF I": lambda: encoded(from_array(RAMP, np.int32), "TIFF"),
    "TIFF I up to 255": lambda: encoded(from_array(RAMP // 257, np.int32), "TIFF"),
    "TIFF of 32 bits": lambda: tiff(RAMP * np.uint32(65537), 32, 1, "<"),
    "TIFF F up to 1": lambda: encoded(from_array(RAMP / 65535, np.float32), "TIFF"),
    "TIFF F up to 255": lambda: encoded(from_array(RAMP / 257, np.float32), "TIFF"),
    "TIFF F up to 65535": lambda: encoded(from_array(RAMP, np.float32), "TIFF"),
    "TIFF F beyond": lambda: encoded(from_array(RAMP * 10.0, np.float32), "TIFF"),
    "TIFF F from -1 to 1": lambda: encoded(from_array(RAMP / 32767.5 - 1, np.float32), "TIFF"),
}


@pytest.mark.parametrize("case", DEEP)
def test_a_ramp_of_more_than_8_bits_stays_a_gray_ramp(case):
    pixels, gray = decode(DEEP[case](), case, 16)
    assert gray
    assert (pixels == pixels[:1, :, :1]).all()
    assert pixels[0, ::5, 0].tolist() == [0, 85, 170, 255]


@pytest.mark.parametrize("case", ["TIFF I;16", "TIFF F up to 1", "TIFF F from -1 to 1"])  # others Pillow can't read
def test_a_tiff_in_which_0_is_white_is_no_negative(case):
    black, white = (struct.pack("<HHIHH", 262, 3, 1, value, 0) for value in (1, 0))  # which of them 0 is
    assert DEEP[case]().count(black) == 1
    pixels, gray = decode(DEEP[case]().replace(black, white), case, 16)
    assert gray and pixels[0, ::5, 0].tolist() == [255, 170, 85, 0]


def test_16_bits_become_the_upper_byte_in_every_container():
    values = np.random.default_rng(0).integers(0, 65536, (16, 16)).astype(np.uint16)
    values[0, :2] = 0, 65535
    files = [
        encoded(Image.fromarray(values), "PNG"),
        b"P5\n16 16\n65535\n" + values.astype(">u2").tobytes(),
        tiff(values, 16, 1),
        tiff(values, 16, 1, "<"),
        encoded(from_array(values, np.int32), "TIFF"),
        encoded(from_array(values, np.float32), "TIFF"),
    ]
    for file in files:
        assert np.array_equal(decode(file, "x", 16)[0][..., 0], values >> 8)


def test_a_dark_16_bit_image_stays_dark_where_the_format_says_what_white_is():
    dark = np.full((16, 16), 300, np.uint16)
    for file in (
        encoded(Image.fromarray(dark // 2), "PNG"),
        b"P5\n16 16\n65535\n" + (dark // 2).astype(">u2").tobytes(),
        tiff(dark // 2, 16, 1),
    ):
        assert decode(file, "x", 16)[0].max() == 0


@pytest.mark.parametrize("value", [np.nan, -5.0, 0.0, 0.5])
def test_an_image_of_one_value_is_no_error(value):
    pixels, _ = decode(encoded(from_array(np.full((16, 16), value), np.float32), "TIFF"), "x", 16)
    assert (pixels == (128 if value == 0.5 else 0)).all()


def test_what_is_not_a_number_is_black_and_infinity_is_white():
    values = RAMP.astype(np.float32)
    values[1, :2] = np.nan, np.inf
    pixels, _ = decode(encoded(Image.fromarray(values), "TIFF"), "x", 16)
    assert pixels[1, :3, 0].tolist() == [0, 255, 34] and pixels[0, ::5, 0].tolist() == [0, 85, 170, 255]


def lab(image):
    return ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )


@pytest.mark.parametrize(
    "mode, format, gray, error",
    [
        ("1", "PNG", True, 255),
        ("L", "PNG", True, 0),
        ("L", "GIF", True, 0),
        ("LA", "PNG", True, 0),
        ("LA", "TIFF", True, 0),
        ("P", "PNG", False, 60),
        ("P", "GIF", False, 60),
        ("PA", "TIFF", False, 60),
        ("RGB", "BMP", False, 0),
        ("RGB", "PPM", False, 0),
        ("RGBA", "PNG", False, 0),
        ("RGBA", "WEBP", False, 0),
        ("CMYK", "TIFF", False, 1),
        ("CMYK", "JPEG", False, 20),
        ("YCbCr", "JPEG", False, 20),
        ("LAB", "TIFF", False, 60),
    ],
)
def test_every_mode_becomes_rgb(mode, format, gray, error):
    colours = Image.fromarray(COLOURS)
    image = lab(colours) if mode == "LAB" else colours.convert("P").convert(mode) if mode == "PA" else colours
    options = {"lossless": True} if format == "WEBP" else {"quality": 100} if format == "JPEG" else {}
    pixels, seen = decode(encoded(image if mode == "LAB" else image.convert(mode), format, **options), mode, 16)
    expected = np.asarray(colours.convert("L").convert("RGB") if gray else colours).astype(int)
    assert seen == gray
    assert np.abs(pixels - expected).max() <= error


def test_a_palette_of_grays_is_gray_and_transparency_warns_of_nothing():
    palette = Image.fromarray(BYTES).convert("P")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels, gray = decode(encoded(palette, "PNG", transparency=b"\0\x40"), "x", 16)
    assert gray and np.array_equal(pixels[..., 1], BYTES)


def test_gray_with_alpha_in_16_bits_is_gray():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = np.stack([RAMP, np.full_like(RAMP, 65535)], axis=-1).astype(">u2")
    head = struct.pack(">IIBBBBB", 16, 16, 16, 4, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    decoded, gray = decode(file, "x", 16)
    assert gray and decoded[0, ::5, 0].tolist() == [0, 85, 170, 255]


@pytest.mark.parametrize("format", ["GIF", "PNG", "TIFF", "WEBP", "MPO"])
def test_of_several_frames_the_first_is_read(format):
    more = [Image.new("RGB", (16, 16), "red")]
    file = encoded(Image.new("RGB", (16, 16), "blue"), format, save_all=True, append_images=more)
    assert np.abs(decode(file, "x", 16)[0].astype(int) - (0, 0, 255)).max() <= 2


# What a viewer shows of an image with this tag: as it is, mirrored, turned, ...
ORIENTATIONS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
    0: lambda a: a,
    9: lambda a: a,
}


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("tag", ORIENTATIONS)
def test_a_photo_is_turned_as_its_exif_tag_says(tag, format):
    exif = Image.Exif()
    exif[0x0112] = tag
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(format, {})
    corner = np.zeros((16, 16, 3), np.uint8)
    corner[:4], corner[:4, :6] = 255, (255, 0, 0)
    pixels, _ = decode(encoded(Image.fromarray(corner), format, exif=exif, **options), "x", 16)
    assert np.abs(pixels.astype(int) - ORIENTATIONS[tag](corner)).max() <= 3


def test_an_exact_size_changes_no_pixel(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    file = encoded(Image.fromarray(np.repeat(np.repeat(COLOURS, 4, 0), 4, 1)), "JPEG", exif=exif)
    (tmp_path / "photo.jpg").write_bytes(file)
    exact = decode(file, "x", 64, exact=64)[0]
    assert np.array_equal(exact, decode(file, "x", 64)[0])
    assert np.array_equal(exact, read_image(tmp_path / "photo.jpg", 64))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # pytest shows what minidl hides
def test_a_damaged_exif_tag_is_not_obeyed():
    file = encoded(Image.fromarray(COLOURS), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff rubbish")
    assert decode(file, "x", 16)[0].shape == (16, 16, 3)


def test_a_jpeg_with_a_second_picture_is_a_jpeg():
    file = encoded(Image.fromarray(COLOURS), "MPO", save_all=True, append_images=[Image.new("RGB", (16, 16))])
    assert decode(file, "x", 16, exact=16)[0].shape == (16, 16, 3)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP"])
def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(monkeypatch, format):
    monkeypatch.setattr("minidl.data.images._decode", None)
    file, most = encoded(Image.fromarray(COLOURS), format), 127 if format == "WEBP" else 255
    with pytest.raises(DataError, match=f"big: 16x16, 256 pixels, at most {most} are read"):
        decode(file, "big", 16, limits=replace(LIMITS, pixels=255))


def test_far_too_many_pixels_for_pillow_say_so_in_the_same_words():
    bomb = bytearray(encoded(Image.new("1", (8, 8)), "PNG"))
    bomb[16:24] = struct.pack(">II", 60_000, 50_000)
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    with pytest.raises(DataError, match="big.png: 3,000,000,000 pixels, at most 64,000,000 are read"):
        decode(bytes(bomb), "big.png", 16)


def test_the_limit_of_pixels_is_lifted_for_photos_of_folders_that_are_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr("minidl.data.limits.LIMITS", replace(LIMITS, pixels=255))
    (tmp_path / "photo.png").write_bytes(encoded(Image.fromarray(COLOURS), "PNG"))
    with pytest.raises(DataError, match="256 pixels"):
        read_image(tmp_path / "photo.png", 16)
    monkeypatch.setenv("MINIDL_TRUST", f"/nowhere{os.pathsep}{tmp_path}")
    assert np.array_equal(read_image(tmp_path / "photo.png", 16), COLOURS)


def scans(count, behind=b""):
    """A progressive JPEG that goes `count` times more over its pixels than it must."""
    jpeg = encoded(Image.fromarray(COLOURS), "JPEG", progressive=True)
    last = jpeg.rfind(b"\xff\xda")
    return jpeg[:last] + jpeg[last:-2] * (count + 1) + jpeg[-2:] + behind


def test_a_jpeg_that_goes_over_its_pixels_any_number_of_times_is_refused():
    with pytest.raises(DataError, match="x: 110 scans, at most 100 are read"):
        decode(scans(100), "x", 16)


def test_a_jpeg_of_ten_scans_followed_by_a_film_is_read():
    film = np.random.default_rng(0).bytes(1000) + b"\xff\xda" * 200
    assert np.array_equal(decode(scans(0, film), "x", 16)[0], decode(scans(0), "x", 16)[0])


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_pixels_in_letters_and_headers_without_end_are_refused_before_they_are_read():
    ppm = b"P3\n16 16\n255\n" + b"7 " * 768
    assert (decode(ppm, "x", 16)[0] == 7).all()
    with pytest.raises(DataError, match="x: 1,549 bytes of text, at most 1,000 are read"):
        decode(ppm, "x", 16, limits=replace(LIMITS, text=1000))
    jpeg = encoded(Image.fromarray(COLOURS), "JPEG")
    exif = b"\xff\xe1\0\x10Exif\0\0MM\0*\0\0\0\x08"
    assert decode(jpeg[:2] + exif * 9 + jpeg[2:] + b"\xff\xe1" * 2000, "x", 16)[0].shape == (16, 16, 3)
    with pytest.raises(DataError, match="x: 1,001 EXIF headers, at most 1,000 are read"):
        decode(jpeg[:2] + exif * 1001 + jpeg[2:], "x", 16)


OTHERS = sorted({"EPS", "PDF", "ICO", "TGA", "PCX", "SGI", "DDS", "ICNS", "MSP", "XBM", "JPEG2000", "AVIF", "QOI"})


@pytest.mark.parametrize("format", OTHERS)
def test_what_is_none_of_the_seven_formats_is_not_opened(format):
    Image.init()
    if format not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {format}")
    mode = "1" if format in ("MSP", "XBM") else "RGB"
    with pytest.raises(DataError, match="photo.jpg: not an image file, or of a kind that isn't read .JPEG, PNG"):
        decode(encoded(Image.new(mode, (16, 16)), format), "photo.jpg", 16)


def test_a_page_of_postscript_called_jpg_starts_no_program(monkeypatch):
    started = []
    monkeypatch.setattr("subprocess.Popen", lambda *args, **options: started.append(args))
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\n(x) run\nshowpage\n%%EOF\n"
    with pytest.raises(DataError, match="photo.jpg: not an image file"):
        decode(page, "photo.jpg", 16)
    assert started == []


def test_a_pipe_or_a_device_is_no_photo(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", "/dev/zero"):
        with pytest.raises(DataError, match="can't be read .not a regular file."):
            read_image(path, 16)


def test_a_photo_of_too_many_bytes_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("minidl.data.limits.LIMITS", replace(LIMITS, file=1000))
    with open(tmp_path / "photo.jpg", "wb") as file:
        file.truncate(1001)
    with pytest.raises(DataError, match="photo.jpg: can't be read .1,001 bytes, at most 1,000 are read"):
        read_image(tmp_path / "photo.jpg", 16)


@pytest.mark.parametrize("strip", [1, 7, 1 << 20])
def test_the_strips_in_which_deep_images_are_converted_change_no_pixel(monkeypatch, strip):
    file = encoded(from_array(RAMP / 32767.5 - 1, np.float32), "TIFF")
    whole = decode(file, "x", 16)[0]
    monkeypatch.setattr("minidl.data.images._STRIP", strip)
    assert np.array_equal(decode(file, "x", 16)[0], whole)

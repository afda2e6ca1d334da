import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image, ImageOps

from spyv4.errors import ImageError
from spyv4.preprocess import STRIP, boxes_to_picture, load_frame, read_image, stretch, to_images

ORIENTATION = 0x0112


def picture(height: int = 40, width: int = 60) -> Image.Image:
    """Left half red, right half blue."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:, : width // 2, 0] = 255
    rgb[:, width // 2 :, 2] = 255
    return Image.fromarray(rgb)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def huge_png(side: int) -> bytes:
    """The start of a PNG of `side` x `side` pixels, whose data nobody wrote."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def test_pixels_come_as_bgr(tmp_path: Path) -> None:
    path = tmp_path / "halves.png"
    path.write_bytes(encoded(picture()))
    for source in (path, str(path), path.read_bytes()):
        frame = read_image(source)
        assert (frame.shape, frame.dtype) == ((40, 60, 3), np.uint8)
        assert frame[0, 0].tolist() == [0, 0, 255]
        assert frame[0, -1].tolist() == [255, 0, 0]
        assert frame.flags["C_CONTIGUOUS"]


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nowhere\.png does not exist"):
        read_image(tmp_path / "nowhere.png")


def test_truncated_jpeg_is_named_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG")
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match=r"cut\.jpg is damaged or cut short"):
        read_image(path)
    with pytest.raises(ImageError, match="the data sent is damaged"):
        read_image(path.read_bytes())
    with Image.open(path) as lazy, pytest.raises(ImageError, match="damaged or cut short"):
        load_frame(lazy)


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.4", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"notes\.txt is not a picture"):
        read_image(path)


@pytest.mark.parametrize("side", [30_000, 11_000, 9_000])
def test_huge_picture_is_refused_before_decoding(side: int) -> None:
    """Pillow itself refuses the first, warns of the second, and would decode the third."""
    with pytest.raises(ImageError, match="megapixels"):
        read_image(huge_png(side))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"])
def test_damaged_files_raise_nothing_else(kind: str) -> None:
    rng = np.random.default_rng(1)
    whole = encoded(Image.fromarray(rng.integers(0, 255, (20, 30, 3), dtype=np.uint8)), kind)
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(60):
            data = bytearray(whole)
            for place in rng.integers(0, min(len(data), 200), 4):
                data[place] = rng.integers(256)
            try:
                frame = read_image(bytes(data[: rng.integers(1, len(data) + 1)]))
                assert frame.shape[2] == 3
            except ImageError:
                refused += 1
    assert refused > 10


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, "top left"), (3, "bottom right"), (6, "top right")]
)
def test_orientation_of_the_camera_is_applied(orientation: int, corner: str) -> None:
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[:10, :10] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    frame = read_image(encoded(Image.fromarray(rgb), "PNG", exif=exif))
    assert frame.shape[:2] == ((60, 40) if orientation == 6 else (40, 60))
    row = 0 if "top" in corner else -1
    column = 0 if "left" in corner else -1
    assert frame[row, column].tolist() == [255, 255, 255]
    assert frame.sum() == 10 * 10 * 3 * 255


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK", "YCbCr"])
def test_every_kind_of_picture_becomes_bgr(mode: str) -> None:
    half = picture().convert("L").convert(mode) if mode in ("1", "LA") else picture().convert(mode)
    kind = "TIFF" if mode in ("CMYK", "YCbCr") else "PNG"
    frame = read_image(encoded(half, kind))
    expected = np.asarray(half.convert("RGB"))[..., ::-1]
    np.testing.assert_array_equal(frame, expected)


def test_grey_of_sixteen_bits_keeps_its_shades() -> None:
    shades = np.arange(256, dtype=np.uint16).repeat(2).reshape(16, 32) * 256 + 17
    for kind in ("PNG", "TIFF"):
        frame = read_image(encoded(Image.fromarray(shades), kind))
        np.testing.assert_array_equal(frame, np.repeat((shades // 256)[..., None], 3, axis=2))


def test_cmyk_jpeg_keeps_its_colours() -> None:
    frame = read_image(encoded(picture(64, 64).convert("CMYK"), "JPEG", quality=95))
    assert np.abs(frame[32, 8].astype(int) - [0, 0, 255]).max() < 30
    assert np.abs(frame[32, 56].astype(int) - [255, 0, 0]).max() < 30


def test_pictures_in_memory_are_taken_as_they_are() -> None:
    frame = np.asarray(picture())[..., ::-1].copy()
    assert load_frame(frame) is frame
    np.testing.assert_array_equal(load_frame(picture()), frame)
    np.testing.assert_array_equal(load_frame(encoded(picture())), frame)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(4, np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.int16),
        np.zeros((4, 4), np.uint32),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
)
def test_arrays_of_another_form_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"must be uint8 or uint16 .* not \w+ of shape \["):
        load_frame(array)


@pytest.mark.parametrize("wide", [False, True])
def test_grey_and_transparent_arrays_are_pictures(wide: bool) -> None:
    """Of 16 bits the upper 8 count."""
    bgra = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    made = bgra.astype(np.uint16) * 256 + 255 if wide else bgra
    frame = load_frame(made)
    assert frame.flags["C_CONTIGUOUS"]
    np.testing.assert_array_equal(frame, bgra[..., :3])
    np.testing.assert_array_equal(load_frame(made[..., :3]), bgra[..., :3])
    for grey in (made[..., 0], made[..., :1], made[..., 0].astype(made.dtype.newbyteorder(">"))):
        shown = load_frame(grey)
        assert shown.dtype == np.uint8
        np.testing.assert_array_equal(shown, np.repeat(bgra[..., :1], 3, axis=2))


def test_addresses_and_folders_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"https://a\.example/dog\.jpg is an address; download it"):
        load_frame("https://a.example/dog.jpg")
    for folder in (tmp_path, str(tmp_path)):
        with pytest.raises(ImageError, match="is a folder; give its files one by one"):
            load_frame(folder)


@pytest.mark.parametrize("thing", [None, 3, [1, 2]])
def test_other_things_are_no_pictures(thing: Any) -> None:
    with pytest.raises(ImageError, match=f"not {type(thing).__name__} .*imread returns None"):
        load_frame(thing)


def test_empty_pictures_are_refused() -> None:
    with pytest.raises(ImageError, match="no pixels"):
        load_frame(np.zeros((0, 4, 3), np.uint8))
    with pytest.raises(ImageError, match="no pixels"):
        load_frame(Image.new("RGB", (4, 0)))


def test_images_are_rgb_shares_of_the_stated_size() -> None:
    frames = [np.asarray(picture(*size))[..., ::-1] for size in ((40, 60), (100, 30))]
    images = to_images(stretch([np.ascontiguousarray(frame) for frame in frames], (64, 96)))
    assert (images.shape, images.dtype) == ((2, 3, 64, 96), torch.float32)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images[:, :, 0, 0].tolist() == [[1, 0, 0]] * 2
    assert images[:, :, 0, -1].tolist() == [[0, 0, 1]] * 2


def test_boxes_are_stretched_back_and_cut() -> None:
    boxes = np.array([[0, 0, 64, 32], [-10, 16, 70, 40]], np.float32)
    back = boxes_to_picture(boxes, (32, 64), (100, 640))
    assert back.tolist() == [[0, 0, 640, 100], [0, 50, 640, 100]]
    assert boxes_to_picture(np.zeros((0, 4), np.float32), (32, 64), (9, 9)).shape == (0, 4)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1", "LA"])
@pytest.mark.parametrize("height", [1, STRIP, 2 * STRIP + 1])
def test_strips_change_nothing(mode: str, height: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (height, 5, 3), np.uint8)
    image = Image.fromarray(noise).convert(mode)
    expected = np.asarray(image.convert("RGB"))[..., ::-1]
    np.testing.assert_array_equal(load_frame(image), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpegs_are_turned_as_pillow_turns_them(orientation: int) -> None:
    picture = Image.fromarray(skimage.data.chelsea()[:80, :120])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(picture, "JPEG", exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        turned = np.asarray(ImageOps.exif_transpose(opened))
    assert np.array_equal(read_image(data), turned[..., ::-1])


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_that_do_not_say_what_white_is_are_refused(mode: str) -> None:
    with pytest.raises(ImageError, match="pixels of 32 bits"):
        read_image(encoded(Image.new(mode, (20, 20), 1), "TIFF"))

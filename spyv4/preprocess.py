"""From a picture to the network's input, and boxes back to the picture."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Union

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from spyv4.errors import ImageError
from spyv4.jpeg import decode_jpeg

MAX_PIXELS = 64_000_000
STRIP = 128
"""Rows that are converted at a time."""
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
"""By orientation: whether rows become columns, and which of the two then run backwards."""
# What Pillow raises, by format, for files that are cut short or hold nonsense.
_DAMAGED = (OSError, SyntaxError, ValueError, RuntimeError, EOFError)

Frame = NDArray[np.uint8]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]
Picture = Union[str, Path, bytes, Pixels, Image.Image]  # noqa: UP007 (mypy needs the alias)


def read_image(source: str | Path | bytes) -> Frame:
    """Decode a picture file, or its bytes, whole or not at all.

    The orientation that a camera notes in the file is applied, as browsers do.

    Args:
        source: a path, or the bytes of a file.

    Returns:
        BGR uint8 [H, W, 3].

    Raises:
        ImageError: if it is missing, not a picture, cut short, or of more than 64 megapixels; or if
            `source` is a folder or an address.
    """
    if isinstance(source, str) and "://" in source:
        raise ImageError(f"{source} is an address; download it, and give the file or its bytes")
    name = "the data sent" if isinstance(source, bytes) else str(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            if image.format == "JPEG" and image.mode in ("RGB", "L"):
                _check_size(image, name)
                data = source if isinstance(source, bytes) else Path(source).read_bytes()
                return _turned(decode_jpeg(data, "BGR"), image.getexif())
            return to_frame(image, name)
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist") from error
    except IsADirectoryError as error:
        raise ImageError(
            f"{name} is a folder; give its files one by one, or use spyv4-detect"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} has more than {MAX_PIXELS // 10**6} megapixels") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture in a known format") from error
    except _DAMAGED as error:
        raise ImageError(f"{name} is damaged or cut short: {error}") from error


def to_frame(image: Image.Image, name: str = "the picture") -> Frame:
    """A PIL picture as BGR uint8 [H, W, 3].

    Raises:
        ImageError: if it has no pixels, more than 64 million, or such of 32 bits.
    """
    _check_size(image, name)
    if image.mode in ("F", "I"):
        raise ImageError(
            f"{name} has pixels of 32 bits, which do not say what white is; convert it to 8 or 16"
        )
    if image.getexif().get(_ORIENTATION_TAG, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return to_bgr(np.asarray(image))  # Pillow would cut these at 255 and show white
    return _strip_by_strip(image)


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height == 0:
        raise ImageError(f"{name} has no pixels")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} is {width} x {height} pixels; at most {MAX_PIXELS // 10**6} megapixels "
            "are accepted"
        )


def _turned(frame: Frame, exif: Image.Exif) -> Frame:
    """As the camera noted that it is to be shown."""
    orientation = exif.get(_ORIENTATION_TAG, 1)
    if orientation not in _TURNS:
        return frame
    transpose, flip_rows, flip_columns = _TURNS[orientation]
    turned = frame.transpose(1, 0, 2) if transpose else frame
    turned = turned[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    return np.ascontiguousarray(turned)


def _strip_by_strip(image: Image.Image) -> Frame:
    """The conversion to BGR in strips, since whole copies take several times the memory."""
    width, height = image.size
    frame = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, STRIP):
        strip = image.crop((0, top, width, min(top + STRIP, height)))
        frame[top : top + STRIP] = np.asarray(strip.convert("RGB"))[..., ::-1]
    return frame


def to_bgr(pixels: Pixels) -> Frame:
    """An array of pixels as BGR uint8 [H, W, 3]; itself where it is that already.

    Args:
        pixels: uint8 or uint16, which spans 0..65535 and keeps its upper 8 bits; grey [H, W] or
            [H, W, 1], BGR [H, W, 3], or BGRA [H, W, 4], whose alpha is left out (OpenCV's order of
            the colours; for RGBA hand over `Image.fromarray(rgba)` instead).

    Raises:
        ImageError: if it is of another shape or type, or has no pixels.
    """
    stacked: NDArray[Any] = pixels[..., None] if pixels.ndim == 2 else pixels
    if not (_is_unsigned(pixels) and stacked.ndim == 3 and stacked.shape[2] in (1, 3, 4)):
        raise ImageError(
            "a picture array must be uint8 or uint16 of shape [H, W], [H, W, 1], [H, W, 3] (BGR) "
            f"or [H, W, 4] (BGRA), not {pixels.dtype} of shape {list(pixels.shape)}"
        )
    if 0 in pixels.shape:
        raise ImageError("the picture has no pixels")
    frame: Frame = (stacked >> 8).astype(np.uint8) if pixels.itemsize == 2 else stacked
    if frame.shape[2] == 1:
        return np.repeat(frame, 3, axis=2)
    return frame if frame.shape[2] == 3 else np.ascontiguousarray(frame[..., :3])


def _is_unsigned(pixels: Pixels) -> bool:
    """Whether they are of 8 or 16 bits without sign, in either order of the bytes."""
    return pixels.dtype.kind == "u" and pixels.itemsize in (1, 2)


def load_frame(picture: Picture) -> Frame:
    """Any accepted kind of picture as BGR uint8 [H, W, 3].

    Raises:
        ImageError: if it cannot be read, or is an array that `to_bgr` refuses.
    """
    if isinstance(picture, np.ndarray):
        return to_bgr(picture)
    if isinstance(picture, Image.Image):
        try:
            return to_frame(picture)
        except _DAMAGED as error:  # files are decoded only now
            raise ImageError(f"the picture is damaged or cut short: {error}") from error
    if not isinstance(picture, str | Path | bytes):
        raise ImageError(
            "a picture must be a path, bytes, an array or a PIL picture, not "
            f"{type(picture).__name__} (cv2.imread returns None for a file it cannot read)"
        )
    return read_image(picture)


def stretch(frames: Sequence[Frame], image_size: tuple[int, int]) -> Frame:
    """Stretch frames to the network's size; does without torch, so that any thread may do it.

    Args:
        frames: BGR uint8 [H, W, 3], of any sizes.
        image_size: (height, width) in pixels.

    Returns:
        RGB uint8 [B, height, width, 3].
    """
    height, width = image_size
    return np.stack(
        [
            cv2.cvtColor(
                cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR),
                cv2.COLOR_BGR2RGB,
            )
            for frame in frames
        ]
    )


def to_images(stretched: Frame) -> Tensor:
    """What `stretch` gives as RGB float32 [B, 3, height, width] in 0..1, channels last."""
    return torch.from_numpy(stretched).permute(0, 3, 1, 2).float().div_(255)


def boxes_to_picture(
    boxes_xyxy: NDArray[np.float32],
    image_size: tuple[int, int],
    picture_size: tuple[int, int],
) -> NDArray[np.float32]:
    """Boxes from pixels of the network's image to pixels of the picture, cut at its edges.

    Args:
        boxes_xyxy: [N, 4].
        image_size: (height, width) of the network's image.
        picture_size: (height, width) of the picture.
    """
    height, width = picture_size
    scale = np.array([width / image_size[1], height / image_size[0]] * 2, dtype=np.float32)
    limits = np.array([width, height] * 2, dtype=np.float32)
    clipped: NDArray[np.float32] = np.clip(boxes_xyxy * scale, 0, limits)
    return clipped

"""From a picture to the network's input, and boxes back to the picture."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Union

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from spyv4.errors import ImageError

MAX_PIXELS = 64_000_000
STRIP = 128
"""Rows that are converted at a time."""
_ORIENTATION_TAG = 0x0112
# What Pillow raises, by format, for files that are cut short or hold nonsense.
_DAMAGED = (OSError, SyntaxError, ValueError, RuntimeError, EOFError)

Frame = NDArray[np.uint8]
Picture = Union[str, Path, bytes, Frame, Image.Image]  # noqa: UP007 (mypy needs the alias)


def read_image(source: str | Path | bytes) -> Frame:
    """Decode a picture file, or its bytes, whole or not at all.

    The orientation that a camera notes in the file is applied, as browsers do.

    Args:
        source: a path, or the bytes of a file.

    Returns:
        BGR uint8 [H, W, 3].

    Raises:
        ImageError: if it is missing, not a picture, cut short, or of more than 64 megapixels.
    """
    name = "the data sent" if isinstance(source, bytes) else str(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return to_frame(image, name)
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"{name} has more than {MAX_PIXELS // 10**6} megapixels") from error
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture in a known format") from error
    except _DAMAGED as error:
        raise ImageError(f"{name} is damaged or cut short: {error}") from error


def to_frame(image: Image.Image, name: str = "the picture") -> Frame:
    """A PIL picture as BGR uint8 [H, W, 3].

    Raises:
        ImageError: if it has no pixels, or more than 64 million.
    """
    width, height = image.size
    if width * height == 0:
        raise ImageError(f"{name} has no pixels")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name} is {width} x {height} pixels; at most {MAX_PIXELS // 10**6} megapixels "
            "are accepted"
        )
    if image.getexif().get(_ORIENTATION_TAG, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        # Pillow would cut these at 255 and show white.
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return _strip_by_strip(image)


def _strip_by_strip(image: Image.Image) -> Frame:
    """The conversion to BGR in strips, since whole copies take several times the memory."""
    width, height = image.size
    frame = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, STRIP):
        strip = image.crop((0, top, width, min(top + STRIP, height)))
        frame[top : top + STRIP] = np.asarray(strip.convert("RGB"))[..., ::-1]
    return frame


def load_frame(picture: Picture) -> Frame:
    """Any accepted kind of picture as BGR uint8 [H, W, 3].

    Raises:
        ImageError: if it cannot be read, or an array is not uint8 [H, W, 3].
    """
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ImageError(
                f"a picture array must be BGR uint8 of shape [H, W, 3], not {picture.dtype} of "
                f"shape {list(picture.shape)}"
            )
        if 0 in picture.shape:
            raise ImageError("the picture has no pixels")
        return picture
    if isinstance(picture, Image.Image):
        try:
            return to_frame(picture)
        except _DAMAGED as error:  # files are decoded only now
            raise ImageError(f"the picture is damaged or cut short: {error}") from error
    if not isinstance(picture, str | Path | bytes):
        raise ImageError(
            "a picture must be a path, bytes, a BGR array or a PIL picture, not "
            f"{type(picture).__name__} (cv2.imread returns None for a file it cannot read)"
        )
    return read_image(picture)


def to_images(frames: Sequence[Frame], image_size: tuple[int, int]) -> Tensor:
    """Stretch frames to the network's size.

    Args:
        frames: BGR uint8 [H, W, 3], of any sizes.
        image_size: (height, width) in pixels.

    Returns:
        RGB float32 [B, 3, height, width] in 0..1, channels last in memory.
    """
    height, width = image_size
    stacked = np.stack(
        [
            cv2.cvtColor(
                cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR),
                cv2.COLOR_BGR2RGB,
            )
            for frame in frames
        ]
    )
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float().div_(255)


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

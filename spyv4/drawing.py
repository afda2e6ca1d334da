"""Drawing boxes with labels onto pictures, and the colours of the classes."""

import colorsys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from spyv4.errors import ArgumentError

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]
FONT = cv2.FONT_HERSHEY_SIMPLEX
INK: Colour = (15, 15, 15)


def class_colour(label: int) -> Colour:
    """The fixed colour of a class, RGB: hues a golden-ratio turn apart."""
    hue = (0.07 + label * 0.618034) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.68, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def colour_hex(label: int) -> str:
    """The colour of a class as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*class_colour(label))


def draw_boxes(
    image_bgr: Image,
    boxes_xyxy: NDArray[np.float32],
    texts: Sequence[str],
    colours: Sequence[Colour],
) -> Image:
    """A copy of the picture with a box and a label for everything found, the first on top.

    Args:
        image_bgr: uint8 [H, W, 3].
        boxes_xyxy: [N, 4] in pixels of the picture.
        texts: N labels.
        colours: N colours, RGB.
    """
    canvas = image_bgr.copy()
    height, width = canvas.shape[:2]
    line = max(1, round(min(height, width) / 240))
    size = max(0.4, min(height, width) / 900)
    found = zip(boxes_xyxy, texts, colours, strict=True)
    for box, text, colour in reversed(list(found)):
        left, top, right, bottom = (round(float(value)) for value in box)
        cv2.rectangle(canvas, (left, top), (right, bottom), colour[::-1], line)
        _draw_label(canvas, text, (left, top), colour[::-1], size)
    return canvas


def _draw_label(
    canvas: Image, text: str, corner: tuple[int, int], colour_bgr: Sequence[int], size: float
) -> None:
    """A label on top of a box, kept inside the picture."""
    (width, height), base = cv2.getTextSize(text, FONT, size, 1)
    left = max(0, min(corner[0], canvas.shape[1] - width - 6))
    top = max(0, corner[1] - height - base - 4)
    cv2.rectangle(canvas, (left, top), (left + width + 6, top + height + base + 4), colour_bgr, -1)
    cv2.putText(canvas, text, (left + 3, top + height + 2), FONT, size, INK, 1, cv2.LINE_AA)


def write_picture(path: Path, image_bgr: Image) -> None:
    """Write a picture, in the format that the file's suffix says; folders are made.

    Raises:
        ArgumentError: if no format has this suffix.
    """
    if not path.suffix or not cv2.haveImageWriter(path.name):
        raise ArgumentError(f"{path} must end in the suffix of a picture, such as .jpg or .png")
    _, encoded = cv2.imencode(path.suffix, image_bgr)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded.tobytes())

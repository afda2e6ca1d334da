"""Photographs with boxes, ready to be put into a page."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.data import Batch
from training.data.pictures import Picture
from training.report.charts import COLOURS
from training.report.findings import Mark

SIDE_PX = 400
BATCH_PICTURES = 16
JPEG_QUALITY = 80
CROWD = 6
"""More boxes than these have smaller labels."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
FONTS: tuple[Font, Font] = (ImageFont.load_default(15), ImageFont.load_default(10))
_VERDICTS = {"right": COLOURS[0], "wrong": COLOURS[1], "ignored": COLOURS[5]}
_LINE_PX, _PADDING_PX = 3, 3


def annotated(picture: Picture, marks: Sequence[Mark], side: int = SIDE_PX) -> str:
    """A picture with boxes as a JPEG in a data URI.

    Args:
        picture: uint8 [H, W, 3] RGB.
        marks: the boxes, in pixels of the picture; the last one lies on top.
        side: pixels of its longer side on the page.
    """
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(picture).resize(size)
    draw = ImageDraw.Draw(image)
    font = FONTS[len(marks) > CROWD]
    boxes = np.reshape([mark.box_xyxy for mark in marks], (-1, 4)) * scale
    corners = np.clip(boxes, 0, [size[0] - 1, size[1] - 1] * 2).round().astype(int).tolist()
    for mark, corner in zip(marks, corners, strict=True):
        draw.rectangle(corner, None, _colour(mark.kind), _LINE_PX)
    for mark, corner in zip(marks, corners, strict=True):  # on top of all boxes
        _label(draw, mark, corner, size, font)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def batch_pictures(batch: Batch, class_names: Sequence[str]) -> list[str]:
    """The first pictures of a training batch with what is to be learned from them."""
    images: NDArray[np.uint8] = batch.images.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    targets = batch.targets.numpy()
    pictures = []
    for index, image in enumerate(images[:BATCH_PICTURES]):
        marks = []
        for _, label, x, y, width, height in targets[targets[:, 0] == index].tolist():
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
            marks.append(Mark(box, class_names[int(label)], int(label)))
        pictures.append(annotated(image, marks))
    return pictures


def _colour(kind: str | int) -> str:
    """That of a class, or of a verdict."""
    return COLOURS[kind % len(COLOURS)] if isinstance(kind, int) else _VERDICTS[kind]


def _label(
    draw: ImageDraw.ImageDraw, mark: Mark, corners: list[int], size: tuple[int, int], font: Font
) -> None:
    """A label above a box, or in it where there is no room, inside the picture."""
    left, top = corners[:2]
    _, _, width, height = draw.textbbox((0, 0), mark.text, font)
    across, down = int(width) + 2 * _PADDING_PX, int(height) + 2 * _PADDING_PX
    left = max(0, min(left, size[0] - across))
    top = top - down if top >= down else top
    draw.rectangle((left, top, left + across, top + down), _colour(mark.kind))
    draw.text((left + _PADDING_PX, top + _PADDING_PX), mark.text, "#ffffff", font)

"""Drawing onto frames: boxes, a status line, and spike rasters."""

import colorsys
from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from spyv4 import Detections

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]
FONT = cv2.FONT_HERSHEY_SIMPLEX
PANEL_BGR: Colour = (24, 17, 13)
SPIKE_BGR: tuple[Colour, ...] = ((250, 214, 94), (160, 130, 255))
TEXT_BGR: Colour = (225, 215, 205)
STATUS_HEIGHT = 26


def class_colour(label: int) -> Colour:
    """The fixed colour of a class, RGB: hues a golden-ratio turn apart."""
    hue = (0.07 + label * 0.618034) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.68, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def colour_hex(label: int) -> str:
    """The colour of a class as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*class_colour(label))


def draw_boxes(image_bgr: Image, detections: Detections) -> Image:
    """A copy of the picture with a box and label for everything found, the highest score on top."""
    canvas = image_bgr.copy()
    height, width = canvas.shape[:2]
    line = max(1, round(min(height, width) / 240))
    size = max(0.4, min(height, width) / 900)
    found = zip(
        detections.boxes_xyxy, detections.labels, detections.names, detections.scores, strict=True
    )
    for box, label, name, score in reversed(list(found)):
        colour = class_colour(int(label))[::-1]
        left, top, right, bottom = (round(float(value)) for value in box)
        cv2.rectangle(canvas, (left, top), (right, bottom), colour, line)
        _draw_label(canvas, f"{name} {score:.0%}", (left, top), colour, size)
    return canvas


def _draw_label(
    canvas: Image, text: str, corner: tuple[int, int], colour: Sequence[int], size: float
) -> None:
    """A label on top of a box, kept inside the picture."""
    (width, height), base = cv2.getTextSize(text, FONT, size, 1)
    left = max(0, min(corner[0], canvas.shape[1] - width - 6))
    top = max(0, corner[1] - height - base - 4)
    cv2.rectangle(canvas, (left, top), (left + width + 6, top + height + base + 4), colour, -1)
    cv2.putText(
        canvas, text, (left + 3, top + height + 2), FONT, size, (15, 15, 15), 1, cv2.LINE_AA
    )


class RasterStrip:
    """The spikes of a few layers over the newest reads, as a picture below the video.

    Args:
        layers: names of the layers, top to bottom.
        columns: how many reads are remembered.
    """

    def __init__(self, layers: Sequence[str], columns: int = 160) -> None:
        self.layers = tuple(layers)
        self.columns = columns
        self._history: dict[str, deque[NDArray[np.bool_]]] = {
            layer: deque(maxlen=columns) for layer in self.layers
        }

    def add(self, detections: Detections) -> None:
        """Append one read."""
        for layer in self.layers:
            self._history[layer].append(detections.rasters[layer])

    def render(self, width: int, height: int = 90) -> Image:
        """The strip as BGR uint8 [layers * height, width, 3]; the newest read is at the right."""
        rows = [
            self._render_layer(layer, width, height, SPIKE_BGR[index % len(SPIKE_BGR)])
            for index, layer in enumerate(self.layers)
        ]
        return np.concatenate(rows)

    def _render_layer(self, layer: str, width: int, height: int, colour: Colour) -> Image:
        panel = np.full((height, width, 3), PANEL_BGR, np.uint8)
        history = self._history[layer]
        if history:
            neurons = max(len(column) for column in history)
            spikes = np.zeros((neurons, self.columns), np.uint8)
            for index, column in enumerate(reversed(history)):
                spikes[: len(column), self.columns - 1 - index] = column
            mask = cv2.resize(spikes, (width, height), interpolation=cv2.INTER_NEAREST)
            panel[mask > 0] = colour
        (text_width, _), _ = cv2.getTextSize(layer, FONT, 0.42, 1)
        cv2.rectangle(panel, (0, 0), (text_width + 12, 18), PANEL_BGR, -1)
        cv2.putText(panel, layer, (6, 13), FONT, 0.42, TEXT_BGR, 1, cv2.LINE_AA)
        cv2.line(panel, (0, 0), (width, 0), (60, 50, 45), 1)
        return panel


def status_bar(text: str, width: int) -> Image:
    """A line of text as a picture, BGR uint8 [STATUS_HEIGHT, width, 3]."""
    bar = np.full((STATUS_HEIGHT, width, 3), PANEL_BGR, np.uint8)
    cv2.putText(bar, text, (7, STATUS_HEIGHT - 8), FONT, 0.5, TEXT_BGR, 1, cv2.LINE_AA)
    return bar


def shallow_and_deep(layer_names: Sequence[str]) -> tuple[str, str]:
    """The pair of layers that is shown at first: the second, and the last but two."""
    return layer_names[min(1, len(layer_names) - 1)], layer_names[max(0, len(layer_names) - 3)]

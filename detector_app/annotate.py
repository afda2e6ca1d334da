"""What is shown below frames: a status line and spike rasters."""

from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from spyv4 import Detections
from spyv4.drawing import FONT, Colour, Image

PANEL_BGR: Colour = (24, 17, 13)
SPIKE_BGR: tuple[Colour, ...] = ((250, 214, 94), (160, 130, 255))
TEXT_BGR: Colour = (225, 215, 205)
STATUS_HEIGHT = 26


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

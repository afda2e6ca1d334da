"""The values that the detector hands out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Detections:
    """The boxes found in one picture after one read.

    Attributes:
        boxes_xyxy: float32 [N, 4], pixels of the original picture: left, top, right, bottom.
        scores: float32 [N], objectness times class probability, 0..1, highest first.
        labels: int64 [N], indices into `class_names`.
        class_names: names of all classes that the model knows.
        image_size: (height, width) of the original picture in pixels.
        reads: how many reads were made to get here, at least 1.
        firing_rates: share of neurons that spiked at this read, by layer name, 0..1; empty
            unless activity was asked for.
        rasters: for every layer that was asked for, bool [n] spikes of its first n sampled
            neurons at this read; empty unless asked for.
        timings_ms: wall time by stage (`preprocess`, `network`, `decode`) in milliseconds.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    reads: int
    firing_rates: Mapping[str, float] = field(default_factory=dict)
    rasters: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    timings_ms: Mapping[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def names(self) -> list[str]:
        """Class name of every box."""
        return [self.class_names[int(label)] for label in self.labels]

    def to_list(self) -> list[dict[str, Any]]:
        """Boxes as plain JSON values: `class`, `score`, `box` (left, top, right, bottom)."""
        return [
            {
                "class": name,
                "score": round(float(score), 4),
                "box": [round(float(v), 2) for v in box],
            }
            for name, score, box in zip(self.names, self.scores, self.boxes_xyxy, strict=True)
        ]

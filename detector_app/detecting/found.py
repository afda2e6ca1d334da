"""What was found in a picture or in a frame of a clip."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector_app.detecting.inputs import Input
from spyv4 import Detections, SpikeRecord
from spyv4.preprocess import Frame


@dataclass(frozen=True)
class Found:
    """A picture or frame, and what was found in it.

    Attributes:
        source: the picture, or the clip it is a frame of.
        image_bgr: uint8 [H, W, 3].
        detections: what was found.
        frame: its number in the clip, from 0; None for a picture.
        time_s: when it is shown in the clip, in seconds; None for a picture.
        spikes: of all reads, where they are recorded.
    """

    source: Input
    image_bgr: Frame
    detections: Detections
    frame: int | None = None
    time_s: float | None = None
    spikes: SpikeRecord | None = None

    @property
    def key(self) -> str:
        """What it is called in files about many: the path, and `#12` for frame 12."""
        path = str(self.source.path)
        return path if self.frame is None else f"{path}#{self.frame}"

    @property
    def name(self) -> Path:
        """Of files about it alone, without suffix: `a` for a picture, `a-000012` for a frame."""
        name = self.source.name
        return name if self.frame is None else name.with_name(f"{name.name}-{self.frame:06d}")

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values: `file`, of a frame `frame` and `time_s`, then `detections`."""
        place: dict[str, Any] = {"file": str(self.source.path)}
        if self.frame is not None and self.time_s is not None:
            place |= {"frame": self.frame, "time_s": round(self.time_s, 3)}
        height, width = self.detections.image_size
        size = {"width": width, "height": height}
        return place | size | {"detections": self.detections.to_list()}

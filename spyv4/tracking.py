"""Which object of a video is which: identities across frames, by ByteTrack."""

from dataclasses import replace

import numpy as np

from spyv4.extras import require_extra
from spyv4.types import Detections

MEMORY_FRAMES = 30
"""Frames at 30 a second, that is a second, for which an object that is not seen is remembered."""


class Tracker:
    """Numbers the objects of one video, frame by frame in their order.

    Boxes are joined by where ByteTrack (Zhang et al. 2022, by the library `trackers`) expects them,
    whatever their classes. An object has a number from the second frame on in which it is seen.
    Every box that is handed in may start an object, whatever its score: the detector's threshold
    has decided already.

    Args:
        frame_rate: frames per second of those that are handed in.

    Raises:
        RuntimeUnavailableError: if the extra `track` is not installed; says what to install.
    """

    def __init__(self, frame_rate: float) -> None:
        require_extra("track", "identities across frames")
        from trackers import ByteTrackTracker  # here: it takes seconds, and few need it

        self._byte_track = ByteTrackTracker(
            lost_track_buffer=MEMORY_FRAMES,
            frame_rate=frame_rate,
            track_activation_threshold=0.0,
            high_conf_det_threshold=0.0,
        )

    def update(self, detections: Detections) -> Detections:
        """`detections` of the next frame with their `tracks`."""
        given = detections.to_supervision()
        given.data = {"row": np.arange(len(detections))}
        known = self._byte_track.update(given)
        tracks = np.zeros(len(detections), np.int64)
        if len(known) and known.tracker_id is not None:
            tracks[known.data["row"]] = known.tracker_id + 1  # theirs start at -1, for unknown
        return replace(detections, tracks=tracks)

"""Looking at a picture or a clip: decoded, detected, tracked."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from detector_app.detecting.found import Found
from detector_app.detecting.inputs import Input
from detector_app.stream.clip import Clip, ClipFrame
from spyv4 import Detector, ReadOptions
from spyv4.errors import ImageError
from spyv4.preprocess import Frame, read_image
from spyv4.tracking import Tracker


@dataclass(frozen=True)
class Looker:
    """How pictures and clips are looked at.

    Attributes:
        detector: finds things.
        options: how it looks; `carry_state` is for clips alone.
        track: number the objects of every clip.
    """

    detector: Detector
    options: ReadOptions
    track: bool = False

    def picture(self, item: Input) -> Found:
        """What is found in a picture.

        Raises:
            ImageError: if it cannot be read.
        """
        try:
            image = read_image(item.path)
        except OSError as error:
            raise ImageError(str(error)) from error
        (detections,) = self.detector.stream_by(self.options, [image])
        return Found(item, image, detections)

    def clip(self, item: Input, clip: Clip) -> Iterator[Found]:
        """What is found in every frame of a clip, in their order.

        Raises:
            SourceError: at the end, if frames are missing there.
        """
        shown: deque[ClipFrame] = deque()

        def images() -> Iterator[Frame]:
            for frame in clip:
                shown.append(frame)
                yield frame.image_bgr

        tracker = Tracker(clip.rate) if self.track else None
        for detections in self.detector.stream_by(self.options, images()):
            found = detections if tracker is None else tracker.update(detections)
            frame = shown.popleft()
            yield Found(item, frame.image_bgr, found, frame.number, frame.time_s)

"""Looking at a picture or a clip: decoded, detected, tracked, filtered."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from detector_app.detecting.found import Found
from detector_app.detecting.frames import Clip, ClipFrame
from detector_app.detecting.inputs import Input
from spyv4 import Detections, Detector
from spyv4.errors import ImageError
from spyv4.options import ReadKeywords
from spyv4.preprocess import Frame, read_image
from spyv4.tracking import Tracker


@dataclass(frozen=True)
class Looker:
    """How pictures and clips are looked at.

    Attributes:
        detector: finds things.
        reads: of every picture and frame; None for the network's own number.
        options: the others of the detector's options; `carry_state` is for clips alone.
        classes: names of the classes that count; None for all.
        track: number the objects of every clip.
    """

    detector: Detector
    reads: int | None
    options: ReadKeywords
    classes: tuple[str, ...] | None = None
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
        (detections,) = self.detector.stream([image], self.reads, **self.options)
        return Found(item, image, self._chosen(detections))

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
        for detections in self.detector.stream(images(), self.reads, **self.options):
            chosen = self._chosen(detections)
            if tracker is not None:
                chosen = tracker.update(chosen)
            frame = shown.popleft()
            yield Found(item, frame.image_bgr, chosen, frame.number, frame.time_s)

    def _chosen(self, detections: Detections) -> Detections:
        """Those of the classes that count."""
        return detections if self.classes is None else detections.filter(self.classes)

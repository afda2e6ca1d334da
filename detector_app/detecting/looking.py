"""Looking at a picture or a clip: decoded, detected, tracked."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from detector_app.detecting.found import Found
from detector_app.detecting.inputs import Input
from detector_app.stream.clip import Clip, ClipFrame
from spyv4 import Detections, Detector, ReadOptions, SpikeRecord
from spyv4.errors import ImageError
from spyv4.preprocess import Frame, read_image
from spyv4.recording import Recorder
from spyv4.tracking import Tracker


@dataclass(frozen=True)
class Looker:
    """How pictures and clips are looked at.

    Attributes:
        detector: finds things.
        options: how it looks; `carry_state` is for clips alone.
        track: number the objects of every clip.
        recorder: looks in the detector's place and keeps all spikes, where they are wanted.
    """

    detector: Detector
    options: ReadOptions
    track: bool = False
    recorder: Recorder | None = None

    def picture(self, item: Input) -> Found:
        """What is found in a picture.

        Raises:
            ImageError: if it cannot be read.
        """
        try:
            image = read_image(item.path)
        except OSError as error:
            raise ImageError(str(error)) from error
        ((detections, spikes),) = self._looked([image])
        return Found(item, image, detections, spikes=spikes)

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
        for detections, spikes in self._looked(images()):
            found = detections if tracker is None else tracker.update(detections)
            frame = shown.popleft()
            yield Found(item, frame.image_bgr, found, frame.number, frame.time_s, spikes)

    def _looked(self, images: Iterable[Frame]) -> Iterator[tuple[Detections, SpikeRecord | None]]:
        """What is found in every picture of a stream, and its spikes where they are recorded."""
        if self.recorder is None:
            for detections in self.detector.stream_by(self.options, images):
                yield detections, None
        else:
            for record in self.recorder.stream(images):
                yield record.detections[-1], record

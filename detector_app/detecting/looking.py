"""Looking at a picture or a clip: decoded, detected, tracked."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from detector_app.detecting.found import Found
from detector_app.detecting.inputs import Input
from detector_app.errors import SourceError
from detector_app.stream.clip import Clip, ClipFrame, EventClip
from spyv4 import Detections, Detector, ReadOptions, SpikeRecord
from spyv4.errors import ImageError
from spyv4.preprocess import Frame, read_image
from spyv4.recording import Recorder
from spyv4.tracking import Tracker

BATCH = 8
"""Pictures that are looked at together, which takes two thirds of the time of one by one."""
MAX_BATCH_BYTES = 200_000_000
"""Of decoded pictures, from which on fewer are looked at together."""


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

    def pictures(self, items: Iterable[Input]) -> Iterator[Found | ImageError]:
        """What is found in every picture, or why it cannot be read, in their order."""
        group: list[tuple[Input, Frame | ImageError]] = []
        for item in items:
            group.append((item, _read(item)))
            pixels = sum(0 if isinstance(image, ImageError) else image.size for _, image in group)
            if len(group) == BATCH or pixels > MAX_BATCH_BYTES:
                yield from self._group(group)
                group = []
        yield from self._group(group)

    def _group(
        self, group: Sequence[tuple[Input, Frame | ImageError]]
    ) -> Iterator[Found | ImageError]:
        looked = self._looked([image for _, image in group if not isinstance(image, ImageError)])
        for item, image in group:
            if isinstance(image, ImageError):
                yield image
            else:
                detections, spikes = next(looked)
                yield Found(item, image, detections, spikes=spikes)

    def clip(self, item: Input, clip: Clip | EventClip) -> Iterator[Found]:
        """What is found in every frame of a clip, in their order.

        Raises:
            SourceError: at the end, if frames are missing there.
        """
        shown: deque[ClipFrame] = deque()

        broken: list[SourceError] = []

        def images() -> Iterator[Frame]:
            try:
                for frame in clip:
                    shown.append(frame)
                    yield frame.image_bgr
            except SourceError as error:  # once the frames before it were looked at
                broken.append(error)

        tracker = Tracker(clip.rate) if self.track else None
        for detections, spikes in self._looked(images()):
            found = detections if tracker is None else tracker.update(detections)
            frame = shown.popleft()
            yield Found(item, frame.image_bgr, found, frame.number, frame.time_s, spikes)
        if broken:
            raise broken[0]

    def _looked(self, images: Iterable[Frame]) -> Iterator[tuple[Detections, SpikeRecord | None]]:
        """What is found in every picture of a stream, and its spikes where they are recorded."""
        if self.recorder is None:
            for detections in self.detector.stream_by(self.options, images, batch=BATCH):
                yield detections, None
        else:
            for record in self.recorder.stream(images):
                yield record.detections[-1], record


def _read(item: Input) -> Frame | ImageError:
    try:
        return read_image(item.path)
    except ImageError as error:
        return error
    except OSError as error:
        return ImageError(str(error))

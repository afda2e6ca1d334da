"""Annotated copies: of a picture a picture, of a clip an MP4."""

from pathlib import Path

import cv2

from detector_app.detecting.found import Found
from spyv4.drawing import write_picture

CODEC = "mp4v"
"""MPEG-4 part 2, which every build of OpenCV writes."""


class PictureCopy:
    """The annotated copy of a picture.

    Args:
        path: of the copy; its suffix says the format.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, found: Found) -> None:
        """Write the copy."""
        write_picture(self._path, found.detections.plot(found.image_bgr))

    def close(self) -> None:
        """Nothing is left to do."""


class ClipCopy:
    """The annotated copy of a clip, as large as its first frame.

    The codec has no odd sides: OpenCV leaves out the last column or row of such frames.

    Args:
        path: of the copy.
        rate: frames per second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._path, self._rate = path, rate
        self._size = (0, 0)
        self._frames = 0
        self._writer = cv2.VideoWriter()

    def write(self, found: Found) -> None:
        """Append the frame.

        Raises:
            OSError: if the file cannot be written.
        """
        image = found.detections.plot(found.image_bgr)
        if not self._frames:
            self._size = image.shape[1], image.shape[0]
            self._open()
        if (image.shape[1], image.shape[0]) != self._size:  # a clip may change
            image = cv2.resize(image, self._size)  # type: ignore[assignment]
        self._writer.write(image)
        self._frames += 1

    def close(self) -> None:
        """Finish the file, without which it cannot be played.

        Raises:
            OSError: if it does not hold all frames.
        """
        if not self._frames:
            return
        self._writer.release()
        # OpenCV says nothing where the disk is full.
        written = int(cv2.VideoCapture(str(self._path)).get(cv2.CAP_PROP_FRAME_COUNT))
        if written != self._frames:
            raise OSError(
                f"{self._path} holds {written} of {self._frames} frames; is the disk full?"
            )

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        code = cv2.VideoWriter.fourcc(*CODEC)
        if not self._writer.open(str(self._path), code, self._rate, self._size):
            raise OSError(f"{self._path} cannot be written as MP4 ({CODEC})")

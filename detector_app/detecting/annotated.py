"""Annotated copies: of a picture a picture, of a clip an MP4."""

from pathlib import Path

from detector_app.detecting.found import Found
from detector_app.mp4 import Mp4Writer
from spyv4.drawing import write_picture


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
    """The annotated copy of a clip.

    Args:
        path: of the copy.
        rate: frames per second.
    """

    def __init__(self, path: Path, rate: float) -> None:
        self._clip = Mp4Writer(path, rate)

    def write(self, found: Found) -> None:
        """Append the frame.

        Raises:
            OSError: if the file cannot be written.
        """
        self._clip.write(found.detections.plot(found.image_bgr))

    def close(self) -> None:
        """Finish the file.

        Raises:
            OSError: if it does not hold all frames.
        """
        self._clip.close()

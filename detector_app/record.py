"""Records what is watched: the frames with their boxes, as an MP4 that plays in real time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from detector_app.mp4 import Mp4Writer
from detector_app.stream.hub import Hub
from detector_app.stream.viewer import Update, Viewer
from spyv4 import ReadOptions
from spyv4.errors import ArgumentError

RATE = 15.0
"""Frames per second of a recording; a frame is repeated, or left out, so that time is kept."""
PAUSE_S = 1.0
"""What passes at most between two frames of a recording: longer silences are cut."""


@contextmanager
def recording(hub: Hub, options: ReadOptions, path: Path | None) -> Iterator[None]:
    """Record the first source of a hub while this lasts, if there is a path.

    Args:
        hub: from which the source is watched, started or not.
        options: how frames are looked at; resolved.
        path: of the MP4, which must not exist.

    Raises:
        ArgumentError: where the file exists already, or is no .mp4.
        OSError: where it could not be written.
    """
    if path is None:
        yield
        return
    if path.exists():
        raise ArgumentError(f"{path} exists already; name another file, or delete it")
    if path.suffix.lower() != ".mp4":
        raise ArgumentError(f"a recording is an MP4; name a file that ends in .mp4, not {path}")
    recorder = _Recorder(path)
    viewer = Viewer(options)
    hub.watch(viewer)
    thread = threading.Thread(target=recorder.follow, args=(viewer,), name="record", daemon=True)
    thread.start()
    try:
        yield
    finally:
        recorder.stop()
        thread.join()
        if recorder.error is not None:
            raise recorder.error


class _Recorder:
    """The thread that draws and writes."""

    def __init__(self, path: Path) -> None:
        self.error: OSError | None = None
        self._writer = Mp4Writer(path, RATE)
        self._stopping = threading.Event()
        self._time_s = 0.0  # in the recording, of the frame before
        self._captured_at = 0.0

    def stop(self) -> None:
        """Finish with what has come."""
        self._stopping.set()

    def follow(self, viewer: Viewer) -> None:
        """Write what comes until it is time to stop."""
        try:
            stopping = False
            while not stopping:
                stopping = self._stopping.is_set()
                for update in viewer.drain(timeout_s=0.1):
                    if update.last:
                        self._write(update)
            self._writer.close()
        except OSError as error:
            self.error = error

    def _write(self, update: Update) -> None:
        """As many copies of a frame as its time in the recording asks for."""
        captured_at = update.frame.captured_at
        if self._writer.frames:
            self._time_s += min(PAUSE_S, captured_at - self._captured_at)
        self._captured_at = captured_at
        image = update.detections.plot(update.frame.image_bgr)
        while self._writer.frames <= self._time_s * RATE:
            self._writer.write(image)

"""The live view in a window of OpenCV."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import TextIO

import cv2
import numpy as np
from numpy.typing import NDArray

from detector_app.annotate import RasterStrip, shallow_and_deep, status_bar
from detector_app.stream.hub import Hub
from detector_app.stream.viewer import Update, Viewer
from spyv4 import ReadOptions

TITLE = "SPYv4"
PROBE = "import cv2; cv2.namedWindow('probe'); cv2.destroyAllWindows()"
Image = NDArray[np.uint8]


def has_gui() -> bool:
    """Whether this OpenCV can open a window here.

    Qt ends the whole process where it finds no display, so on Linux another process tries first.
    """
    line = next((x for x in cv2.getBuildInformation().splitlines() if "GUI:" in x), "GUI: NONE")
    if line.split(":", 1)[1].strip() in ("", "NONE"):
        return False
    if not sys.platform.startswith("linux"):
        return True
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    command = [sys.executable, "-c", PROBE]
    try:
        subprocess.run(command, capture_output=True, timeout=20, check=True)  # noqa: S603
    except subprocess.SubprocessError:
        return False
    return True


def compose(update: Update, strip: RasterStrip, frames_per_s: float) -> Image:
    """A live frame with its boxes, a status line, and the rasters below."""
    canvas = update.detections.plot(update.frame.image_bgr)
    width = canvas.shape[1]
    read = f"read {update.detections.reads}/{update.reads}"
    text = f"{frames_per_s:.1f} fps   {update.latency_ms:.0f} ms   {read}"
    return np.concatenate([canvas, status_bar(text, width), strip.render(width)])


def show_window(image: Image) -> bool:
    """Show a picture; False once the window was closed or q or Esc pressed."""
    cv2.imshow(TITLE, image)
    if cv2.waitKey(1) & 0xFF in (ord("q"), 27):
        return False
    return cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) >= 1


def watch(hub: Hub, options: ReadOptions, show: Callable[[Image], bool] = show_window) -> None:
    """Show every read of the first source until it ends or `show` returns False.

    Args:
        hub: started.
        options: how frames are looked at; resolved.
        show: takes a picture of the view.

    Raises:
        SourceError: where the source is not there or was lost.
    """
    image = None
    strip = RasterStrip(shallow_and_deep(hub.detector.layer_names))
    viewer = Viewer(options)
    hub.watch(viewer)
    for updates in hub.follow(viewer):
        for update in updates:
            strip.add(update.detections)
        if updates and viewer.stream is not None:
            image = compose(updates[-1], strip, viewer.stream.rate.per_s)
        # Also where nothing new came: a window answers keys only while it is shown.
        if image is not None and not show(image):
            return


def print_lines(hub: Hub, options: ReadOptions, stream: TextIO) -> None:
    """Write a line of JSON for every frame of the first source, until it ends.

    Frames that come faster than they are read are skipped; `frame` counts all of them.

    Raises:
        SourceError: where the source is not there or was lost.
    """
    viewer = Viewer(options)
    hub.watch(viewer)
    for updates in hub.follow(viewer):
        for update in updates:
            if update.last:
                line = {"frame": update.frame.id, "latency_ms": round(update.latency_ms, 2)}
                line |= update.detections.to_dict()
                stream.write(json.dumps(line) + "\n")
        stream.flush()

"""`spyv4-webcam` in a window of a real X server, and a key that ends it."""

import re
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from detector_app.annotate import PANEL_BGR
from detector_app.window import TITLE
from tests.helpers.sessions import PATIENCE_S
from tests.helpers.virtual_screen import PROGRAMS, virtual_screen
from tests.unit.detector_app.scripted import wait_until

WEBCAM = "import sys; from detector_app.commands.webcam import webcam_command as c; sys.exit(c())"
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
HEADLESS = re.search(r"GUI: *(NONE)?$", cv2.getBuildInformation(), re.MULTILINE)

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} cannot be found"),
    pytest.mark.skipif(
        bool(HEADLESS),
        reason="this is opencv-python-headless, which opens no windows; see the Makefile",
    ),
]


@pytest.fixture
def screen(tmp_path):
    with virtual_screen(tmp_path) as made:
        yield made


@pytest.fixture
def webcam(screen, weights):
    command = [sys.executable, "-c", WEBCAM, "--source", "demo", "--view", "window"]
    with subprocess.Popen(
        [*command, "--weights", str(weights)],
        env=screen.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def colours(image):
    """How many different ones there are."""
    if image is None:
        return 0
    return len(np.unique(image.astype(np.uint32) @ np.array([1, 256, 65536], np.uint32)))


def shows_a_picture(screen):
    """Whether the window does; a blank one is taken off the screen and put there again.

    Where no window manager runs, Qt misses at times that its window came onto the screen, and never
    paints it: one time in five on a busy machine, with nothing but OpenCV's `imshow` in the loop.
    """
    if colours(screen.window(TITLE)) == 1:
        screen.xdotool("search", "--name", TITLE, "windowunmap", "windowmap")
        time.sleep(1)
    return colours(screen.window(TITLE)) > 1000


def test_a_window_shows_the_live_picture_until_q_is_pressed(screen, webcam):
    wait_until(lambda: shows_a_picture(screen) or webcam.poll() is not None, PATIENCE_S)
    assert webcam.poll() is None, webcam.stderr.read()
    first = screen.window(TITLE)
    assert (first == PANEL_BGR).all(axis=-1).mean() > 0.05  # the status line and the rasters
    wait_until(lambda: not np.array_equal(screen.window(TITLE), first))  # it moves
    screen.xdotool("search", "--name", TITLE, "windowfocus", "key", "q")
    assert webcam.wait(PATIENCE_S) == 0
    assert "frames:" in webcam.stdout.read()
    assert screen.window(TITLE) is None

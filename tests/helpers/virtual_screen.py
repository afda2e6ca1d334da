"""A screen of X11 that nobody sees, and what is on it."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PROGRAMS = ("Xvfb", "xdotool")
"""Both are packages of Debian, of the same names."""


class Screen:
    """A screen.

    Args:
        display: its number.
        file: that the server keeps its pixels in, in the format of xwd.
    """

    def __init__(self, display: int, file: Path) -> None:
        self._file = file
        self.environment = os.environ | {"DISPLAY": f":{display}"}
        self.environment.pop("WAYLAND_DISPLAY", None)

    def xdotool(self, *arguments: str) -> list[str]:
        """What xdotool says, line by line; nothing where it fails, as where it finds no window."""
        done = subprocess.run(
            ["xdotool", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        return done.stdout.splitlines() if done.returncode == 0 else []

    def pixels(self) -> NDArray[np.uint8]:
        """All that is on the screen, BGR [height, width, 3]."""
        data = self._file.read_bytes()
        head = np.frombuffer(data[:100], ">u4")
        width, height, row, colours = (int(head[index]) for index in (4, 5, 12, 19))
        start = int(head[0]) + 12 * colours
        rows = np.frombuffer(data, np.uint8, height * row, start).reshape(height, row)
        return rows[:, : 4 * width].reshape(height, width, 4)[..., :3].copy()

    def window(self, title: str) -> NDArray[np.uint8] | None:
        """What is on the screen where a window is, BGR; None where there is none (yet)."""
        shape = self.xdotool("search", "--name", title, "getwindowgeometry", "--shell", "%@")
        places = dict(line.split("=") for line in shape if "=" in line)
        if not places:
            return None
        left, top = max(0, int(places["X"])), max(0, int(places["Y"]))
        right, bottom = left + int(places["WIDTH"]), top + int(places["HEIGHT"])
        return self.pixels()[top:bottom, left:right]


@contextmanager
def virtual_screen(folder: Path) -> Iterator[Screen]:
    """A screen of 1280 x 1024 pixels, without a window manager."""
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x1024x24"]
    # Otherwise it starts anew when its last client leaves, xdotool say, and drops who comes then.
    command += ["-noreset", "-nolisten", "tcp", "-fbdir", str(folder)]
    with (
        os.fdopen(reading) as told,
        subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as server,
    ):
        os.close(writing)
        try:
            yield Screen(int(told.readline()), folder / "Xvfb_screen0")
        finally:
            server.terminate()

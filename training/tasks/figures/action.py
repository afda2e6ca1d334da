"""What `spyv4-tasks figure` does."""

import argparse

from spyv4 import Detector
from spyv4.errors import ArgumentError
from training.tasks.figures.drawing import Files
from training.tasks.figures.figure_1c import draw_1c
from training.tasks.figures.figure_1d import draw_1d
from training.tasks.figures.figure_3c import Scenes, draw_3c


def draw_figure(arguments: argparse.Namespace) -> int:
    """Draw the figure that `arguments` name, and say where it is.

    Raises:
        ArgumentError: if it needs a clip and has none.
        OSError: if its files cannot be written.
    """
    files = _draw(arguments)
    print(f"{files.picture} and {files.data}")
    return 0


def _draw(arguments: argparse.Namespace) -> Files:
    if arguments.figure == "1c":
        return draw_1c(arguments.output)
    if arguments.figure == "1d":
        return draw_1d(arguments.output)
    if arguments.clip is None:
        raise ArgumentError("figure 3c is of a video; name one with --clip FILE")
    scenes = Scenes(arguments.clip, arguments.irrelevant, arguments.frames, arguments.seed)
    detector = Detector.load(arguments.weights, runtime="torch", precision="float32", compile=False)
    return draw_3c(arguments.output, scenes, detector)

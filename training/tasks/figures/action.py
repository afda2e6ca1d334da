"""What `spyv4-tasks figure` does."""

import argparse

from spyv4 import Detector
from spyv4.errors import ArgumentError
from training.tasks.figures.costs import draw_2e, draw_table_1
from training.tasks.figures.drawing import Files
from training.tasks.figures.figure_1c import draw_1c
from training.tasks.figures.figure_1d import draw_1d
from training.tasks.figures.figure_2c import Training, draw_2c
from training.tasks.figures.figure_3c import Scenes, draw_3c
from training.tasks.figures.table_2 import draw_table_2


def draw_figure(arguments: argparse.Namespace) -> int:
    """Draw the figure that `arguments` name, and say where it is.

    Raises:
        ArgumentError: if it needs a clip, data or results and has none.
        OSError: if its files cannot be written.
    """
    files = _draw(arguments)
    print(f"{files.picture} and {files.data}")
    return 0


def _draw(arguments: argparse.Namespace) -> Files:
    folder = arguments.output
    simple = {"1c": draw_1c, "1d": draw_1d, "2e": draw_2e, "table-1": draw_table_1}
    if (draw := simple.get(arguments.figure)) is not None:
        return draw(folder)
    if arguments.figure == "2c":
        if arguments.data is None:
            raise ArgumentError("figure 2c is of MNIST; name its folder with --data FOLDER")
        training = Training(arguments.data, arguments.epochs, arguments.limit, arguments.seed)
        return draw_2c(folder, training)
    if arguments.figure == "table-2":
        if arguments.results is None:
            raise ArgumentError("table-2 is of runs; name the folder of their JSON with --results")
        return draw_table_2(folder, arguments.results)
    if arguments.clip is None:
        raise ArgumentError("figure 3c is of a video; name one with --clip FILE")
    scenes = Scenes(arguments.clip, arguments.irrelevant, arguments.frames, arguments.seed)
    detector = Detector.load(arguments.weights, runtime="torch", precision="float32", compile=False)
    return draw_3c(folder, scenes, detector)

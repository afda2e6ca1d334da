"""Which data each task has."""

from pathlib import Path

from training.tasks.config import TaskConfig
from training.tasks.data import TaskData
from training.tasks.events import open_cifar10, open_gestures
from training.tasks.mnist import CLOTHES, DIGITS, open_mnist


def open_data(config: TaskConfig, folder: Path) -> TaskData:
    """The data of a task.

    Args:
        config: says which.
        folder: where they are; nothing is ever downloaded.

    Raises:
        DatasetError: if they are missing or damaged; says what to put where.
    """
    if config.task == "s-mnist":
        return open_mnist(folder, "pixels", 0, DIGITS)
    if config.task == "ps-mnist":
        return open_mnist(folder, "permuted", 0, DIGITS)
    if config.task == "r-mnist":
        return open_mnist(folder, "poisson", config.frames, DIGITS)
    if config.task == "mnist":
        return open_mnist(folder, "static", config.frames, DIGITS)
    if config.task == "fashion-mnist":
        return open_mnist(folder, "static", config.frames, CLOTHES)
    if config.task == "dvs-gesture":
        return open_gestures(folder, config.frames)
    return open_cifar10(folder, config.frames)

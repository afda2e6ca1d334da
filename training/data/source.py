"""Where the pictures of a command come from: `--voc-root`, or the file of `--data`."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from spyv4.errors import ArgumentError
from training.choices import VOC_EVAL, VOC_TRAIN
from training.data.data_file import read_data_file
from training.data.voc import AnnotatedImage, read_split

logger = logging.getLogger(__name__)


class Reader(Protocol):
    """Reads the annotated pictures of a set; see `read_split`."""

    def __call__(
        self, name: str, class_names: Sequence[str], /, *, need_images: bool, skip_bad: bool
    ) -> list[AnnotatedImage]:
        """The pictures."""


@dataclass(frozen=True)
class DataSource:
    """A place with sets of annotated pictures.

    Attributes:
        reader: reads a set by its name.
        train_set: the one to train on where none is named.
        eval_set: likewise to evaluate on.
        class_names: the classes that the network shall have; None if the source does not say.
        title: what stands before the name of a set where it is shown.
    """

    reader: Reader
    train_set: str = VOC_TRAIN
    eval_set: str = VOC_EVAL
    class_names: tuple[str, ...] | None = None
    title: str = ""

    def read(
        self,
        name: str,
        class_names: Sequence[str],
        *,
        need_images: bool = True,
        skip_bad: bool = False,
    ) -> list[AnnotatedImage]:
        """The annotated pictures of a set; warns if they have nothing to find.

        Args:
            name: the set.
            class_names: the classes of the network.
            need_images: check that the pictures are there and complete.
            skip_bad: leave out damaged pictures and annotations instead of raising.

        Raises:
            DatasetError: if something is missing, damaged or not understood; names the file.
        """
        images = self.reader(name, class_names, need_images=need_images, skip_bad=skip_bad)
        difficult = [item.difficult for image in images for item in image.objects]
        if all(difficult):
            logger.warning(
                "%s%s has nothing to find: none of its %d pictures has an object%s",
                self.title,
                name,
                len(images),
                f"; all {len(difficult)} are difficult" if difficult else "",
            )
        return images


def open_source(voc_root: Path | None, data: Path | None) -> DataSource:
    """The source of the options `--voc-root` and `--data`, of which one is given.

    Raises:
        ArgumentError: if neither is given.
        DatasetError: if the data file is not one.
    """
    if voc_root is not None:
        return DataSource(partial(read_split, voc_root))
    if data is None:
        raise ArgumentError("give voc_root, or data")
    file = read_data_file(data)
    return DataSource(file.read, "train", "val", file.class_names, f"{data.name}:")

"""Which outputs are written, and where."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from detector_app.detecting.annotated import ClipCopy
from detector_app.detecting.inputs import Input, Targets
from detector_app.detecting.spikes import SpikeWriter
from detector_app.detecting.writers import (
    CocoWriter,
    CropWriter,
    JsonLinesWriter,
    JsonWriter,
    Writer,
    YoloWriter,
)


class NamedFiles(NamedTuple):
    """Files for everything together, each None where it is not wanted.

    Attributes:
        json: the boxes of everything, written at the end.
        jsonl: a line a picture and frame; without it every clip has a file of its own.
        coco: in COCO's layout, written at the end.
    """

    json: Path | None
    jsonl: Path | None
    coco: Path | None


@dataclass(frozen=True)
class Outputs:
    """What of the findings is written.

    Attributes:
        folder: for all that has no place of its own.
        picture_suffix: of annotated pictures and crops, such as `.jpg`.
        save: whether annotated copies are written.
        crop: whether a picture of every object is.
        yolo: whether YOLO's text files are.
        files: those that the user named.
        spikes: FILE.npz for the spikes of the only picture, or a folder for those of many.
    """

    folder: Path
    picture_suffix: str
    save: bool
    crop: bool
    yolo: bool
    files: NamedFiles
    spikes: Path | None = None

    def claim_files(self, targets: Targets) -> None:
        """Claim the files that the user named.

        Raises:
            ArgumentError: if one is an input, or named twice.
        """
        for name, path in self.files._asdict().items():
            if path is not None:
                targets.claim(path, f"--{name}")

    def writers(self, targets: Targets, class_names: Sequence[str]) -> list[Writer]:
        """The writers of all inputs together; those of lines come first, which are kept longest."""
        made: list[Writer] = []
        if self.files.jsonl is not None:
            made.append(JsonLinesWriter(self.files.jsonl))
        if self.files.json is not None:
            made.append(JsonWriter(self.files.json))
        if self.files.coco is not None:
            made.append(CocoWriter(self.files.coco, class_names))
        if self.yolo:
            made.append(YoloWriter(self.folder, targets))
        if self.crop:
            made.append(CropWriter(self.folder, self.picture_suffix, targets))
        if self.spikes is not None:
            made.append(SpikeWriter(self.spikes, targets))
        return made

    def copy_of(self, item: Input, targets: Targets) -> Path | None:
        """Where the annotated copy of an input goes, if it is written."""
        suffix = ".mp4" if item.is_clip else self.picture_suffix
        return targets.take(self.folder / f"{item.name}{suffix}") if self.save else None

    def writers_of_clip(
        self, item: Input, copy: Path | None, rate: float, targets: Targets
    ) -> list[Writer]:
        """The writers of a clip alone; `rate` is in frames per second."""
        made: list[Writer] = []
        if self.files.jsonl is None:
            made.append(JsonLinesWriter(targets.take(self.folder / f"{item.name}.jsonl")))
        if copy is not None:
            made.append(ClipCopy(copy, rate))
        return made


@contextmanager
def closing(writers: Sequence[Writer]) -> Iterator[Sequence[Writer]]:
    """`writers`, all of which are closed at the end, whatever happens."""
    with ExitStack() as stack:
        for writer in writers:
            stack.callback(writer.close)
        yield writers

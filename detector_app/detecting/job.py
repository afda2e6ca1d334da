"""The loop of `spyv4-detect`: from inputs to outputs."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby, takewhile
from typing import TextIO

from detector_app.detecting.annotated import PictureCopy
from detector_app.detecting.found import Found
from detector_app.detecting.inputs import Input, Targets
from detector_app.detecting.looking import Looker
from detector_app.detecting.outputs import Outputs, closing
from detector_app.detecting.progress import Progress
from detector_app.detecting.tally import Tally
from detector_app.detecting.writers import Writer
from detector_app.errors import SourceError
from detector_app.stream.clip import open_clip
from spyv4.errors import ImageError


class Job:
    """Looks at inputs in their order and hands what is found to the writers.

    Args:
        looker: how to look.
        outputs: what to write.
        targets: what is taken.
        every: of a clip, take one frame in so many.
        event_window_ms: length of a frame of a recording of events, in milliseconds.
        say: is given a line for every input that is done.
        terminal: where progress is shown, if it is a terminal.

    Attributes:
        tally: what was found so far, by class.
        problems: what was wrong with inputs, a line each.
        done: how many inputs are done, those with problems included.
        stopped_in: of the clip that `stop` ended, its path and how many frames were done.
    """

    def __init__(
        self,
        looker: Looker,
        outputs: Outputs,
        targets: Targets,
        *,
        every: int,
        event_window_ms: float,
        say: Callable[[str], None],
        terminal: TextIO,
    ) -> None:
        self.tally = Tally()
        self.problems: list[str] = []
        self.done = 0
        self.stopped_in = ""
        self._looker, self._outputs, self._targets = looker, outputs, targets
        self._every, self._event_window_ms = every, event_window_ms
        self._say, self._terminal = say, terminal
        self._seen = 0  # pictures

    def run(self, inputs: Sequence[Input], stop: threading.Event) -> None:
        """Look at the inputs, until `stop` is set.

        Raises:
            OSError: if an output cannot be written.
        """
        pictures = [item for item in inputs if not item.is_clip]
        progress = Progress(self._terminal, "pictures", len(pictures), "pictures")
        class_names = self._looker.detector.config.class_names
        left = takewhile(lambda _: not stop.is_set(), inputs)
        with closing(self._outputs.writers(self._targets, class_names)) as writers:
            for are_clips, items in groupby(left, key=lambda item: item.is_clip):
                if are_clips:
                    self._clips(items, writers, stop)
                else:
                    self._pictures(items, writers, progress)
        progress.clear()

    def _pictures(
        self, items: Iterable[Input], writers: Sequence[Writer], progress: Progress
    ) -> None:
        """Look at pictures, some at a time."""
        for found in self._looker.pictures(items):
            if isinstance(found, ImageError):
                self.problems.append(str(found))
            else:
                self._picture(found, writers, progress)
            self.done += 1
            self._seen += 1
            progress.show(self._seen)

    def _clips(
        self, items: Iterable[Input], writers: Sequence[Writer], stop: threading.Event
    ) -> None:
        for item in items:
            try:
                self._clip(item, writers, stop)
            except (ImageError, SourceError) as error:
                self.problems.append(str(error))
            self.done += not self.stopped_in

    def _picture(self, found: Found, writers: Sequence[Writer], progress: Progress) -> None:
        """Write and say what was found in a picture."""
        item = found.source
        copy = self._outputs.copy_of(item, self._targets)
        own: list[Writer] = [PictureCopy(copy)] if copy is not None else []
        self._hand_out(found, [*writers, *own])
        names, scores = found.detections.names, found.detections.scores
        summary = ", ".join(f"{n} {s:.2f}" for n, s in zip(names, scores, strict=True))
        progress.clear()
        self._say(f"{_arrow(item, copy)}: {summary or 'nothing'}")

    def _clip(self, item: Input, writers: Sequence[Writer], stop: threading.Event) -> None:
        """Look at a clip, frame by frame, until `stop` is set."""
        opened = open_clip(item.path, every=self._every, window_ms=self._event_window_ms)
        with opened as clip:
            copy = self._outputs.copy_of(item, self._targets)
            own = self._outputs.writers_of_clip(item, copy, clip.rate, self._targets)
            progress = Progress(self._terminal, str(item.path), clip.frames, "frames")
            tally, frames, started = Tally(), 0, time.perf_counter()
            try:
                with closing(own):
                    for found in self._looker.clip(item, clip):
                        self._hand_out(found, [*writers, *own])
                        tally.add(found)
                        frames += 1
                        progress.show(frames)
                        if stop.is_set():
                            self.stopped_in = f"{frames} frames of {item.path}"
                            break
            finally:
                progress.clear()
                per_s = frames / (time.perf_counter() - started)
                self._say(f"{_arrow(item, copy)}: {frames} frames, {per_s:.1f} a second; {tally}")

    def _hand_out(self, found: Found, writers: Sequence[Writer]) -> None:
        """Write and count what was found."""
        for writer in writers:
            writer.write(found)
        self.tally.add(found)


def _arrow(item: Input, copy: object) -> str:
    """From where to where."""
    return str(item.path) if copy is None else f"{item.path} -> {copy}"

"""All that is watched: feeds by name, and the streams that viewers share."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from detector_app.stream.feed import Feed, Frame
from detector_app.stream.scheduler import Scheduler
from detector_app.stream.sources import Source
from detector_app.stream.states import Policy, require_legal
from detector_app.stream.stream import FrameCounts, Stream
from detector_app.stream.viewer import Update, Viewer
from spyv4 import Detector, ReadOptions
from spyv4.choices import Reads
from spyv4.errors import ArgumentError


class StreamKey(NamedTuple):
    """What viewers must agree on to share the reads of a stream; thresholds are each one's own.

    Where reads are `auto`, all that decides when to stop is of `auto`, thresholds among them.
    """

    source: str
    reads: Reads | None
    carry_state: bool
    start_seed: int | None
    auto: tuple[Any, ...]


def _key(source: str, options: ReadOptions) -> StreamKey:
    auto: tuple[Any, ...] = ()
    if options.is_auto:
        auto = (options.rule, options.thresholds)
    return StreamKey(source, options.reads, options.carry_state, options.start_seed, auto)


class Hub:
    """Owns a detector, its scheduler, and a feed for every source.

    Args:
        detector: from now on used by the scheduler alone.
        sources: what can be watched, by distinct names; the first one by default.
        policy: what becomes of frames that come too fast.
        loss_level: at which level the log says that a source was lost.
    """

    def __init__(
        self,
        detector: Detector,
        sources: Iterable[Source] = (),
        policy: Policy = Policy.LATEST,
        *,
        loss_level: int = logging.ERROR,
    ) -> None:
        self.detector = detector
        self.scheduler = Scheduler(detector)
        size = detector.image_size
        self.feeds = {each.name: Feed(each, size, loss_level=loss_level) for each in sources}
        self._policy = policy
        self._streams: dict[StreamKey, Stream] = {}
        self._past = FrameCounts()  # of streams that nobody watches any more

    def start(self) -> None:
        """Start to look, and see once whether the first source is there."""
        self.scheduler.start()
        for feed in list(self.feeds.values())[:1]:
            feed.subscribe(_Probe(feed))

    def stop(self, timeout_s: float = 5.0) -> None:
        """End all threads; may be called any number of times."""
        self.scheduler.stop(timeout_s)
        for stream in self.streams:
            stream.close()
        for feed in self.feeds.values():
            feed.stop(timeout_s)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Those that somebody watches."""
        return tuple(self._streams.values())

    @property
    def viewers(self) -> int:
        """How many watch."""
        return sum(stream.viewers for stream in self.streams)

    @property
    def counts(self) -> FrameCounts:
        """What became of all frames since the start."""
        return sum((stream.counts for stream in self.streams), self._past)

    def feed(self, name: str | None = None) -> Feed:
        """The feed of a source by its name, or the first.

        Raises:
            ArgumentError: where there is none; the message names those there are.
        """
        found = next(iter(self.feeds.values()), None) if name is None else self.feeds.get(name)
        if found is None:
            there = ", ".join(self.feeds) or "none"
            raise ArgumentError(f"source must be one of those of the server: {there}")
        return found

    def watch(self, viewer: Viewer, source: str | None = None) -> None:
        """Deliver the frames of a source to `viewer` as its options say, and of no other.

        Call it from one thread, as the methods below.

        Raises:
            ArgumentError: where there is no such source.
        """
        feed, options = self.feed(source), viewer.options
        key = _key(feed.name, options)
        stream = self._streams.get(key)
        if stream is not None and viewer.stream is stream:
            return
        self.unwatch(viewer)
        if stream is None:
            stream = Stream(feed, self.scheduler, options, self._policy)
            self._streams[key] = stream
        stream.add(viewer)

    def unwatch(self, viewer: Viewer) -> None:
        """Deliver nothing to `viewer` any more."""
        stream = viewer.stream
        if stream is None:
            return
        stream.remove(viewer)
        if not stream.viewers:
            self._past += stream.counts
            self._streams = {key: each for key, each in self._streams.items() if each.viewers}

    def change(self, viewer: Viewer, options: ReadOptions) -> None:
        """Look with other options for `viewer`, and for nobody else."""
        viewer.options = options
        if viewer.stream is not None:
            self.watch(viewer, viewer.stream.feed.name)

    def retry(self, source: str | None = None) -> None:
        """Open a source again that was lost or ended.

        Raises:
            ArgumentError: where there is no such source.
            StreamStateError: where it is neither.
        """
        feed = self.feed(source)
        require_legal("retry", feed.state)
        feed.retry()

    def follow(self, viewer: Viewer, timeout_s: float = 0.1) -> Iterator[list[Update]]:
        """What comes to a viewer, again and again until its source ends or nobody can look.

        Raises:
            SPYv4Error: where the source is lost, or the detector failed.
        """
        while True:
            stream = viewer.stream
            finished = stream is None or stream.finished
            updates = viewer.drain(timeout_s)
            yield updates
            self.scheduler.require()
            error = None if stream is None else stream.feed.error
            if error is not None:
                raise error
            if finished and not updates:
                return


class _Probe:
    """Sees whether a source is there: wants one frame, and until that comes the reason why not."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed

    def offer(self, _: Frame) -> None:
        self._feed.unsubscribe(self)

    def wake(self) -> None:
        """Nothing to do: the feed knows its state."""

"""The inference thread: it alone uses the detector; everything else hands it pictures.

Live frames come from the capture thread's slot and are read only while somebody watches. Uploaded
pictures wait in a bounded queue and go first: one is served before every read of a live frame.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detector_app.capture import Capture, Frame
from detector_app.errors import (
    AbandonedError,
    PipelineClosingError,
    PipelineFailedError,
    PipelineStateError,
    SourceLostError,
)
from detector_app.exchange import Mailbox, Update
from detector_app.jobs import Answer, Job, JobQueue
from detector_app.sources import Source
from detector_app.states import LEGAL, State
from detector_app.telemetry import LatencyWindow, RateMeter
from spyv4 import Detections, Detector, ReadOptions
from spyv4.errors import SPYv4Error
from spyv4.network.spyv4 import SPYv4State
from spyv4.reading import EVERY_READ

logger = logging.getLogger(__name__)
FAILED = "the detector failed; its log says why; start it again"
SILENCE_S = 10.0
"""A running source that delivers nothing for so long counts as lost."""


class Pipeline:
    """Owns a detector, its inference thread and the capture thread.

    Args:
        detector: from now on used by the inference thread alone.
        source: what viewers watch, or None; `select` another.
        options: how live frames are looked at; replace it at any time.
        queue_size: how many pictures may wait.

    Attributes:
        failed: whether the inference thread broke down; only a new start helps.
    """

    def __init__(
        self,
        detector: Detector,
        source: Source | None = None,
        options: ReadOptions | None = None,
        queue_size: int = 8,
    ) -> None:
        self.detector = detector
        self.options = options or ReadOptions().resolved(detector.config)
        self._carried: SPYv4State | None = None
        self.jobs = JobQueue(queue_size)
        self.frame_rate, self.live_latency = RateMeter(), LatencyWindow()
        self.latest: Update | None = None
        self.source = source
        self._wake = threading.Condition()
        self._viewers: set[Mailbox] = set()
        self._started = self._stopping = self.failed = self._reading = False
        self._refusing = False
        self.capture = Capture(self._notify)
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)

    @property
    def state(self) -> State:
        """What the pipeline is doing."""
        if not self._started or self._stopping:
            return State.STOPPED
        if self.failed or self.capture.error is not None:
            return State.ERROR
        watched = self._viewers and self.source is not None and not self.capture.ended
        return State.RUNNING if watched else State.IDLE

    @property
    def error(self) -> SPYv4Error | None:
        """Why the state is ERROR, or None."""
        if self.failed:
            return PipelineFailedError(FAILED)
        return self.capture.error

    @property
    def finished(self) -> bool:
        """Whether the source came to its end and its last frame was read."""
        return self.capture.ended and not self.capture.pending and not self._reading

    @property
    def viewers(self) -> int:
        """How many watch."""
        return len(self._viewers)

    def start(self) -> None:
        """Start both threads, and look once whether the source is there."""
        self._started = True
        if self.capture.source is not self.source:
            self.capture.select(self.source)
        self.capture.start()
        self._thread.start()

    def refuse_waiting(self) -> None:
        """Give up what waits and what still comes."""
        self._refusing = True
        self.jobs.refuse_all(PipelineClosingError())

    def stop(self, timeout_s: float = 5.0) -> None:
        """End both threads and refuse what waits; may be called any number of times."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self.refuse_waiting()
        self.capture.stop(timeout_s)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def submit(
        self,
        image_bgr: NDArray[np.uint8],
        options: ReadOptions,
        on_read: Callable[[Detections], None] | None = None,
        *,
        rasters: bool = False,
    ) -> Answer:
        """Queue a picture; never blocks.

        Args:
            image_bgr: uint8 [H, W, 3].
            options: how to look at it.
            on_read: called in the inference thread after every read; must be quick.
            rasters: also sample the spikes of every layer.

        Returns:
            What will hold the detections after the last read; cancel it where nobody waits any
            more.

        Raises:
            PipelineBusyError: where `queue_size` pictures wait already.
            PipelineStateError: where the pipeline does not run.
            PipelineFailedError: where the inference thread broke down.
        """
        layers = self.detector.layer_names if rasters else ()
        job = Job(image_bgr, replace(options, activity=True, raster_layers=layers), on_read)
        with self._wake:
            self.require("submit")
            self.jobs.put(job)
            self._wake.notify_all()
        return job.result

    def watch(self, mailbox: Mailbox) -> None:
        """Deliver live reads to `mailbox` from now on; the first viewer opens the source."""
        with self._wake:
            self._viewers.add(mailbox)
            idle = self.capture.source is not self.source
            if idle and self.error is None:
                self._capture_from(self.source)

    def unwatch(self, mailbox: Mailbox) -> None:
        """End `watch`; without viewers the source is closed."""
        with self._wake:
            if mailbox not in self._viewers:
                return
            self._viewers.discard(mailbox)
            if not self._viewers and self.capture.error is None:
                self._capture_from(None)

    def select(self, source: Source | None) -> None:
        """Watch another source."""
        with self._wake:
            self.require("select")
            self.source = source
            self._capture_from(source)

    def retry(self) -> None:
        """Open the lost source again."""
        with self._wake:
            self.require("retry")
            self._capture_from(self.source)

    def require_room(self) -> None:
        """Raise what `submit` would raise now."""
        self.require("submit")
        self.jobs.require_room()

    def require(self, command: str) -> None:
        """Raise `PipelineStateError` where `command` is not legal now.

        Raises:
            PipelineFailedError: whatever the command, once the inference thread broke down.
            PipelineClosingError: likewise after `refuse_waiting`.
        """
        if self.failed:
            raise PipelineFailedError(FAILED)
        if self._refusing:
            raise PipelineClosingError
        state = self.state
        if state not in LEGAL[command]:
            legal = ", ".join(sorted(legal.value for legal in LEGAL[command]))
            raise PipelineStateError(
                f"{command} is not possible while the detector is {state.value}, only: {legal}"
            )

    def _capture_from(self, source: Source | None) -> None:
        """Capture another source; what the one before showed is no result any more."""
        self.capture.select(source)
        self.latest = self._carried = None

    def _notify(self) -> None:
        with self._wake:
            self._wake.notify_all()

    def _run(self) -> None:
        try:
            while not self._stopping:
                with self._wake:
                    self._wake.wait_for(self._has_work, timeout=1.0)
                self.jobs.serve(self._detect)
                self._serve_live()
        except Exception:
            logger.exception("the inference thread failed")
            with self._wake:
                self.failed = True
                self.capture.select(None)
            self.jobs.refuse_all(PipelineFailedError(FAILED))

    def _has_work(self) -> bool:
        return self._stopping or bool(self.jobs) or self.capture.pending

    def _detect(self, job: Job) -> Detections:
        last = job.options.reads or self.detector.config.reads
        at = (last,) if job.on_read is None else EVERY_READ
        found: list[Detections] = []
        for read in self.detector.read_batch([job.image_bgr], job.options, at=at):
            if job.result.abandoned:
                raise AbandonedError("nobody waits for this picture any more")
            found = read.detections
            if job.on_read is not None:
                job.on_read(found[0])
        return found[0]

    def _serve_live(self) -> None:
        """Read the newest frame, if there is one and somebody watches."""
        self._reading = True  # before the frame is taken: `finished` looks from other threads
        try:
            frame = self.capture.take()
            if frame is None:
                self._check_silence()
            elif self._viewers:
                self._read_live(frame)
            else:
                with self._wake:
                    if not self._viewers:
                        self._capture_from(None)
        except SPYv4Error as error:
            self.capture.fail(error)
        finally:
            self._reading = False

    def _check_silence(self) -> None:
        """A running source that delivers nothing for long is lost.

        Raises:
            SourceLostError: where that is so.
        """
        source = self.source
        silent = self.state is State.RUNNING and self.capture.silent_s > SILENCE_S
        if silent and source is not None:
            raise SourceLostError(
                f"{source.name} delivered no picture for {SILENCE_S:.0f} seconds; "
                "check its connection and start again"
            )

    def _read_live(self, frame: Frame) -> None:
        """All reads of a frame, unless the source changes or nobody watches any more."""
        source, latency_ms = self.source, 0.0
        layers = self.detector.layer_names
        options = replace(self.options, activity=True, raster_layers=layers)
        before = self._carried if options.carry_state else None
        for read in self.detector.read_batch([frame.image_bgr], options, state=before):
            latency_ms = 1000 * (time.monotonic() - frame.captured_at)
            reads = options.reads or self.detector.config.reads
            update = Update(frame, read.detections[0], reads, latency_ms)
            with self._wake:
                if self._stopping or not self._viewers or self.source is not source:
                    return
                self.latest = update
                viewers = tuple(self._viewers)
            for mailbox in viewers:
                mailbox.put(update)
            self.jobs.serve(self._detect)
            self._carried = read.state
        self.frame_rate.tick()
        self.live_latency.add(latency_ms)

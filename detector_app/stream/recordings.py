"""Recordings of event cameras, decoded piece by piece.

faery decodes AEDAT4 (iniVation) and RAW and DAT (Prophesee). The files of N-MNIST and N-Caltech101
have no library of a reasonable size: they are 40 bits an event, which numpy takes apart.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from detector_app.errors import SourceError
from spyv4.errors import SPYv4Error
from spyv4.extras import require_extra

AEDAT4, RAW, DAT, NMNIST = ".aedat4", ".raw", ".dat", ".bin"
AEDAT4_START = b"#!AER-DAT4.0\r\n"
MAX_HEADER_BYTES = 1_000_000
MAX_SENSOR_PIXELS = 8_000_000
"""More than any event camera has; a header that says more is damaged."""
NMNIST_SIDE = 34
"""Of the sensor that N-MNIST was recorded with, in pixels; its files do not say."""
MAX_NMNIST_BYTES = 16_000_000
"""Such files are decoded as a whole; those of the two data sets have at most some megabytes."""
EVENT_BYTES = 5
OVERFLOW_ROW, OVERFLOW_US = 240, 1 << 13
"""An event of this row is none: it says that the clock, of 13 bits, began anew."""


class Events(NamedTuple):
    """Some events of a recording, in the order of the file.

    Attributes:
        time_us: int64 [N], by the camera's clock.
        x, y: int64 [N], in pixels from the top left.
        on: bool [N], whether it became brighter, else darker.
    """

    time_us: NDArray[np.int64]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    on: NDArray[np.bool_]


class Recording(NamedTuple):
    """A recording that is open.

    Attributes:
        size: (height, width) of the sensor in pixels.
        pieces: its events, all of them on the sensor, decoded as they are asked for; `SourceError`
            where it is damaged.
    """

    size: tuple[int, int]
    pieces: Iterator[Events]


def is_recording(path: Path) -> bool:
    """Whether a file is of an event camera, by its suffix."""
    return path.suffix.lower() in (AEDAT4, RAW, DAT, NMNIST)


def require_reader(path: Path) -> None:
    """Raise `RuntimeUnavailableError` where a recording needs the `events` extra, and it lacks."""
    if is_recording(path) and path.suffix.lower() != NMNIST:
        require_extra("events", "recordings of event cameras")


def open_recording(path: Path) -> Recording:
    """Open a recording at its first event.

    Raises:
        SourceError: if it is none that can be read.
        RuntimeUnavailableError: if the `events` extra is not installed.
    """
    require_reader(path)
    with _naming(path):
        openers = {AEDAT4: _aedat4, NMNIST: _nmnist}
        recording = openers.get(path.suffix.lower(), _prophesee)(path)
    height, width = recording.size
    if not 0 < height * width <= MAX_SENSOR_PIXELS:
        raise SourceError(
            f"{path.name} is of a sensor of {width} x {height} pixels, which no camera has; it is "
            "damaged"
        )
    return Recording(recording.size, _named(path, recording.pieces))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say of what a library raises which file it is about."""
    try:
        yield
    except SPYv4Error:
        raise
    except BaseException as error:
        # What faery raises has no common ancestor, and where its own code panics is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SourceError(
            f"{path.name} cannot be read as a recording of an event camera: {reason}"
        ) from error


def _named(path: Path, pieces: Iterator[Events]) -> Iterator[Events]:
    """The pieces of a recording, whose errors say its name."""
    while True:
        with _naming(path):
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece


def _check_header(path: Path) -> None:
    """Look at the XML in the head of an AEDAT4 file: damaged, it may end faery and all with it.

    Raises:
        ValueError: if there is none, or it is not whole.
    """
    with path.open("rb") as file:
        start = file.read(len(AEDAT4_START))
        length = int.from_bytes(file.read(4), "little")
        if start != AEDAT4_START or length > MAX_HEADER_BYTES:
            raise ValueError("it does not start as AEDAT4 does")
        head = file.read(length)
    place = head.find(b"<dv")
    text_length = int.from_bytes(head[max(0, place - 4) : max(0, place)], "little")
    text = head[place : place + text_length]
    if place < 4 or len(text) < text_length:
        raise ValueError("its description is damaged")
    ET.fromstring(text.decode("ascii"))  # noqa: S314 - expat bounds what entities take


def _aedat4(path: Path) -> Recording:
    """The first stream of events; frames, of cameras that have them, are passed over."""
    from faery import aedat

    _check_header(path)
    decoder = aedat.Decoder(path)
    streams = [track for track in decoder.tracks() if track.data_type == "events"]
    if not streams:
        raise SourceError(f"{path.name} holds no events")
    width, height = streams[0].dimensions

    def pieces() -> Iterator[Events]:
        with decoder:
            for track, packet in decoder:
                if track.id == streams[0].id:
                    yield _events(packet)

    return Recording((height, width), pieces())


def _prophesee(path: Path) -> Recording:
    """RAW (EVT2, EVT2.1, EVT3) and DAT."""
    from faery import dat, evt

    raw = path.suffix.lower() == RAW
    decoder: Any = (evt if raw else dat).Decoder(path, None, None)
    if decoder.dimensions is None or not (raw or decoder.event_type == "cd"):
        raise SourceError(f"{path.name} does not hold the events of a sensor's pixels")
    width, height = decoder.dimensions

    def pieces() -> Iterator[Events]:
        with decoder:
            for packet in decoder:
                yield _events(packet["events"] if raw else packet)

    return Recording((height, width), pieces())


def _events(packet: NDArray[Any]) -> Events:
    """What faery decoded."""
    time_us, x, y = (packet[name].astype(np.int64) for name in ("t", "x", "y"))
    names = packet.dtype.names or ()
    return Events(time_us, x, y, packet["on" if "on" in names else "payload"].astype(bool))


def _nmnist(path: Path) -> Recording:
    """Five bytes an event: x, y, and 24 bits of which the first is the polarity."""
    size = path.stat().st_size
    if size % EVENT_BYTES or size > MAX_NMNIST_BYTES:
        raise SourceError(
            f"{path.name} has {size} bytes; a recording in the layout of N-MNIST has {EVENT_BYTES} "
            f"for each event, and at most {MAX_NMNIST_BYTES}"
        )
    data = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, EVENT_BYTES).astype(np.int64)
    x, y, high, middle, low = data.T
    overflow = y == OVERFLOW_ROW
    time_us = (high & 127) << 16 | middle << 8 | low
    time_us += np.cumsum(overflow) * OVERFLOW_US
    kept = ~overflow
    events = Events(time_us[kept], x[kept], y[kept], (high[kept] & 128) > 0)
    # Those of N-Caltech101 are of larger sensors.
    height, width = (
        max(NMNIST_SIDE, int(side.max(initial=0)) + 1) for side in (events.y, events.x)
    )
    return Recording((height, width), iter((events,)))

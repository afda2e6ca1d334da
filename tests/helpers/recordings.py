"""Small recordings of event cameras, in real formats."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

MOVING_US, SIDE = 200_000, 34


def moving_edge(duration_us: int = MOVING_US) -> NDArray[Any]:
    """An edge that crosses a sensor of 34 x 34 pixels, brighter before it and darker behind."""
    kind = np.dtype([("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])
    columns, rows = np.meshgrid(np.arange(2, SIDE), np.arange(SIDE), indexing="ij")
    events = np.zeros(2 * columns.size, kind)
    events["t"] = np.repeat(columns.ravel() * duration_us // SIDE, 2)
    events["x"] = np.stack((columns, columns - 2), axis=2).ravel()
    events["y"] = np.repeat(rows.ravel(), 2)
    events["on"] = np.tile([True, False], columns.size)
    return events


def write_nmnist(path: Path, events: NDArray[Any]) -> Path:
    """As N-MNIST: x, y, and the polarity before 23 bits of time in microseconds."""
    rows = np.zeros((len(events), 5), np.uint8)
    rows[:, 0], rows[:, 1] = events["x"], events["y"]
    times = events["t"].astype(np.int64)
    rows[:, 2] = events["on"].astype(np.int64) << 7 | times >> 16
    rows[:, 3], rows[:, 4] = times >> 8 & 255, times & 255
    path.write_bytes(rows.tobytes())
    return path


def write_aedat4(path: Path, events: NDArray[Any], size: tuple[int, int] = (SIDE, SIDE)) -> Path:
    """Three packets of events of a sensor of (height, width)."""
    aedat = pytest.importorskip("faery", reason="faery (extra events) writes AEDAT4").aedat

    def node(name: str, place: str, nodes: list[Any], **values: Any) -> Any:
        attributes = {
            key: aedat.DescriptionAttribute("int" if isinstance(value, int) else "string", value)
            for key, value in values.items()
        }
        return aedat.DescriptionNode(name, place, attributes, nodes)

    root = "/mainloop/Recorder/outInfo/"
    info = node("info", f"{root}0/info/", [], sizeX=size[1], sizeY=size[0], source="test")
    about = {"compression": "LZ4", "originalOutputName": "events", "typeIdentifier": "EVTS"}
    description = [node("outInfo", root, [node("0", f"{root}0/", [info], **about)])]
    with aedat.Encoder(path, description, aedat.LZ4_DEFAULT) as encoder:
        for piece in np.array_split(events, 3) if len(events) else ():
            encoder.write(0, piece)
    return path


def write_raw(path: Path, events: NDArray[Any], version: str = "evt3") -> Path:
    """RAW of Prophesee, EVT2 or EVT3."""
    evt = pytest.importorskip("faery", reason="faery (extra events) writes RAW").evt
    with evt.Encoder(path, version, False, (SIDE, SIDE), False) as encoder:
        encoder.write({"events": events})
    return path


def write_dat(path: Path, events: NDArray[Any]) -> Path:
    """DAT of Prophesee."""
    dat = pytest.importorskip("faery", reason="faery (extra events) writes DAT").dat
    kind = [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("payload", "u1")]
    with dat.Encoder(path, "dat2", "cd", False, (SIDE, SIDE)) as encoder:
        encoder.write(events.astype(kind))
    return path

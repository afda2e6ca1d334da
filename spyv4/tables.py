"""Detections as Parquet files: a row an object, and one for a picture without any.

A folder has a file for every part of the work and `_run.json`, which says how many there are to be
and what was asked for. Its name begins with `_`, so that readers of such folders pass over it.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spyv4.errors import TableError
from spyv4.extras import require_extra
from spyv4.files import write_atomically
from spyv4.types import Detections

if TYPE_CHECKING:
    import pyarrow as pa

RUN_FILE = "_run.json"
SUFFIX = ".parquet"
Row = dict[str, Any]


def is_table_folder(path: Path) -> bool:
    """Whether a folder was begun as one of these."""
    return (path / RUN_FILE).is_file()


def part_path(folder: Path, number: int) -> Path:
    """The file of a part of the work, which is numbered from 0."""
    return folder / f"part-{number:05d}{SUFFIX}"


def schema() -> "pa.Schema":
    """The columns.

    - `image`: path of the picture or clip, as it was named.
    - `frame`, `time_s`: of a clip, number of the frame from 0 and when it is shown; null else.
    - `width`, `height`: in pixels; `reads`: how many were made; `firing_rate`: share of neurons
      that spiked at the last of them, mean over the layers, 0..1; null where it was not read.
    - `class`, `score` (0..1), `box_xyxy` (left, top, right, bottom in pixels): of one object;
      null where there is none.
    - `error`: why the picture, or the rest of the clip, could not be read; null else.
    """
    require_extra("parquet", "Parquet files")
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("image", pa.string(), nullable=False),
            ("frame", pa.int32()),
            ("time_s", pa.float64()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("reads", pa.int32()),
            ("firing_rate", pa.float32()),
            ("class", pa.string()),
            ("score", pa.float32()),
            ("box_xyxy", pa.list_(pa.float32(), 4)),
            ("error", pa.string()),
        ]
    )


def rows_of(
    image: str, found: Detections, frame: int | None = None, time_s: float | None = None
) -> Iterator[Row]:
    """The rows of a picture or frame whose activity was asked for."""
    height, width = found.image_size
    common: Row = {"image": image, "frame": frame, "time_s": time_s}
    common |= {"width": width, "height": height, "reads": found.reads}
    common["firing_rate"] = float(np.mean([*found.firing_rates.values()]))
    if not len(found):
        yield common
    for name, score, box in zip(
        found.names, found.scores.tolist(), found.boxes_xyxy.tolist(), strict=True
    ):
        yield common | {"class": name, "score": score, "box_xyxy": box}


def error_row(image: str, error: str) -> Row:
    """The row of a picture, or of the end of a clip, that cannot be read."""
    return {"image": image, "error": error}


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    columns = schema()
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(list(rows), columns)
    write_atomically(path, lambda part: pq.write_table(table, part, compression="zstd"))


def read_rows(path: Path) -> list[Row]:
    """All rows of a folder whose parts are all there, in their order, or of one file.

    Raises:
        TableError: for a folder that lacks parts, and files that are none of these.
    """
    columns = schema()
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[Row] = []
    for file in _files(path):
        try:
            rows += pq.read_table(file, schema=columns).to_pylist()
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise TableError(f"{file} is no table of spyv4-detect: {reason}") from None
    return rows


def _files(path: Path) -> list[Path]:
    """The files of a folder, or the one that `path` is."""
    if path.is_file():
        return [path]
    try:
        parts = int(json.loads((path / RUN_FILE).read_text(encoding="utf-8"))["parts"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TableError(f"{path / RUN_FILE} cannot be read: {error}") from None
    files = [part_path(path, number) for number in range(parts)]
    missing = sum(not file.is_file() for file in files)
    if missing:
        raise TableError(
            f"{path} lacks {missing} of {parts} parts; give spyv4-detect the same command again, "
            "which goes on where it ended"
        )
    return files

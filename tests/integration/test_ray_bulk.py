"""Bulk detection over Ray: the same table as without it."""

import subprocess
import sys

import cv2
import pytest

from detector_app.stream.demo import DemoSource
from spyv4.tables import read_rows
from tests.helpers.sessions import PATIENCE_S

pytest.importorskip("ray", reason="the extra ray is not installed")
pytestmark = pytest.mark.slow
DETECT = "import sys; from detector_app.commands.detect import detect_command as c; sys.exit(c())"


def detect(pattern, output, weights, *options):
    command = [sys.executable, "-c", DETECT, str(pattern), "--output", str(output)]
    command += ["--weights", str(weights), "--score", "0.001", "--partition", "2", *options]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_actors_write_the_table_that_one_process_writes(weights, tmp_path):
    (tmp_path / "in").mkdir()
    for index in range(7):
        cv2.imwrite(str(tmp_path / "in" / f"{index}.jpg"), DemoSource().frame(40 * index))
    pattern, alone, both = tmp_path / "in" / "*.jpg", tmp_path / "a.parquet", tmp_path / "b.parquet"
    assert "4 of 4 parts" in detect(pattern, alone, weights)
    # As if the run had been killed: what is there is not done again.
    detect(pattern, both, weights)
    for number in (1, 3):
        (both / f"part-0000{number}.parquet").unlink()
    kept = (both / "part-00000.parquet").stat().st_mtime_ns
    assert "2 of 4 parts, 2 done before" in detect(pattern, both, weights, "--ray", "--actors", "2")
    assert (both / "part-00000.parquet").stat().st_mtime_ns == kept
    rows = read_rows(alone)
    assert len(rows) > 7
    assert rows == read_rows(both)

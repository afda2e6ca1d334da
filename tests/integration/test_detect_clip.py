"""`spyv4-detect` on clips, as a process with the shipped weights: whole, killed, interrupted."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.helpers.clips import read_clip, write_clip
from tests.helpers.sessions import session

PROGRAM = "import sys; from detector_app.commands.detect import detect_command as c; sys.exit(c())"
CAR = Path(__file__).parents[3] / "shared/data/clips/car-detection.mp4"
FRAMES = 400
needs_clips = pytest.mark.skipif(not CAR.is_file(), reason="needs the clips of ../shared/data")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """So many frames that no machine is done with them before it is told to stop."""
    return write_clip(tmp_path_factory.mktemp("clips") / "long.mp4", frames=FRAMES)


def lines(path: Path) -> list[dict[str, object]]:
    """The lines that are whole."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if "\n" in line]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_what_was_done_is_there_whatever_ends_it(
    clip: Path, tmp_path: Path, number: signal.Signals
) -> None:
    out = tmp_path / "out"
    told = out / "long.jsonl"
    arguments = [str(clip), "--output", str(out), "--reads", "1"]
    with session(PROGRAM, arguments, tmp_path / "streams") as process:
        process.wait_for(lambda: told.is_file() and len(lines(told)) >= 20, "line 20")
        seen = len(lines(told))
        process.signal(number)
        code = process.end()
        error = process.stderr
    done = len(lines(told))
    assert seen <= done < FRAMES
    assert [row["frame"] for row in lines(told)] == list(range(done))
    if number == signal.SIGINT:
        assert code == 130
        assert error == f"spyv4-detect: stopped after 0 files and {done} frames of {clip}\n"
        assert len(read_clip(out / "long.mp4").frames) == done


@pytest.mark.data
@needs_clips
@pytest.mark.slow
def test_a_real_clip_is_annotated_frame_by_frame(tmp_path: Path) -> None:
    arguments = [str(CAR), "--output", str(tmp_path), "--reads", "1", "--track"]
    subprocess.run([sys.executable, "-c", PROGRAM, *arguments], check=True, capture_output=True)
    told = lines(tmp_path / "car-detection.jsonl")
    assert [row["frame"] for row in told] == list(range(377))
    copy = cv2.VideoCapture(str(tmp_path / "car-detection.mp4"))
    original = cv2.VideoCapture(str(CAR))
    for what in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS):
        assert copy.get(what) == original.get(what)
    differences = []
    while (pair := (copy.read(), original.read()))[0][0] and pair[1][0]:
        differences.append(float(cv2.norm(pair[0][1], pair[1][1], cv2.NORM_L1)))
    assert len(differences) == 377
    drawn = np.array([bool(row["detections"]) for row in told])
    assert np.median(np.array(differences)[drawn]) > np.median(np.array(differences)[~drawn])

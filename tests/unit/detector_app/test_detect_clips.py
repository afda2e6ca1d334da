import json
import signal
import threading

import numpy as np
import pytest

from detector_app.detecting import looking
from spyv4 import Detector
from tests.helpers.clips import read_clip, write_clip
from tests.unit.detector_app.detect_runs import files, lines, run

pytestmark = pytest.mark.usefixtures("tiny")


def test_a_clip_gives_a_clip_and_a_line_a_frame(clip, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(clip, "--output", out) == 0
    assert files(out) == {"clip.mp4", "clip.jsonl"}
    told = lines(out / "clip.jsonl")
    assert [row["frame"] for row in told] == list(range(7))
    assert [row["time_s"] for row in told] == pytest.approx([n / 12.5 for n in range(7)], abs=1e-3)
    assert all(row["detections"] for row in told)
    copy, original = read_clip(out / "clip.mp4"), read_clip(clip)
    assert (copy.rate, copy.frames.shape) == (12.5, (7, 48, 64, 3))
    assert np.abs(copy.frames.astype(int) - original.frames).max() > 100, "nothing is drawn"
    text = capsys.readouterr()
    assert text.out.startswith(f"{clip} -> {out / 'clip.mp4'}: 7 frames, ")
    assert text.err == "", "progress where there is no terminal"


def test_one_frame_in_three(clip, tmp_path):
    out = tmp_path / "out"
    assert run(clip, "--output", out, "--every", 3) == 0
    assert [row["frame"] for row in lines(out / "clip.jsonl")] == [0, 3, 6]
    copy = read_clip(out / "clip.mp4")
    assert len(copy.frames) == 3
    assert copy.rate == pytest.approx(12.5 / 3, rel=1e-3)


def test_files_of_frames_have_their_numbers(clip, tmp_path):
    out = tmp_path / "out"
    named = ["--json", out / "all.json", "--coco", out / "coco.json", "--jsonl", out / "l"]
    assert run(clip, "--output", out, "--no-save", "--save-txt", "--every", 6, *named) == 0
    assert files(out) == {
        "all.json",
        "coco.json",
        "l",
        "labels/clip-000000.txt",
        "labels/clip-000006.txt",
    }
    keys = [f"{clip}#0", f"{clip}#6"]
    assert list(json.loads((out / "all.json").read_text())) == keys
    assert [
        row["file_name"] for row in json.loads((out / "coco.json").read_text())["images"]
    ] == keys


def test_state_is_carried_from_frame_to_frame(tmp_path):
    clip = write_clip(tmp_path / "still.mp4", frames=3, moves=False)

    def scores(*options):
        assert run(clip, "--no-save", "--jsonl", tmp_path / "l", *options) == 0
        return [[box["score"] for box in row["detections"]] for row in lines(tmp_path / "l")]

    fresh, carried = scores(), scores("--carry-state")
    assert fresh[0] == carried[0]
    assert fresh[1] != carried[1]


def test_objects_are_numbered_across_frames(tmp_path, capsys):
    """Of a clip that stands still the boxes are the same in every frame."""
    clip = write_clip(tmp_path / "still.mp4", frames=4, moves=False)
    arguments = (clip, "--no-save", "--track", "--count", "--jsonl", tmp_path / "l")
    assert run(*arguments) == 0
    told = lines(tmp_path / "l")
    numbers = [[box["track"] for box in row["detections"]] for row in told]
    assert set(numbers[0]) == {None}
    assert sorted(numbers[1]) == list(range(1, len(numbers[1]) + 1))
    assert numbers[3] == numbers[2] == numbers[1]
    counts = capsys.readouterr().out.splitlines()[-1].removeprefix("found: ").split(", ")
    assert sum(int(part.rsplit(" ", 1)[1]) for part in counts) == len(numbers[1])


def test_numbers_are_given_to_what_counts_alone(tmp_path):
    clip = write_clip(tmp_path / "still.mp4", frames=3, moves=False)
    assert run(clip, "--no-save", "--jsonl", tmp_path / "l") == 0
    wanted = lines(tmp_path / "l")[0]["detections"][0]["class"]
    assert run(clip, "--no-save", "--track", "--classes", wanted, "--jsonl", tmp_path / "l") == 0
    boxes = lines(tmp_path / "l")[-1]["detections"]
    assert {box["class"] for box in boxes} == {wanted}
    assert sorted(box["track"] for box in boxes) == list(range(1, len(boxes) + 1))


def test_tracking_without_its_library_is_refused_at_once(clip, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(Detector, "load", lambda *_, **__: pytest.fail("loaded the model"))
    assert run(clip, "--track") == 2
    assert "pip install 'spyv4[track]'" in capsys.readouterr().err


def test_a_clip_that_is_cut_short_is_named_and_its_frames_are_kept(tmp_path, capsys):
    whole = write_clip(tmp_path / "whole.avi", frames=20, codec="MJPG")
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    out = tmp_path / "out"
    assert run(cut, whole, "--output", out) == 2
    done = len(lines(out / "cut.jsonl"))
    assert 1 <= done < 20
    assert len(read_clip(out / "cut.mp4").frames) == done
    assert len(lines(out / "whole.jsonl")) == 20
    error = capsys.readouterr().err
    assert f"cut.avi cannot be decoded beyond frame {done} of 20; {done} frames were done" in error


def test_what_is_no_clip_is_named(tmp_path, capsys):
    (tmp_path / "no.mp4").write_bytes(b"no clip")
    assert run(tmp_path / "no.mp4", "--output", tmp_path / "out") == 2
    assert "no.mp4 is not a video that can be read" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def interrupt_at_frame(monkeypatch, number, times=1):
    """Ctrl-C while a frame is in work."""
    looked = []
    plain = Detector.read_batch

    def counted(*arguments, **options):
        looked.append(1)
        if len(looked) == number:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return plain(*arguments, **options)

    monkeypatch.setattr(Detector, "read_batch", counted)
    monkeypatch.setattr(looking, "BATCH", 1)


def test_ctrl_c_ends_with_the_frame_in_work(clip, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    before = signal.getsignal(signal.SIGINT)
    interrupt_at_frame(monkeypatch, 4)
    assert (
        run(clip, clip.with_name("never.mp4"), "--output", out, "--json", out / "all.json") == 130
    )
    assert len(lines(out / "clip.jsonl")) == len(json.loads((out / "all.json").read_text())) == 4
    assert len(read_clip(out / "clip.mp4").frames) == 4
    assert f"stopped after 0 files and 4 frames of {clip}" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_among_pictures(pictures, tmp_path, monkeypatch, capsys):
    interrupt_at_frame(monkeypatch, 1)
    assert run(pictures, "--output", tmp_path / "out") == 130
    assert files(tmp_path / "out") == {"a.jpg"}
    assert "stopped after 1 files" in capsys.readouterr().err


@pytest.fixture
def interruptible():
    """Ctrl-C as in a terminal; where tests run in the background it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_second_ctrl_c_does_not_wait(clip, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    interrupt_at_frame(monkeypatch, 4, times=2)
    assert run(clip, "--output", out) == 130
    assert len(lines(out / "clip.jsonl")) == 3
    assert len(read_clip(out / "clip.mp4").frames) == 3


def test_another_thread_has_no_signals(clip, tmp_path):
    codes = []
    thread = threading.Thread(target=lambda: codes.append(run(clip, "--output", tmp_path / "o")))
    thread.start()
    thread.join()
    assert codes == [0]

import json
import os
import signal
import threading

import cv2
import numpy as np
import pytest

from detector_app.demo import DemoSource
from detector_app.detect_cli import detect_command
from spyv4 import Detector
from tests.helpers.clips import read_clip, write_clip


@pytest.fixture(autouse=True)
def tiny(detector, monkeypatch):
    """The command loads the tiny model."""
    monkeypatch.setattr(Detector, "load", lambda *_args, **_options: detector)


@pytest.fixture
def clip(tmp_path):
    """Seven frames of 64 x 48 pixels at 12.5 a second."""
    return write_clip(tmp_path / "in" / "clip.mp4", frames=7)


def run(*arguments, reads=1):
    return detect_command([*map(str, arguments), "--reads", str(reads)])


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.png", "b.jpg"):
        cv2.imwrite(str(folder / name), DemoSource().frame(0))
    return folder


def test_pictures_and_json_are_written(pictures, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [str(pictures), "--output", str(out), "--json", str(out / "boxes.json")]
    assert detect_command([*arguments, "--reads", "2", "--score-threshold", "0.01"]) == 0
    assert {path.name for path in out.iterdir()} == {"a.jpg", "b.jpg", "boxes.json"}
    found = json.loads((out / "boxes.json").read_text())
    assert set(found) == {str(pictures / "a.png"), str(pictures / "b.jpg")}
    assert "a.png" in capsys.readouterr().out


def test_a_bad_picture_is_named_and_the_others_are_done(pictures, tmp_path, capsys):
    (pictures / "aa.jpg").write_bytes((pictures / "b.jpg").read_bytes()[:-3000])
    out = tmp_path / "out"
    code = detect_command([str(pictures), "nowhere.png", "--output", str(out), "--reads", "1"])
    assert code == 2
    assert {path.name for path in out.iterdir()} == {"a.jpg", "b.jpg"}
    errors = capsys.readouterr().err
    assert "aa.jpg" in errors
    assert "nowhere.png does not exist" in errors


def test_inputs_are_never_overwritten(pictures, capsys):
    before = (pictures / "a.png").read_bytes()
    assert detect_command([str(pictures), "--output", str(pictures), "--reads", "1"]) == 0
    assert (pictures / "a.png").read_bytes() == before
    assert {p.name for p in pictures.iterdir()} == {"a.png", "a.jpg", "b.jpg", "b-2.jpg"}
    assert detect_command([str(pictures), "--json", str(pictures / "a.png")]) == 2
    assert "would overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["--score-threshold", "--score", "--conf"])
def test_the_score_threshold_has_three_names(pictures, tmp_path, name):
    def shown(*options):
        boxes = tmp_path / "boxes.json"
        common = [str(pictures / "a.png"), "--output", str(tmp_path), "--json", str(boxes)]
        assert detect_command([*common, "--reads", "1", *options]) == 0
        (found,) = json.loads(boxes.read_text()).values()
        return [item["score"] for item in found]

    everything = shown(name, "0")
    middle = sorted(everything)[len(everything) // 2]
    assert 0 < len(shown(name, str(middle))) < len(everything)
    with pytest.raises(SystemExit, match="2"):
        shown(name, "1.5")


@pytest.mark.parametrize("reads", ["0", "10000"])
def test_reads_out_of_range(pictures, tmp_path, reads, capsys):
    out = tmp_path / "out"
    assert detect_command([str(pictures), "--output", str(out), "--reads", reads]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


def test_any_number_of_reads(pictures, tmp_path):
    assert run(pictures, "--output", tmp_path / "out", reads=33) == 0


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit, match="0"):
        detect_command(["--help"])
    assert "example:" in capsys.readouterr().out


def test_folders_in_folders(pictures, tmp_path):
    (pictures / "more").mkdir()
    (pictures / "a.png").rename(pictures / "more" / "b.png")
    out = tmp_path / "out"
    assert run(pictures, "--output", out) == 0
    assert files(out) == {"b.jpg"}
    assert run(pictures, "--output", out, "--recursive") == 0
    assert files(out) == {"b.jpg", "more/b.jpg"}


def test_copies_are_wanted_or_not_and_of_either_format(pictures, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(pictures, "--output", out, "--no-save") == 0
    assert not out.exists()
    assert "->" not in capsys.readouterr().out
    assert run(pictures / "a.png", "--output", out, "--save", "--format", "png") == 0
    assert files(out) == {"a.png"}
    copy = cv2.imread(str(out / "a.png"))
    assert copy.shape == (480, 640, 3)
    assert (copy != cv2.imread(str(pictures / "a.png"))).any()


def test_every_output_of_a_picture(pictures, tmp_path):
    out = tmp_path / "out"
    named = ["--json", out / "all.json", "--jsonl", out / "all.jsonl", "--coco", out / "coco.json"]
    assert run(pictures, "--output", out, "--save-txt", "--crop", *named) == 0
    boxes = json.loads((out / "all.json").read_text())
    told = lines(out / "all.jsonl")
    assert [row["file"] for row in told] == list(boxes)
    assert [row["detections"] for row in told] == list(boxes.values())
    first = told[0]
    assert set(first) == {"file", "width", "height", "detections"}
    assert (first["width"], first["height"]) == (640, 480)

    coco = json.loads((out / "coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == list(boxes)
    assert len(coco["annotations"]) == sum(len(found) for found in boxes.values()) > 1
    names = {row["id"]: row["name"] for row in coco["categories"]}
    assert names[coco["annotations"][0]["category_id"]] == first["detections"][0]["class"]
    assert [row["id"] for row in coco["annotations"]] == list(
        range(1, len(coco["annotations"]) + 1)
    )

    labels = (out / "labels" / "a.txt").read_text().splitlines()
    assert len(labels) == len(first["detections"])
    number, *shares = labels[0].split()
    left, top, right, bottom = first["detections"][0]["box"]
    goal = [(left + right) / 1280, (top + bottom) / 960, (right - left) / 640, (bottom - top) / 480]
    assert [float(share) for share in shares] == pytest.approx(goal, abs=1e-4)
    assert names[int(number)] == first["detections"][0]["class"]

    crops = [path for path in files(out) if path.startswith("crops")]
    assert len(crops) == len(coco["annotations"])
    assert f"crops/{first['detections'][0]['class']}/a-0.jpg" in crops


def test_no_output_is_another_or_an_input(pictures, tmp_path, capsys):
    before = (pictures / "a.png").read_bytes()
    for option in ("--json", "--jsonl", "--coco"):
        assert run(pictures, option, pictures / "a.png") == 2
        assert f"{option} {pictures / 'a.png'} would overwrite" in capsys.readouterr().err
    assert run(pictures, "--json", tmp_path / "one", "--coco", tmp_path / "one") == 2
    assert "--coco" in capsys.readouterr().err
    assert (pictures / "a.png").read_bytes() == before


def test_what_an_earlier_run_wrote_is_no_place_for_outputs_of_this_one(pictures, tmp_path):
    """Crops of a picture that lie where those of another go stay as they are."""
    out = tmp_path / "out"
    assert run(pictures / "a.png", "--output", out, "--crop", "--no-save") == 0
    crop = next(path for path in out.rglob("a-0.jpg"))
    before = crop.read_bytes()
    assert run(pictures / "a.png", crop, "--output", out, "--crop", "--no-save") == 0
    assert crop.read_bytes() == before
    assert crop.with_name("a-0-2.jpg").exists()


def test_only_some_classes(pictures, tmp_path, capsys):
    def classes(*options):
        assert run(pictures, "--no-save", "--jsonl", tmp_path / "l", *options) == 0
        return [box["class"] for row in lines(tmp_path / "l") for box in row["detections"]]

    everything = classes()
    wanted = everything[0]
    assert set(classes("--classes", f"{wanted}, bird")) <= {wanted, "bird"} < set(everything)
    assert classes("--classes", wanted) == [name for name in everything if name == wanted]
    capsys.readouterr()
    assert run(pictures, "--classes", "persn,car") == 2
    assert "unknown class 'persn'; did you mean 'person'?" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        run(pictures, "--classes", ",")


def test_boxes_of_different_classes_are_one_object_where_asked(pictures, tmp_path):
    def found(*options):
        assert run(pictures, "--no-save", "--jsonl", tmp_path / "l", *options) == 0
        return sum(len(row["detections"]) for row in lines(tmp_path / "l"))

    assert 0 < found("--agnostic-nms") < found()


def test_counting(pictures, tmp_path, capsys):
    assert run(pictures, "--no-save", "--count", "--jsonl", tmp_path / "l") == 0
    told = capsys.readouterr().out.splitlines()[-1]
    names = [box["class"] for row in lines(tmp_path / "l") for box in row["detections"]]
    assert told.startswith("found: ")
    counts = dict(part.rsplit(" ", 1) for part in told.removeprefix("found: ").split(", "))
    assert {name: int(number) for name, number in counts.items()} == {
        name: names.count(name) for name in names
    }


def test_an_address_is_no_path(capsys):
    with pytest.raises(SystemExit, match="2"):
        run("https://a.example/clip.mp4")
    assert "download it, or watch it with spyv4-webcam --source" in capsys.readouterr().err


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
                os.kill(os.getpid(), signal.SIGINT)
        return plain(*arguments, **options)

    monkeypatch.setattr(Detector, "read_batch", counted)


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

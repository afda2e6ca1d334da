import json

import cv2
import pytest

from detector_app.commands.detect import detect_command
from tests.unit.detector_app.detect_runs import files, lines, run

pytestmark = pytest.mark.usefixtures("tiny")


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
